"""What the probes of a gate compute together: no token is forwarded twice for the same pair and context."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from probe.gate.registry import PROBES
from probe.probes.gated import Effort, GateRequest, Work
from probe.scoring.session import ModelOptions, Source


@contextmanager
def counted(model):
    """Counts the tokens that go into the model's decoder."""
    tokens = []

    def count(module, args, kwargs):
        ids = kwargs.get("input_ids", args[0] if args else None)
        embeds = kwargs.get("inputs_embeds")
        tokens.append(ids.numel() if ids is not None else embeds.shape[0] * embeds.shape[1])

    hook = model.base_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield tokens
    finally:
        hook.remove()


@pytest.fixture
def work(tmp_path, tiny_model_dir, monkeypatch):
    monkeypatch.setattr("probe.probes.negatives.run._surface", lambda work: None)  # text alone: no tokens

    def make(n, **how):
        path = tmp_path / f"{n}.jsonl"
        rows = [
            {"prompt": f"Say {i}:", "chosen": f" yes {i * 3 % 11}", "rejected": f" no {i * 7 % 10}"}
            for i in range(n)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = ModelOptions(str(tiny_model_dir), dtype="float32", no_cache=True)
        return Work(GateRequest(Source.of(path, None, None, False), options, **how))

    return make


def run(work, *names):
    """The tokens that each of these probes forwards, in this order."""
    spent = {}
    work.session.scorer.prove(64)  # the self-proof has passes of its own
    for probe in sorted((p for p in PROBES if p.name in names), key=lambda p: names.index(p.name)):
        with counted(work.session.loaded.model) as tokens:
            probe.run(work)
        spent[probe.name] = sum(tokens)
    return spent


def test_the_bias_scores_nothing_that_the_states_were_read_from(work):
    """Given the prompt and without it: both contexts come from the reading; other templates are left."""
    apart, together = work(24), work(24)
    alone, shared = run(apart, "bias"), run(together, "negatives", "bias")
    assert shared["negatives"] > 0 and shared["bias"] < alone["bias"]
    counts = together.session.inputs()["scores"]
    read, templates = 2 * 2 * 24, 2 * 2 * 24
    assert (counts["new"], counts["stored"]) == (read + templates, read)
    for a, b in zip(apart.scores, together.scores, strict=True):
        assert a.line == b.line and a.gap == pytest.approx(b.gap, abs=5e-5)


def test_the_cost_does_not_follow_the_size_of_the_file(work):
    """Whatever the verdict, no more than the last look is scored; once it is settled the file can grow."""
    effort = Effort(looks=(16, 32), states=16)
    works = {n: work(n, effort=effort) for n in (60, 240)}
    spent = {n: sum(run(one, "negatives", "bias").values()) for n, one in works.items()}
    assert {len(one.scores) for one in works.values()} <= {16, 32}
    assert spent[240] <= 1.25 * spent[60]  # the prompts' numbers are longer
