"""Whether a tuned model is compared on what it was trained on."""

from __future__ import annotations

from pathlib import Path

from ...pairs.fields import parse_fields
from ...pairs.formats import fingerprint
from ...pairs.identity import digest, prompt_identity
from ...pairs.read import read_pairs
from ...pairs.record import Pair
from ...records import Finding, Run
from ...runs import load_run
from ...training.held_out import HELD_OUT_FILE, trained_lines


def pairs_of(run: Run) -> list[Pair]:
    """The pairs that a run measured; none where its file is not as it was."""
    facts = run.inputs.get("pairs") or {}
    path = Path(str(facts.get("path")))
    if not path.is_file() or fingerprint(path) != facts.get("sha256"):
        return []
    return list(read_pairs(path, fields=parse_fields(run.config.get("fields")), skip_bad=True))


def trained_on(weights: Path | None, measured: Run) -> Finding | None:
    """PB914 measured on what was trained on: the tuned model has seen prompts of these pairs in training.

    Means: beside the tuned weights stands the `run.json` of the `probe train` that made them, and pairs that
    are compared here have a prompt that it trained on. Pairs without a prompt are compared by their texts.
    Why: a model gets better on what it was trained on whether or not it learned anything that holds
    elsewhere, so that "no group got worse" says little here.
    Do: compare on pairs that were kept apart. `probe train` writes those that it held out to
    `held-out.jsonl`, beside the run.
    Source: the split of training and test data.
    """
    made = _maker(weights) if weights else None
    ours, theirs = pairs_of(measured), pairs_of(made) if made else []
    if weights is None or made is None or not ours or not theirs:
        return None
    lines = trained_lines(made, theirs)
    seen = {_name(pair) for pair in theirs if pair.line in lines}
    if not (found := tuple(pair.line for pair in ours if _name(pair) in seen)):
        return None
    apart = next((p for p in _beside(weights, HELD_OUT_FILE) if p.is_file()), None)
    return Finding(
        "PB914",
        "warning",
        f"{len(found):,} of {len(ours):,} pairs have a prompt that the tuned model was trained on",
        f"Compare on pairs that were kept apart{f': {apart}' if apart else ''}.",
        lines=found,
    )


def _beside(weights: Path, name: str) -> tuple[Path, Path]:
    return weights.parent / name, weights / name


def _maker(weights: Path) -> Run | None:
    """The run of `probe train` that wrote these weights; None where no record of one lies beside them."""
    for path in _beside(weights, "run.json"):
        if path.is_file() and (run := load_run(path)).command == "train":
            return run
    return None


def _name(pair: Pair) -> str:
    return prompt_identity(pair) or digest(pair)
