"""The pairs that are kept for a test split, for tools that cannot start without one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...number_format import count
from ...pairs.record import Pair
from ...records import Run

TEST_SHARE = 0.1  # of the prompts, where the run itself held none out
COPIED = (
    "all pairs share one prompt, so it is a copy of the training pairs, and evaluating on it shows nothing"
)


@dataclass(frozen=True, slots=True)
class TestSplit:
    """The lines of the pairs that are not trained on, and how they were drawn, for the head of a config.

    `written`: the tool reads them as a test split. Without lines that is the training pairs once more.
    """

    test: frozenset[int] = frozenset()
    told: str = ""
    written: bool = False


def unscored(run: Run) -> frozenset[int]:
    """The lines of pairs that were read and could not be scored, which `probe train` leaves out too."""
    scores = run.inputs.get("scores") or {}
    known = scores.get("excluded_lines")  # runs of before have the first hundred alone
    return frozenset([row["line"] for row in scores.get("excluded") or ()] if known is None else known)


@dataclass(frozen=True, slots=True)
class _Drawn:
    prompt: str
    line: int


def test_split(run: Run, pairs: Iterable[Pair], tool: str, written: bool) -> TestSplit:
    """A split by prompt: the pairs that the run held out, which no tool trains on.

    Where the run held none out, a tool that reads a test split (`written`) gets a small share, drawn by its
    seed.
    """
    from ...training.data import prompt_names, split_by_prompt

    own = run.config.get("held_out") if run.command == "train" else None
    if not (own or written):
        return TestSplit()
    left_out = unscored(run)
    kept = [pair for pair in pairs if pair.line not in left_out]
    items = [_Drawn(name, pair.line) for name, pair in zip(prompt_names(kept), kept, strict=True)]
    if (prompts := len({item.prompt for item in items})) < 2:
        return TestSplit(frozenset(), f"{tool} reads a test split: {COPIED}." if written else "", written)
    share, seed = own or max(TEST_SHARE, 1 / prompts), int(run.config.get("seed") or 0)
    test = frozenset(item.line for item in split_by_prompt(items, share, seed)[1])
    whose = "as the run held them out" if own else "drawn for it, since the run held none out for good"
    drawn = f"{share:.0%} of the prompts (seed {seed}), {whose}"
    if not written:
        return TestSplit(test, f"{count(len(test), 'pair')} left out: {drawn}.")
    return TestSplit(test, f"{tool} reads a test split: {count(len(test), 'pair')}, {drawn}.", written)
