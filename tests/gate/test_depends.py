"""Everything that changes a kept part changes its name: each field of what was asked for, one by one."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from probe.gate import cache, plan
from probe.gate.registry import PROBES
from probe.probes.gated import THOROUGH, GateRequest, Work
from probe.scoring.identity import HASHED
from probe.scoring.scores import EncodedPair, EncodedSide
from probe.scoring.session import ModelOptions, Source

SOURCE = Source(Path("pairs.jsonl"), {"prompt": "prompt"}, ("chosen", "rejected"))
REQUEST = GateRequest(SOURCE, ModelOptions())
FACTS = dict.fromkeys((*HASHED, "device"), "a")
OTHER = {
    "alpha": 0.01, "effort": THOROUGH, "beta": 0.2, "full": True, "seed": 1, "trial_pairs": 64,
    "source": replace(SOURCE, fields={"prompt": "question"}),
}  # fmt: skip
# What reaches a kept part by another way, or not at all.
ELSEWHERE = {
    "how": "as the loaded model's facts and the encoder",
    "fields": "as `source.fields`, what it was parsed to",
    "off": "a probe that is off has no part",
    "bound": "of `probe bias`, whose part is not kept",
    "limits": "of `probe bias` and `probe effects`, whose parts are not kept",
}


def name(
    request=REQUEST, facts=FACTS, sha="s", template="raw", length=512, chat=True, exact=False, ids=(1, 2, 3)
):
    side = EncodedSide(ids, 1, 9, 0)
    session = SimpleNamespace(
        survey=SimpleNamespace(facts={"sha256": sha}, first=["a pair"]),
        loaded=SimpleNamespace(facts=facts),
        encoder=SimpleNamespace(
            template=template, max_length=length, chat=chat, many=lambda _: [EncodedPair("1", side, side, ())]
        ),
        exact=exact,
    )
    return cache.entry_name("trial", Work(request, _session=session).depends())


def test_every_field_of_a_request_is_accounted_for():
    assert {field.name for field in fields(GateRequest)} == set(OTHER) | set(ELSEWHERE)
    assert not any(probe.keeps for probe in PROBES if probe.name in ("bias", "data", "effects"))


@pytest.mark.parametrize("field", OTHER)
def test_a_field_of_the_request(field):
    assert name(replace(REQUEST, **{field: OTHER[field]})) != name()


@pytest.mark.parametrize("change", [{"sides": ("a", "b")}, {"skip_bad": True}, {"fields": {}}])
def test_how_the_file_is_read(change):
    assert name(replace(REQUEST, source=replace(SOURCE, **change))) != name()


@pytest.mark.parametrize("field", FACTS)
def test_a_fact_of_the_model(field):
    assert name(facts={**FACTS, field: "b"}) != name()
    assert name(facts={**FACTS, field: None}) != name()


@pytest.mark.parametrize(
    "change",
    [
        {"sha": "t"},
        {"template": "qa"},
        {"length": 256},
        {"length": None},
        {"chat": False},
        {"ids": (1, 2, 4)},
    ],
)
def test_the_pairs_and_their_encoding(change):
    assert name(**change) != name()


def test_the_plan_follows_the_pairs_of_the_trial_and_the_file():
    """40 of 1,000 pairs in the trial: 40 scored, three epochs of 20 by three methods; of 5 pairs 5."""
    trial = plan.costs(1000, trial_pairs=40)[-1]
    assert (trial.forward, trial.backward) == (40, 3 * 3 * 20)
    few = {cost.probe: (cost.forward, cost.backward) for cost in plan.costs(5)}
    assert few["numerics"] == (4, 4) and few["bias"] == (5 + 3 * 5, 0) and few["negatives"] == (10, 0)
    assert few["trial"][0] == 5
    assert plan.costs(0)[2].forward == plan.costs(0)[3].forward == 0


@pytest.mark.parametrize("change", ["--dtype float32", "several processes", "another processor"])
def test_the_arithmetic_of_the_trial(monkeypatch, change):
    """What was measured in bfloat16 is no answer where float32 is asked for, or is all that can be had."""
    facts = {**FACTS, "dtype": "float32", "device": "cpu"}
    monkeypatch.setattr("probe.scoring.rounding.has_bfloat16_units", lambda: True)
    quick = name(facts=facts)
    if change == "several processes":
        for variable, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
            monkeypatch.setenv(variable, value)
    if change == "another processor":
        monkeypatch.setattr("probe.scoring.rounding.has_bfloat16_units", lambda: False)
    assert name(facts=facts, exact=change == "--dtype float32") != quick
