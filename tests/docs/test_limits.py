"""Pages that state a limit state the value that the code compares with."""

from pathlib import Path

import pytest

from probe import shared_limits
from probe.probes.autopsy import diverged, heldout, overfit, rules, stuck
from probe.training.guard_records import GuardLimits

DOCS = Path(__file__).parents[2] / "docs"
GUARD = GuardLimits()
STATED = [
    ("guard.md", "PB803", f"{GUARD.chosen_budget:g} nats/token"),
    ("guard.md", "PB804", f"below {GUARD.top_mass_share:.0%}"),
    ("guard.md", "PB805", f"more than {100 * GUARD.repetition_rise:g} points"),
    ("guard.md", "PB806", f"accuracy ≥ {GUARD.saturated_accuracy:g}"),
    ("guard.md", "PB806", f"beyond {GUARD.saturated_margin:g} nats"),
    ("guard.md", "PB807", f"for {GUARD.patience} evaluations"),
    ("guard.md", "PB808", f"more than {GUARD.perplexity_ratio:g} times"),
    ("guard.md", "PB809", f"loss under {GUARD.thumb_loss:g}"),
    ("guard.md", "PB809", f"margin over {GUARD.thumb_margin:g}"),
    ("commands/autopsy.md", "diverged", f"≥ {diverged.WORSE:g} × its start"),
    ("commands/autopsy.md", "diverged", f"a gradient {diverged.SPIKE:g} × the median"),
    ("commands/autopsy.md", "stuck", f"within {stuck.IDLE:g} of ln 2"),
    ("commands/autopsy.md", "stuck", f"{shared_limits.LOW:g} to {stuck.HIGH:g}"),
    ("commands/autopsy.md", "overfit", f"the last ≥ {overfit.OVERFIT:g} × the lowest"),
    ("commands/autopsy.md", "overfit", f"the second ≥ {overfit.SURELY:g} × the first"),
    ("commands/autopsy.md", "overfit", f"never above {stuck.HIGH:g} and by {heldout.APART:g} or more"),
    ("commands/autopsy.md", "overfit", f"never more than {stuck.IDLE:g} under ln 2"),
    ("commands/autopsy.md", "saturated", f"worse than {shared_limits.TRIVIAL:.0%} right"),
    ("commands/autopsy.md", "saturated", f"median loss < {diverged.ZERO:g}"),
    ("commands/autopsy.md", "saturated", f"accuracy ≥ {shared_limits.SATURATED:g}"),
    ("commands/autopsy.md", "saturated", f"≥ {rules.MARGIN_GROWTH:g} × those"),
    ("commands/autopsy.md", "displaced", f"more than {shared_limits.CHOSEN_SHARE:.0%}"),
]


@pytest.mark.parametrize(("page", "row", "text"), STATED)
def test_a_page_states_the_limit_of_the_code(page, row, text):
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    assert text in next(line for line in lines if line.startswith(f"| {row} |"))
