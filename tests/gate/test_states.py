"""Why a condition has no measurement, by what became of its probe."""

import pytest

from probe.gate.conditions import RULES
from probe.gate.states import not_measured, probes_run, reads, states
from probe.records import Run

TRIAL = RULES["trial_accuracy"]


@pytest.mark.parametrize(
    ("noted", "group", "text"),
    [
        ({"trial": "done"}, "all", "not measured (trial); what was not run never passes"),
        ({"trial": "off"}, "all", "not measured (trial: off); what was not run never passes"),
        ({"trial": "off"}, "a", "not measured (trial: off); what was not run never passes"),
        ({}, "all", "not measured (trial: not run); what was not run never passes"),
        ({"trial": "done"}, "a", "trial gives no number for this group"),
    ],
)  # fmt: skip
def test_why_there_is_no_number(noted, group, text):
    assert not_measured(TRIAL, noted, group).partition(": too few")[0] == text


def test_a_command_by_itself_is_a_probe_that_is_done():
    alone = Run("bias", "now")
    assert states(alone) == {"bias": "done"} and probes_run(alone) == {"bias"} and reads(alone) == {}
    gate = Run(
        "gate",
        "now",
        details={"probes": {"bias": "done", "trial": "off"}, "reads": [{"probe": "x", "most": 9}]},
    )
    assert probes_run(gate) == {"bias"} and reads(gate) == {"x": 9}
