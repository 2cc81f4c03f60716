"""The two sides of a comparison: what was named on the command line, and what was measured of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ...pairs.jsonl import json_lines
from ...records import JsonRow, Run
from ...scoring.weights import ADAPTER_CONFIG
from ...stats.statistics import Floats
from ...training.saved import saved_run
from ..settings import is_run
from .effects import Spoken
from .moved import Heard

EMBEDDED_WORD = "embedded"  # what the command line calls the default model
TOKEN_HASHES = ("tokenizer_sha256", "template_sha256")
NOTHING_CHANGED = "Nothing was changed; measure what lies there now, and compare again."


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A saved run, or a model (None: the embedded one) with an adapter or without."""

    name: str
    saved: Path | None = None
    model: str | None = None
    adapter: str | None = None


def compared_models(base: str, tuned: str, below: str | None) -> tuple[ComparedModel, ComparedModel]:
    """What BASE and TUNED name. `below` is the model under adapters; under TUNED it is BASE if that is one.

    An adapter without a named model gets the one that its own config names, if that is a directory here,
    else the embedded one.
    """
    first = _side(base, below)
    under = below or (None if first.saved or first.adapter else first.model or EMBEDDED_WORD)
    second = _side(tuned, under)
    return first, second


def _side(name: str, below: str | None) -> ComparedModel:
    path = Path(name)
    if is_run(path):
        return ComparedModel(name, saved=path)
    if (path / ADAPTER_CONFIG).is_file():
        return ComparedModel(name, model=_plain(below or _base_of(path)), adapter=name)
    return ComparedModel(name, model=_plain(name))


def _plain(model: str | None) -> str | None:
    return None if model == EMBEDDED_WORD else model


def _base_of(adapter: Path) -> str | None:
    """The directory of the model that an adapter says it was trained on; None if it names none here."""
    try:
        name = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8")).get(
            "base_model_name_or_path"
        )
    except (OSError, ValueError, AttributeError) as error:
        raise ProbeError(
            f"{adapter / ADAPTER_CONFIG}: not readable ({error}). Save the adapter again."
        ) from error
    return name if name and Path(name).is_dir() else None


def weights_of(side: ComparedModel, run: Run) -> Path:
    """The directory with a side's own weights, to be promoted: its adapter, else its model.

    For a saved run it is the one that was measured. Raises `ProbeError` where there is none on this disk.
    """
    found = named_weights(side, run)
    if found is None:
        raise ProbeError(f"{side.name}: no directory with weights to promote. Name the tuned model's.")
    return found


def named_weights(side: ComparedModel, run: Run) -> Path | None:
    """The same directory; None where there is none."""
    model = run.inputs.get("model") or {}
    recorded = model.get("adapter") or model.get("name")
    name = side.adapter or side.model or (recorded if side.saved else None)
    return Path(name) if name is not None and Path(name).is_dir() else None


def measured_weights(run: Run) -> Callable[[Path], None]:
    """A check that a directory holds what `run` measured; it raises `ProbeError` where it does not.

    Weights, config and code by their bytes; of a whole model its tokenizer and chat template too. A run of
    grades alone measured no weights, and holds nothing to be compared with.
    """
    model = run.inputs.get("model") or {}
    name = model.get("adapter") or model.get("name")
    known = model.get("adapter_sha256") if model.get("adapter") else model.get("weights_sha256")

    def check(directory: Path) -> None:
        from ...scoring.weights import weights_hash

        if not model:
            return
        if not known:
            raise ProbeError(f"{name}: the run does not tell which weights it measured. Measure it again.")
        if weights_hash(str(directory), remembered=False) != known:
            raise ProbeError(f"{name}: holds other weights than those that were measured. {NOTHING_CHANGED}")
        if not model.get("adapter") and _tokenizer_of(directory) != {k: model.get(k) for k in TOKEN_HASHES}:
            raise ProbeError(
                f"{name}: holds another tokenizer or chat template than was measured. {NOTHING_CHANGED}"
            )

    return check


def _tokenizer_of(directory: Path) -> dict[str, Any]:
    from ...scoring.tokenizer import load_tokenizer
    from ...scoring.weights import tokenizer_facts

    return tokenizer_facts(load_tokenizer(str(directory)))


@dataclass(frozen=True, slots=True)
class SideMeasurement:
    """What is known of one side. `rows`: the scores of each pair by id, as in `scores.jsonl`, or where only
    the run was kept its gaps. `watched`: log-probs per token of each watched text. `answers`: the token ids
    of a sampled answer to each prompt, without the end token; `heard`: the same as the judge of behaviour
    reads them, `spoken` their whole text.
    """

    run: Run
    rows: Mapping[str, JsonRow]
    watched: Sequence[Floats] = ()
    answers: Sequence[Sequence[int]] = ()
    heard: Heard | None = None
    spoken: Spoken | None = None


def saved(path: Path) -> SideMeasurement:
    """A saved run with its scores. Raises `ProbeError` when it is no run, or holds no scores of pairs."""
    run = saved_run(path)
    scores = (path if path.is_dir() else path.parent) / "scores.jsonl"
    own = scores.is_file() and (path.is_dir() or path.name == "run.json")  # beside another name: of any run
    kept = run.details.get("pairs") or ()
    known = by_id(_rows(scores) if own else kept)
    if own and (other := _of_another_run(known, kept)):
        raise ProbeError(
            f"{scores}: not the scores of {path.name}, by pair {other}. Give the folder that its run wrote."
        )
    if not known:
        raise ProbeError(f"{path}: holds no scores by pair. Give a run of `probe bias` or `probe gate`.")
    return SideMeasurement(run, known)


def _of_another_run(rows: Mapping[str, JsonRow], kept: Iterable[JsonRow]) -> str:
    """The id of the first pair whose scores give another gap than their run has; "" for none."""
    for row in kept:
        sides = [(rows.get(str(row["id"])) or {}).get(side) or {} for side in ("chosen", "rejected")]
        chosen, rejected = (side.get("mean_logps") for side in sides)
        if chosen is None or rejected is None or row.get("gap") is None:
            continue
        if not math.isclose(chosen - rejected, row["gap"], rel_tol=1e-3, abs_tol=1e-3):
            return str(row["id"])
    return ""


def by_id(rows: Iterable[JsonRow]) -> dict[str, JsonRow]:
    """Rows by their pair's id."""
    return {str(row["id"]): row for row in rows}


def _rows(path: Path) -> list[JsonRow]:
    with path.open("rb") as file:
        rows = [row for _, row in json_lines(file)]
    if bad := next((row for row in rows if not isinstance(row, dict) or "id" not in row), None):
        raise ProbeError(f"{path}: a row is no score of a pair ({str(bad)[:60]}). Measure again.")
    return rows
