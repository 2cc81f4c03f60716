"""What a gate keeps for the next one, and what it says that it will cost."""

from __future__ import annotations

import ast
import json

import pytest

from probe.gate import cache, plan
from probe.gate.measure import _of_one_arithmetic, run_probes
from probe.gate.registry import PROBE_NAMES
from probe.probes.bias import gated as bias
from probe.probes.gated import Effort, GateRequest
from probe.probes.trial import gated as trial
from probe.records import Estimate, Finding, Measured

PART = Measured(
    (Estimate("trial_accuracy", 0.7, 0.6, 0.8, 60, None, "t", "share"),),
    (Finding("PB501", "info", "it learns", "go on", lines=(3, 4)),),
    {"axis": {"position": 0.7}},
)
DEPENDS = {"pairs": "aa", "model": {"weights_sha256": "bb"}, "options": [0.05, 0.1, False, 0, 128]}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))


def test_a_part_is_read_back_as_it_was_measured():
    name = cache.entry_name("trial", DEPENDS)
    assert cache.read(name) is None
    cache.write(name, PART)
    part, when = cache.read(name)
    assert part == PART and when.endswith("Z")


@pytest.mark.parametrize(
    "other",
    [
        {"pairs": "ab"},
        {"model": {"weights_sha256": "bc"}},
        {"options": [0.01, 0.1, False, 0, 128]},
    ],
)
def test_whatever_a_part_depends_on_is_in_its_name(other):
    assert cache.entry_name("trial", DEPENDS) != cache.entry_name("trial", {**DEPENDS, **other})


def test_the_order_in_which_it_is_told_is_not():
    turned = dict(reversed([*DEPENDS.items()]))
    assert [*turned] != [*DEPENDS] and cache.entry_name("trial", turned) == cache.entry_name("trial", DEPENDS)


def test_so_are_the_probe_and_the_code_that_measures(monkeypatch):
    before = cache.entry_name("trial", DEPENDS)
    assert before != cache.entry_name("bias", DEPENDS)
    monkeypatch.setattr(cache, "code_digest", lambda: "another")
    assert before != cache.entry_name("trial", DEPENDS)


def test_the_code_that_measures_is_found():
    found = {str(path.relative_to(cache.PACKAGE)) for path in cache.measuring()}
    assert {"scoring/engine.py", "probes/trial/judge.py", "stats/power.py", "gate/measure.py"} <= found


def test_so_is_every_module_that_it_imports():
    """A limit or a word that several rooms share stands outside of them."""
    files = {*cache.measuring()}
    rooms = [path for path in files if path.parent != cache.PACKAGE]
    shared = {
        cache.PACKAGE / f"{node.module.partition('.')[0]}.py"
        for path in rooms
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        and node.level == len(path.relative_to(cache.PACKAGE).parts)
    }  # fmt: skip
    shared = {path for path in shared if path.is_file()}
    assert cache.PACKAGE / "shared_limits.py" in shared and shared <= files


def test_the_rounding_of_scores_is_told_once():
    """A part that was kept tells the rounding of its own scores, which is another by a little."""
    then, now = (Finding("PB613", "info", f"gaps differ by {n}", "Nothing to do.") for n in (0.17, 0.18))
    other = PART.findings[0]
    assert _of_one_arithmetic((then, other, now)) == (now, other)
    assert _of_one_arithmetic((other, then)) == (other, then) and _of_one_arithmetic(()) == ()


def test_a_damaged_entry_is_measured_again():
    name = cache.entry_name("trial", DEPENDS)
    cache.write(name, PART)
    (cache.cache_dir() / "gate" / name / "run.json").write_text("{")
    assert cache.read(name) is None


def test_a_place_that_cannot_be_written_loses_nothing_but_time(tmp_path, capsys):
    (tmp_path / "cache").write_text("a file where the cache should be")
    cache.write("x", PART)
    assert "not kept for the next run" in capsys.readouterr().err


# --- the plan -------------------------------------------------------------------------------------------


def test_the_plan_counts_what_the_probes_do():
    """Its numbers are those of the code that spends them, which needs torch to be imported."""
    from probe.probes.negatives.work import NegativesOptions
    from probe.probes.trial.options import TrialOptions
    from probe.scoring.session import STABILITY_PAIRS

    assert STABILITY_PAIRS == bias.TEMPLATE_PAIRS
    assert TrialOptions().steps == trial.MOST_STEPS
    assert NegativesOptions().most == Effort().states
    assert tuple(cost.probe for cost in plan.costs(40)) == PROBE_NAMES


def test_a_plan_by_hand():
    """1,000 pairs: 512 + 3 · 256 scored in a first look, 2 · 300 read, 128 in the trial with batches of 8."""
    negatives, bias, _, trial = plan.costs(1000)[2:]
    assert (bias.forward, negatives.forward) == (512 + 3 * 256, 600)
    assert (trial.forward, trial.backward) == (128, 3 * 24 * 8)
    assert plan.costs(40)[5].backward == 3 * 3 * 20  # three epochs of one half


def test_what_is_off_costs_nothing_and_says_so():
    last = list(plan.plan_lines(plan.costs(40), {"trial": "off"}))
    assert last[-3].endswith("off; its conditions stay open")
    assert [line.startswith("  without it: ") for line in last] == [
        False,
        *[False, True] * len(PROBE_NAMES),
        False,
    ]
    assert last[-1].split()[1:3] == ["244", "4"]  # 4 + 160 + 80 forward, the 4 of the numerics backward


# --- a second gate --------------------------------------------------------------------------------------


def test_a_second_gate_measures_nothing_again(tmp_path, tiny_model_dir, capsys):
    from probe.scoring.session import ModelOptions, Source

    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"Say {i}:", "chosen": f" yes {i * 3 % 11}", "rejected": f" no {i * 7 % 10}"}
        for i in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def gate(**how):
        source = Source.of(path, None, None, False)
        run, _ = run_probes(GateRequest(source, ModelOptions(str(tiny_model_dir), **how)))
        return run, capsys.readouterr().err

    first, said = gate()
    assert "kept since" not in said
    second, said = gate()
    assert said.count("kept since") == 3 and "trial: kept since" in said
    assert (second.estimates, second.findings) == (first.estimates, first.findings)
    assert {**second.details, "costs": None} == {**first.details, "costs": None}
    assert "kept since" not in gate(no_cache=True)[1]
    path.write_text(path.read_text().replace("yes", "aye"))
    assert "kept since" not in gate()[1]
