"""From the options of `probe data` to its `Run`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import config
from ...errors import ProbeError
from ...pairs.fields import parse_fields
from ...pairs.formats import fingerprint
from ...pairs.read import read_pairs
from ...pairs.record import Pair, text_of
from ...records import Finding, Run
from ...runs import environment, now
from .fix import certainly_broken, write_fixed
from .limits import data_limits
from .survey import Surveyed, survey

if TYPE_CHECKING:
    from ...scoring.encode import Encoder

SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class DataRequest:
    """The options of `probe data`, as typed."""

    pairs: Path
    fields: str | None = None
    against: Path | None = None
    model: str | None = None
    template: str = "auto"
    max_length: int | None = None
    fix: Path | None = None
    templates: bool = False  # look for them too, which `probe negatives` does more thoroughly


def check_data(request: DataRequest, encoder: Encoder | None = None) -> Run:
    """Run the checks, write `--fix` if asked, and return what was found.

    `encoder`: one at hand already, for the checks that count tokens. Raises `ProbeError` on bad input.
    """
    if request.max_length is not None and request.model is None:
        raise ProbeError("--max-length: counts tokens. Name the tokenizer with --model.")
    created = now()
    fields = parse_fields(request.fields)
    read = partial(read_pairs, fields=fields, skip_bad=True, lenient=True)
    surveyed = survey(
        partial(read, request.pairs),
        data_limits(config.section("data.limits")),
        against=partial(read, request.against) if request.against else None,
        encoder=_encoder(request) if encoder is None else lambda _: encoder,
    )
    fixed = _fix(request, surveyed) if request.fix else None
    return _run(request, surveyed, created, fixed)


def _templates(pairs: Sequence[Pair]) -> list[Finding]:
    """What one side alone has, on a sample: white space at an end (PB203), templates and marks of form
    (PB211–PB218)."""
    from ..negatives.pattern_findings import check_templates, templates_of

    full = [pair for pair in pairs if text_of(pair.chosen).strip() and text_of(pair.rejected).strip()]
    return list(check_templates(templates_of(full, ("chosen", "rejected")), full, 0.05))


def _encoder(request: DataRequest) -> Callable[[Iterable[Pair]], Encoder] | None:
    if request.model is None:
        return None
    from ...scoring.encode import make_encoder
    from ...scoring.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(request.model)
    return lambda pairs: make_encoder(tokenizer, pairs, request.template, request.max_length)


def _fix(request: DataRequest, surveyed: Surveyed) -> dict[str, Any]:
    assert request.fix is not None
    broken = certainly_broken(surveyed.data)
    log, kept, dropped = write_fixed(request.pairs, request.fix, broken, parse_fields(request.fields))
    print(f"Wrote {request.fix}: {kept:,} rows kept, {dropped:,} dropped ({log})", file=sys.stderr)
    return {"path": str(request.fix), "log": str(log), "kept": kept, "dropped": dropped}


def _run(request: DataRequest, surveyed: Surveyed, created: str, fixed: Mapping[str, Any] | None) -> Run:
    found = [result.finding for result in surveyed.results if result.finding]
    found += _templates(surveyed.sample) if request.templates else []
    return Run(
        command="data",
        created=created,
        estimates=tuple(e for result in surveyed.results for e in result.measured),
        findings=tuple(sorted(found, key=_rank)),
        inputs={
            "pairs": _file(request.pairs, surveyed),
            "against": str(request.against) if request.against else None,
            "tokenizer": request.model,
            "fixed": fixed,
        },
        config=config.current(),
        environment=environment(),
        details={
            "data": [result.row() for result in surveyed.results],
            "costs": [
                {"probe": "data", "what": what, "seconds": round(seconds, 3)}
                for what, seconds in surveyed.seconds.items()
                if seconds > 0.001
            ],
        },
    )


def _rank(finding: Finding) -> tuple[int, str]:
    return SEVERITIES.index(finding.severity), finding.code


def _file(path: Path, surveyed: Surveyed) -> dict[str, Any]:
    return {
        "path": str(path),
        "sha256": fingerprint(path),
        "n": surveyed.data.n,
        "dropped": len(surveyed.data.bad),
        "dropped_lines": [bad.line for bad in surveyed.data.bad[:100]],
    }
