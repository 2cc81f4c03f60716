"""Whether a tuned model is compared on what it was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...errors import ProbeError
from ...pairs.fields import parse_fields
from ...pairs.formats import is_still
from ...pairs.identity import digest, prompt_identity
from ...pairs.read import read_pairs
from ...pairs.record import Pair
from ...pairs.unpaired import as_pair, is_unpaired, read_unpaired
from ...records import Finding, Run
from ...runs import load_run
from ...training.held_out import HELD_OUT_FILE


def pairs_of(run: Run) -> list[Pair]:
    """The pairs that a run read, or answers as pairs; none where its file is not as it was."""
    facts = run.inputs.get("pairs") or {}
    path = Path(str(facts.get("path")))
    if not is_still(path, facts.get("sha256")):
        return []
    return _read(path, run)


def trained_on(weights: Path | None, measured: Run) -> Finding | None:
    """PB914 measured on what was trained on: the tuned model has seen prompts of these pairs in training.

    Means: beside the tuned weights stand the `run.json` of the `probe train` that made them and the rows that
    it held out, and pairs that are compared here have a prompt of its other rows. Pairs without a prompt are
    compared by their texts.
    Why: a model gets better on what it was trained on whether or not it learned anything that holds
    elsewhere, so that "no group got worse" says little here.
    Do: compare on pairs that were kept apart. `probe train` writes those that it held out to
    `held-out.jsonl`, beside the run.
    Source: the split of training and test data.
    """
    seen = _names_trained_on(weights.parent) if weights else frozenset()
    ours = pairs_of(measured) if seen else []
    if weights is None or not (found := tuple(pair.line for pair in ours if _name(pair) in seen)):
        return None
    return Finding(
        "PB914",
        "warning",
        f"{len(found):,} of {len(ours):,} pairs have a prompt that the tuned model was trained on",
        f"Compare on pairs that were kept apart: {weights.parent / HELD_OUT_FILE}.",
        lines=found,
    )


def _names_trained_on(directory: Path) -> frozenset[str]:
    """The names of the rows that a run of `probe train` in `directory` trained on; none where unknown.

    A `run.json` of another tool, or rows that cannot be read any more, are no fault of the comparison.
    """
    apart = directory / HELD_OUT_FILE
    try:
        run = load_run(directory / "run.json")
        if run.command != "train" or not apart.is_file():
            return frozenset()
        return _names(pairs_of(run)) - _names(_read(apart, run))
    except ProbeError:
        return frozenset()


def _read(path: Path, run: Run) -> list[Pair]:
    fields = parse_fields(run.config.get("fields"))
    if is_unpaired(path, fields):
        return [as_pair(answer) for answer in read_unpaired(path, fields, skip_bad=True).rows]
    return list(read_pairs(path, fields=fields, skip_bad=True))


def _names(pairs: Iterable[Pair]) -> frozenset[str]:
    return frozenset(map(_name, pairs))


def _name(pair: Pair) -> str:
    return prompt_identity(pair) or digest(pair)
