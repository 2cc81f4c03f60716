"""`[gate.limits]` bounds effects: what a limit names is measured and judged, and nothing else is."""

import json

import pytest

from probe.config import Config as Settled
from probe.config import ConfigFile, activate
from probe.errors import ProbeError
from probe.gate.conditions import RULES
from probe.gate.judge import JudgeSettings, judge
from probe.gate.measure import run_probes
from probe.gate.plan import costs
from probe.gate.registry import PROBE_NAMES
from probe.gate.settings import from_config
from probe.probes.effects.attributes import ATTRIBUTES
from probe.probes.effects.gated import BOUNDED, bounded
from probe.probes.effects.traits import TRAITS
from probe.probes.gated import GateRequest
from probe.scoring.session import ModelOptions, Source

OTHERS = frozenset(PROBE_NAMES) - {"effects", "data"}


@pytest.fixture
def gated(tmp_path, tiny_model_dir):
    path = tmp_path / "pairs.jsonl"
    rows = (
        {
            "prompt": f"Question {i}?",
            "chosen": "Yes, so it is!" + " Really!" * (i % 3),
            "rejected": "No, it is not.",
        }
        for i in range(30)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    how = ModelOptions(str(tiny_model_dir), device="cpu", template="qa", no_cache=True)

    def gate(limits):
        source = Source.of(path, None, None, False)
        run, _ = run_probes(GateRequest(source, how, off=OTHERS, limits=limits))
        return judge(run, JudgeSettings(limits=limits))

    return gate


def condition(run, name):
    return next(c for c in run.verdict.conditions if c.name == name)


def test_without_a_limit_nothing_is_measured(gated):
    run = gated({})
    assert run.details["probes"]["effects"] == "no limit names an effect"
    assert not any(":" in e.name for e in run.estimates) and "attributes" not in run.details
    assert not any(":" in c.name for c in run.verdict.conditions)


def test_a_limit_on_an_attribute_is_judged_both_ways(gated):
    run = gated({"attribute:exclamations": 0.5, "attribute:questions": 0.5, "attribute:length": 9.0})
    assert condition(run, "attribute:exclamations").result == "fail"
    assert condition(run, "attribute:exclamations").code == "PB251"
    assert condition(run, "attribute:length").result == "pass"
    assert [f.code for f in run.findings if f.code.startswith("PB25")] == ["PB251"]
    assert run.verdict.status == "fail"
    named = {e.name for e in run.estimates if ":" in e.name}
    assert named == {"attribute:exclamations", "attribute:length"}
    assert condition(run, "attribute:questions").result == "inconclusive"  # on neither side: no number


def test_a_limit_on_a_trait_is_judged(gated):
    run = gated({"effect:flattery": 5.0, "effect:lists": False})
    assert condition(run, "effect:flattery").result == "pass"
    assert [e.name for e in run.estimates if ":" in e.name] == ["effect:flattery"]
    assert [row["trait"] for row in run.details["effects"]] == ["flattery"]


def test_every_effect_has_a_condition_that_is_off():
    assert len(BOUNDED) == len(ATTRIBUTES) + len(TRAITS)
    assert all(RULES[name].limit is None for name in BOUNDED)
    assert bounded({"effect:other-language": 0.1, "effect:lists": False, "gap": 0.1}).keys() == {
        "effect:other_language"
    }


def test_the_config_file_names_effects(tmp_path):
    from probe.commands.config_tables import SECTIONS, TABLES

    table = {"gate": {"limits": {"effect:flattery": 0.01, "attribute:list-items": 2}}}
    TABLES["gate"]["limits"](table["gate"]["limits"], "probe.toml [gate.limits]")
    with pytest.raises(ProbeError, match="effect:flattery"):
        TABLES["gate"]["limits"]({"effect:flatery": 0.01}, "probe.toml [gate.limits]")
    activate(Settled(ConfigFile(tmp_path / "probe.toml", table), {}, SECTIONS))
    try:
        assert from_config().limits == {"effect:flattery": 0.01, "attribute:list_items": 2}
        planned = next(cost for cost in costs(40) if cost.probe == "effects")
        assert planned.forward == 5 * 40 and "1 traits" not in planned.what
    finally:
        activate(Settled())
