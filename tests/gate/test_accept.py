"""An accepted limit: milder is accepted and worse is not, at whichever end a finding's number is worse."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import probe
from probe.gate.accept import NO_WORSE_END, WORSE_FAR, WORSE_LOW, Accepted, tolerates, unused
from probe.gate.registry import PROBES
from probe.probes.data.limits import DATA_LIMITS
from probe.probes.negatives.authorship import check_chosen, check_squeezing
from probe.probes.negatives.signal import check_signal
from probe.probes.trial.findings import chosen_falls, nothing_learned, trivial
from probe.records import Condition, Estimate, Finding
from probe.scoring.told import FLAG_WORDINGS

# Codes that are raised with an estimate of which a high number is the worse one.
WORSE_HIGH = {
    "PB120", "PB201", "PB202", "PB203", "PB204", "PB206", "PB222", "PB230", "PB231", "PB241", "PB242",
    "PB250", "PB300", "PB312", "PB325", "PB362", "PB420", "PB502", "PB905", "PB913",
}  # fmt: skip
ROOT = Path(probe.__file__).resolve().parent


def raised_with_an_estimate() -> set[str]:
    """The codes that the package's source gives an estimate, as far as they stand where they are raised."""
    found = set()
    for room in ("probes", "gate", "scoring"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding"):
                    continue
                code = node.args[0]
                given = len(node.args) > 6 or any(k.arg == "estimate" for k in node.keywords)
                if given and isinstance(code, ast.Constant):
                    found.add(code.value)
    return found


def test_every_code_with_an_estimate_is_decided_one_way():
    decided = [WORSE_LOW, WORSE_FAR, NO_WORSE_END, WORSE_HIGH]
    assert raised_with_an_estimate() <= set().union(*decided)
    assert sum(map(len, decided)) == len(set().union(*decided))
    # Counts of rows and of forms, whose codes stand in tables: a share of them, and more is worse.
    counted = {limit.code for limit in DATA_LIMITS.values()} | {told.code for told in FLAG_WORDINGS.values()}
    assert not (counted - {"PB327", "PB330", "PB332", "PB333", "PB334", "PB342"}) & set().union(*decided[:3])


@pytest.mark.parametrize("rule", [r for p in PROBES for r in p.conditions if r.sense != "clean"], ids=str)
def test_conditions_and_their_codes_agree_on_the_worse_end(rule):
    for code in (rule.code, *rule.kin):
        end = "within" if code in WORSE_FAR else ">=" if code in WORSE_LOW else "<="
        assert code not in NO_WORSE_END
        assert end == rule.sense or rule.code == "PB250"


def estimate(name: str, value: float, units: str = "share") -> Estimate:
    return Estimate(name, value, value - 0.01, value + 0.01, 200, 0.5, "m", units)


NATS, SIDE = "nats/token", SimpleNamespace(excess=np.zeros(0))
RAISED = {
    "PB503": (lambda v: chosen_falls(estimate("trial_chosen_change", v, NATS)), -0.4, -0.9, -0.6),
    "PB221": (lambda v: check_chosen(estimate("chosen_excess", v, NATS), SIDE, []), -3.0, -5.0, -4.0),
    "PB223": (lambda v: check_squeezing(estimate("rejected_excess", v, NATS), SIDE, []), -3.0, -5.0, -4.0),
    "PB501": (lambda v: nothing_learned(estimate("trial_accuracy", v)), 0.5, 0.3, 0.4),
    "PB502": (lambda v: trivial(estimate("trial_accuracy", v), 1), 0.97, 0.99, 0.98),
    "PB241": (lambda v: check_signal(estimate("signal_accuracy", v), None, [], 0.05), 0.95, 0.98, 0.96),
}


@pytest.mark.parametrize("code", RAISED)
def test_what_is_raised_is_accepted_up_to_its_limit_and_not_past_it(code):
    found, milder, worse, limit = RAISED[code]
    entry = Accepted(code, "known", limit=limit)
    first, second = found(milder), found(worse)
    assert first.code == second.code == code
    assert tolerates(entry, first) and not tolerates(entry, second)


CASES = [
    *((code, units, 0.4, 0.2, 0.3) for code in sorted(WORSE_LOW) for units in ("share", NATS)),
    *((code, units, 0.2, 0.4, 0.3) for code in sorted(WORSE_HIGH) for units in ("share", NATS)),
    *((code, "share", 0.45, 0.2, 0.3) for code in sorted(WORSE_FAR)),
    *((code, "share", 0.55, 0.8, 0.3) for code in sorted(WORSE_FAR)),
    *((code, NATS, -0.2, -0.4, 0.3) for code in sorted(WORSE_FAR)),
    *((code, "ratio", 0.8, 0.4, 1.5) for code in sorted(WORSE_FAR)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "units", "milder", "worse", "limit"), CASES)
def test_every_code_is_held_at_its_worse_end(code, units, milder, worse, limit):
    """Whatever the estimate is called: one of a condition's own name has no say in it."""
    for name in ("trial_accuracy", "gap", "other"):
        entry, finding = Accepted(code, "known", limit=limit), Finding(code, "warning", "x", "y")
        told = [replace(finding, estimate=estimate(name, value, units)) for value in (milder, limit, worse)]
        assert [tolerates(entry, one) for one in told] == [True, True, False]


@pytest.mark.parametrize("code", sorted(NO_WORSE_END))
def test_a_number_without_a_worse_end_is_held_against_no_limit(code):
    finding = Finding(code, "warning", "x", "y", estimate=estimate("change", 0.1, NATS))
    entry = Accepted(code, "known", limit=5.0)
    assert not tolerates(entry, finding) and tolerates(replace(entry, limit=None), finding)
    (told,) = unused([entry], [], [finding, Condition("x", "all", None, None, "fail", "PB000", "")])
    assert "without a number to hold against that" in told.message
