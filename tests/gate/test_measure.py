"""How a gate runs its probes: which, in which order, after what; with probes that need no model."""

import json
from types import SimpleNamespace

import pytest

from probe.errors import ProbeError
from probe.gate import cache, measure, plan, schedule
from probe.gate.conditions import CONDITIONS
from probe.gate.registry import PROBES, Section
from probe.gate.states import TEXT_ALONE
from probe.probes.gated import Cost, GateRequest
from probe.records import Finding, Measured
from probe.scoring.session import ModelOptions, Source

NAMES = [probe.name for probe in PROBES]


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """A function that runs a gate whose probes do what is told, by name; the others find nothing."""
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "pairs.jsonl"
    row = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
    path.write_text("".join(json.dumps({**row, "prompt": f"Why {i}?"}) + "\n" for i in range(12)))
    ran = []

    def run(off=(), model="tiny", keeps=(), sections=None, **does):
        ran.clear()

        def probe(old):
            def work(_):
                ran.append(old.name)
                return does.get(old.name, Measured)()

            return type(old)(
                **{k: getattr(old, k) for k in type(old).__dataclass_fields__}
                | {"run": work, "model": False, "idle": lambda _: "", "keeps": old.name in keeps}
                | {"section": (sections or {}).get(old.name)}
            )

        monkeypatch.setattr(measure, "PROBES", tuple(probe(old) for old in PROBES))
        monkeypatch.setattr(schedule, "cache", cache)
        monkeypatch.setattr("probe.probes.gated.Work.depends", lambda _: {"pairs": "aa"})
        request = GateRequest(Source.of(path, None, None, False), ModelOptions(model), off=frozenset(off))
        return measure.run_probes(request)[0], list(ran)

    return run


def broken(code, severity):
    return lambda: Measured((), (Finding(code, severity, "m", "r"),))


def fails():
    raise ProbeError("this file cannot carry it")


def test_probes_run_in_their_order_without_those_that_are_off(gate):
    run, ran = gate(off={"bias", "trial"})
    assert ran == [name for name in NAMES if name not in ("bias", "trial")]
    states = run.details["probes"]
    assert {name for name in NAMES if states[name] == "off"} == {"bias", "trial"}
    assert {states[name] for name in ran} == {"done"}
    assert [cost["probe"] for cost in run.details["costs"]] == ran
    assert all(0 <= cost["seconds"] < 60 for cost in run.details["costs"])


def test_a_gate_without_any_probe_and_an_unknown_one_are_refused(gate):
    with pytest.raises(ProbeError, match="every probe is switched off"):
        gate(off=NAMES)
    with pytest.raises(ProbeError, match='no probe "colour"'):
        gate(off={"colour"})


@pytest.mark.parametrize(
    ("code", "severity", "stops"),
    [("PB010", "error", True), ("PB010", "warning", False), ("PB110", "error", False)],
)
def test_only_an_error_of_the_numerics_stops_what_follows(code, severity, stops, gate):
    run, ran = gate(numerics=broken(code, severity))
    after = NAMES[NAMES.index("numerics") + 1 :]
    assert [name for name in after if name in ran] == ([] if stops else after)
    told = {run.details["probes"][name] for name in after}
    assert told == ({"not run, since the numerics failed"} if stops else {"done"})


def test_what_a_file_cannot_carry_ends_a_gate_only_where_it_is_needed(gate, capsys):
    optional = next(probe.name for probe in PROBES if not probe.needed)
    run, _ = gate(**{optional: fails})
    assert run.details["probes"][optional] == "could not measure: this file cannot carry it"
    assert f"{optional}: this file cannot carry it" in capsys.readouterr().err
    with pytest.raises(ProbeError, match="cannot carry"):
        gate(**{next(probe.name for probe in PROBES if probe.needed): fails})


def test_a_part_that_is_kept_is_not_measured_again(gate, capsys):
    last = NAMES[-1]
    part = {last: lambda: Measured((), (), {"axis": {"position": 0.7}})}
    first, ran = gate(keeps={last}, **part)
    assert ran == NAMES and "kept since" not in capsys.readouterr().err
    second, ran = gate(keeps={last}, **part)
    assert ran == NAMES[:-1] and f"{last}: kept since" in capsys.readouterr().err
    assert first.details["axis"] == second.details["axis"] == {"position": 0.7}
    assert second.details["costs"][-1]["what"].startswith("kept since")
    assert not first.details["costs"][-1]["what"].startswith("kept since")


def test_rows_that_no_table_shows_bring_their_section(gate):
    shown = {name: Section(f"{name}_rows", "Title", {"a": ""}) for name in NAMES[:2]}
    found = {NAMES[0]: lambda: Measured((), (), {f"{NAMES[0]}_rows": [{"a": 1}]})}
    run, _ = gate(sections=shown, **found)
    assert [section["key"] for section in run.details["sections"]] == [f"{NAMES[0]}_rows"]
    assert "sections" not in gate(sections=shown)[0].details
    assert "sections" not in gate(**found)[0].details


def test_an_endpoint_is_asked_for_log_probs_alone():
    request = GateRequest(Source.of("x", None, None, False), ModelOptions("http://127.0.0.1:1/v1"))
    for probe in PROBES:
        state = plan.possible(probe, request)[1]
        without = TEXT_ALONE if probe.text else plan.NO_WEIGHTS
        assert state == (without if probe.model and probe.weights else plan.DONE)


def test_a_plan_says_why_a_probe_is_not_run():
    source = Source.of("x", None, None, False)
    served = GateRequest(source, ModelOptions("http://127.0.0.1:1/v1"), off=frozenset({"bias"}))
    rows = {line.split()[0]: line for line in plan.planned_lines(100, served) if not line.startswith(" ")}
    assert rows["bias"].endswith(" off; its conditions stay open")
    assert rows["trial"].endswith(f" {plan.NO_WEIGHTS}; its conditions stay open")
    assert rows["data"].endswith(" one reading of the file")


def test_the_text_alone_costs_no_scoring():
    request = GateRequest(Source.of("x", None, None, False), ModelOptions("http://127.0.0.1:1/v1"))
    partly = next(probe for probe in PROBES if probe.weights and probe.text)
    probe, state = plan.possible(partly, request)
    assert state == TEXT_ALONE and probe.run is partly.text
    assert probe.cost(1000, request.effort, 128) == Cost(partly.name, 0, 0, "the text alone")


def test_bias_alone_can_be_asked_of_an_endpoint_in_full():
    assert [probe.name for probe in PROBES if probe.model and not probe.weights] == ["bias"]


def test_seconds_are_told_to_a_hundredth(gate, monkeypatch):
    ticks = iter(range(10_000))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks) * 1.23456)
    run, _ = gate()
    assert {cost["seconds"] for cost in run.details["costs"]} == {1.23}


def test_the_plan_on_stderr_leaves_out_what_is_off_and_what_needs_weights(monkeypatch):
    """Of an endpoint, whose probes but bias need the weights, with the data check switched off."""
    told = []
    monkeypatch.setattr(measure.plan, "costs", lambda *_: [])
    monkeypatch.setattr(measure.plan, "plan_lines", lambda _, left_out: told.append(left_out) or [])
    monkeypatch.setattr(measure, "schedule_probes", lambda *_: 1 / 0)
    opened = SimpleNamespace(inputs=dict, survey=SimpleNamespace(n=12))
    monkeypatch.setattr(measure, "sharing", lambda session: session)
    how = ModelOptions("http://127.0.0.1:1/v1")
    request = GateRequest(Source.of("x", None, None, False), how, off=frozenset({"data"}))
    with pytest.raises(ZeroDivisionError):
        measure.run_probes(request, opened)
    without = {p.name for p in PROBES if p.model and p.weights and p.text is None}
    assert told == [{"data": "off", **dict.fromkeys(without, plan.NO_WEIGHTS)}]
    assert without == {"numerics", "effects", "trial"}


@pytest.mark.parametrize("kept", [[True, True], [True, False], [False, True]])
def test_a_part_is_taken_up_where_every_process_of_a_launch_has_it(kept, monkeypatch):
    """Each says whether it has the part; one that has not measures it with all the others."""
    mine = ("part", "yesterday") if kept[0] else None
    work = SimpleNamespace(
        session=SimpleNamespace(loaded=SimpleNamespace(device=SimpleNamespace(type="cpu")))
    )
    said = []
    monkeypatch.setattr(measure, "world", lambda: 2)
    monkeypatch.setattr(measure.cache, "read", lambda name: mine)
    monkeypatch.setattr(measure, "exchange", lambda own, cpu: said.append((own, cpu)) or [own, kept[1]])
    assert measure._kept("trial", work) == (mine if all(kept) else None)
    assert said == [(kept[0], True)]


def test_which_probes_a_gate_cannot_do_without_and_which_conditions_may_be_unmeasured():
    assert {probe.name for probe in PROBES if not probe.needed} == {"negatives", "trial"}
    assert {rule.name for rule in CONDITIONS if rule.optional and ":" not in rule.name} == {
        "states_accuracy", "agreement", "template_share",
    }  # fmt: skip
