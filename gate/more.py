"""How much more would settle an open condition, in what is asked for: pairs, or prompts that are answered."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..records import Estimate, Run
from .registry import Rule

MOVED_PROMPTS = "behaviour_up"  # counts the prompts whose samples moved, of all that were asked
UNSEEN_PAIRS = "trial_accuracy"  # counts unseen pairs; those that were trained on are read as well


def prompts_asked(run: Run) -> int:
    """Prompts whose samples were compared before and after the trial; 0 where none were."""
    asked = run.estimate("behaviour_unchanged")
    return asked.n if asked else 0


def as_asked(estimate: Estimate, more: int, asked: int) -> tuple[int, int, str]:
    """How many more to ask for where `more` values would settle it, how many there are now, and of what.

    Of prompts that are asked only some move: as many more as at the share that has moved so far.
    """
    if estimate.name != MOVED_PROMPTS:
        return more, estimate.n, "pairs"
    if not asked >= estimate.n > 0:
        return more, estimate.n, "prompts that move"
    return math.ceil(more * asked / estimate.n), asked, "prompts asked"


def most_read(estimate: Estimate, rule: Rule, reads: Mapping[str, int]) -> int | None:
    """The most of them that a probe would read of a larger file, None where it reads all."""
    return reads.get(estimate.name, reads.get(rule.probe))


def would_settle(estimate: Estimate, rule: Rule, more: int, asked: int, reads: Mapping[str, int]) -> str:
    """What would settle the condition, and whether that many would be read."""
    number, now, unit = as_asked(estimate, more, asked)
    most = most_read(estimate, rule, reads)
    if most is None or now + number <= most:
        return f"{number:,} more {unit} would settle it, were the measured value the true one"
    verb = "asks" if estimate.name == MOVED_PROMPTS else "reads"
    of = " unseen ones" if estimate.name == UNSEEN_PAIRS and UNSEEN_PAIRS in reads else ""
    return f"{number:,} more {unit} would settle it, and {rule.probe} {verb} at most {most:,}{of}"
