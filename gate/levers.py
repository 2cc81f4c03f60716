"""What `probe levers` measured of the same pairs, taken into a gate, so that "do not train" can name it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..records import Run, same_pairs
from ..stats.comparable import unlike
from ..training.saved import saved_run


def with_levers(run: Run, path: Path) -> Run:
    """`run` with the estimates, findings and rows of a saved run of `probe levers`.

    Raises `ProbeError` where that run is of another command, file, model, precision, template, length limit
    or reading of the fields: what was measured there says nothing here.
    """
    measured = levers_run(path)
    ours, theirs = _identity(run), _identity(measured)
    apart = [] if same_pairs(run, measured) else ["pair file"]
    apart += [name for name, value in ours.items() if theirs[name] != value]
    if apart := [*apart, *unlike(measured, run)]:
        raise ProbeError(
            f"{path}: measured with another {' and '.join(apart)}. Run probe levers on what is gated."
        )
    rows = {"levers": measured.details.get("levers") or []}
    return dataclasses.replace(
        run,
        estimates=(*(e for e in run.estimates if not e.name.startswith("lever")), *measured.estimates),
        findings=(*(f for f in run.findings if not f.code.startswith("PB53")), *measured.findings),
        details={**run.details, **rows},
    )


def levers_run(path: Path) -> Run:
    """A saved run of `probe levers`. Raises `ProbeError` for one of another command."""
    measured = saved_run(path)
    if measured.command != "levers":
        raise ProbeError(f"{path}: a run of probe {measured.command}. Give one of probe levers.")
    return measured


def _identity(run: Run) -> dict[str, Any]:
    """What must be the same, beside the pairs and `unlike`, for the levers to speak of this model."""
    model = run.inputs.get("model") or {}
    known = model.get("weights_sha256") is not None  # a server's, or one in memory, has its name alone
    return {
        "model": [model.get(key) for key in ("weights_sha256", "adapter_sha256", "own_code") if known]
        or model.get("name"),
        "precision (--dtype, --quantize)": [model.get(key) for key in ("dtype", "quantization")],
        "reading of the fields (--fields)": run.config.get("fields"),
    }


def told(run: Run) -> str:
    """The lever that was measured to work, as PB530 says it; "" where none was."""
    return next((f.message for f in run.findings if f.code == "PB530"), "")
