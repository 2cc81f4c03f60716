"""The pairs that are kept for a test split, for tools that cannot start without one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...pairs.record import Pair
from ...records import Run

TEST_SHARE = 0.1  # of the prompts, where the run itself held none out
COPIED = (
    "all pairs share one prompt, so it is a copy of the training pairs, and evaluating on it shows nothing"
)


@dataclass(frozen=True, slots=True)
class TestSplit:
    """The lines of the pairs in the test split, and how they were drawn, for the head of a config.

    No lines: nothing can be held out, and the test split is the training pairs once more.
    """

    test: frozenset[int]
    told: str


def unscored(run: Run) -> frozenset[int]:
    """The lines of pairs that were read and could not be scored, which `probe train` leaves out too."""
    scores = run.inputs.get("scores") or {}
    known = scores.get("excluded_lines")  # runs of before have the first hundred alone
    return frozenset([row["line"] for row in scores.get("excluded") or ()] if known is None else known)


@dataclass(frozen=True, slots=True)
class _Drawn:
    prompt: str
    line: int


def test_split(run: Run, pairs: Iterable[Pair], tool: str) -> TestSplit:
    """A test split by prompt: the pairs that the run held out, else a small share drawn by its seed."""
    from ...training.data import prompt_names, split_by_prompt

    left_out = unscored(run)
    kept = [pair for pair in pairs if pair.line not in left_out]
    items = [_Drawn(name, pair.line) for name, pair in zip(prompt_names(kept), kept, strict=True)]
    if (prompts := len({item.prompt for item in items})) < 2:
        return TestSplit(frozenset(), f"{tool} reads a test split: {COPIED}.")
    own = run.config.get("held_out") if run.command == "train" else None
    share, seed = own or max(TEST_SHARE, 1 / prompts), int(run.config.get("seed") or 0)
    test = frozenset(item.line for item in split_by_prompt(items, share, seed)[1])
    whose = "as the run held them out" if own else "drawn for it, since the run held none out for good"
    told = f"{tool} reads a test split: {len(test)} pairs, {share:.0%} of the prompts (seed {seed}), {whose}."
    return TestSplit(test, told)
