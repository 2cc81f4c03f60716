"""Whatever changes the numbers of a file's pairs changes what a kept result is known by, everywhere."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from probe.probes.gated import GateRequest, Work
from probe.probes.sample.run import SampleOptions, _head
from probe.scoring.identity import HASHED
from probe.scoring.session import ModelOptions, Source
from probe.training.plan import Options
from probe.training.run import TrainOptions, resume_identity

SOURCE = Source(Path("pairs.jsonl"), {"prompt": "prompt"}, ("chosen", "rejected"))
FACTS = {"name": "m", "device": "cpu", **dict.fromkeys(HASHED, "a")}
ENCODING = {"template": "raw", "chat": True, "max_length": 512}
CHANGES = [*({"facts": {**FACTS, name: "b"}} for name in HASHED), *({name: "other"} for name in ENCODING)]


def session(facts=FACTS, sha="s", source=SOURCE, **encoding):
    return SimpleNamespace(
        source=source,
        survey=SimpleNamespace(facts={"sha256": sha}, first=()),
        loaded=SimpleNamespace(facts=facts),
        encoder=SimpleNamespace(**{**ENCODING, **encoding}, many=lambda pairs: []),
        exact=False,
    )


def gate(made):
    return Work(GateRequest(made.source, ModelOptions()), _session=made).depends()


def sample(made):
    options = SampleOptions(Path("to"), (0.0,), 1, 1.0, None, (), "default", True, None, 0.05, 0)
    return _head(Path(__file__), made.loaded, made.encoder, options, 9)


def training(made, **changes):
    return resume_identity(made, replace(TrainOptions(), **changes))


KEPT = {"a gate's part": gate, "a journal of samples": sample, "a training to resume": training}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_model_and_the_encoding(name, change):
    assert KEPT[name](session(**change)) != KEPT[name](session())


@pytest.mark.parametrize("name", ["a gate's part", "a training to resume"])
@pytest.mark.parametrize("change", [{"sides": ("a", "b")}, {"skip_bad": True}, {"fields": {}}], ids=str)
def test_the_file_and_how_it_is_read(name, change):
    assert KEPT[name](session(source=replace(SOURCE, **change))) != KEPT[name](session())
    assert KEPT[name](session(sha="t")) != KEPT[name](session())


def test_what_is_held_out_and_what_is_mixed_in(tmp_path):
    texts = tmp_path / "texts.jsonl"
    texts.write_text("one")
    changes = [{"held_out": 0.3}, {"replay": texts}, {"loop": Options(mixed_precision="bf16")}]
    made = [str(training(session(), **change)) for change in ({}, *changes)]
    texts.write_text("another")
    made.append(str(training(session(), replay=texts)))
    assert len(set(made)) == len(made)
