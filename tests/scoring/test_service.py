"""Scoring as a service: order, store, faults. Nothing measured is lost, nothing wrong is averaged in."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from probe.errors import CannotMeasure
from probe.pairs.record import Pair
from probe.scoring import service
from probe.scoring.encode import make_encoder
from probe.scoring.scores import EncodedSide
from probe.scoring.service import Scorer
from probe.scoring.store import Store, model_key


@pytest.fixture
def scorer(tiny, make_tokenizer, load, pairs):
    def make(store=None, model=tiny):
        loaded = load(model, make_tokenizer("bpe"))
        return Scorer(loaded, make_encoder(loaded.tokenizer, pairs), store)

    return make


def numbers(scores):
    return [
        (s.id, s.chosen.token_logps.tolist(), s.rejected.token_logps.tolist(), s.chosen.end_logp)
        for s in scores
    ]


def test_scores_come_in_file_order_with_both_ends(scorer, pairs):
    scores = list(scorer().scores(pairs))
    assert [s.id for s in scores] == [p.id for p in pairs]
    assert all(s.chosen.end_logp is not None for s in scores)
    assert all(s.gap == s.chosen.mean_logps - s.rejected.mean_logps for s in scores)


def test_windows_do_not_change_a_score(scorer, pairs, monkeypatch):
    whole = list(scorer().scores(pairs))
    monkeypatch.setattr(service, "WINDOW", 3)
    for a, b in zip(whole, scorer().scores(pairs), strict=True):
        np.testing.assert_allclose(a.chosen.token_logps, b.chosen.token_logps, atol=5e-5)


def test_swapping_the_sides_negates_the_gap(scorer, pairs):
    swapped = [Pair(p.id, p.prompt, p.rejected, p.chosen, line=p.line) for p in pairs]
    for a, b in zip(scorer().scores(pairs), scorer().scores(swapped), strict=True):
        assert a.gap == pytest.approx(-b.gap, abs=1e-5)


def test_a_second_run_answers_from_the_store_bit_for_bit(scorer, pairs, tmp_path):
    first = scorer(Store(tmp_path / "s.sqlite", b"k"))
    scores = numbers(first.scores(pairs))
    second = scorer(Store(tmp_path / "s.sqlite", b"k"))
    assert numbers(second.scores(pairs)) == scores
    assert (second.new, second.cached) == (0, 40)
    assert second.proof is None  # nothing was run, so nothing had to be proven


def test_another_model_is_a_miss(tmp_path):
    """Pitfall 16: every fact of the model is in the key."""
    side = EncodedSide((1, 2, 3), 1, 2)
    facts = {"weights_sha256": "a", "adapter_sha256": None, "dtype": "float32", "device": "cpu"}
    store = Store(tmp_path / "s.sqlite", model_key(facts))
    store.put([side], [np.array([-1.0, -2.0], np.float32)])
    assert store.get([side])[0] is not None
    for name in facts:
        other = Store(tmp_path / "s.sqlite", model_key({**facts, name: "other"}))
        assert other.get([side]) == [None]
    assert store.get([EncodedSide((1, 2, 3), 2, 2)]) == [None]


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 50, None])
def test_a_damaged_or_foreign_store_is_set_aside(scorer, pairs, tmp_path, capsys, content):
    path = tmp_path / "s.sqlite"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE recipes (name TEXT)")
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    scores = numbers(scorer(Store(path, b"k")).scores(pairs))
    assert (tmp_path / "s.sqlite.bad").read_bytes() == content
    assert "set aside" in capsys.readouterr().err
    assert numbers(scorer(Store(path, b"k")).scores(pairs)) == scores


def test_a_damaged_row_is_computed_again(scorer, pairs, tmp_path):
    path = tmp_path / "s.sqlite"
    scores = numbers(scorer(Store(path, b"k")).scores(pairs))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE scores SET logps = zeroblob(length(logps))")
    again = scorer(Store(path, b"k"))
    assert numbers(again.scores(pairs)) == scores
    assert again.cached == 0


def test_a_full_disk_costs_the_store_not_the_run(scorer, pairs, tmp_path, capsys):
    whole = numbers(scorer().scores(pairs))
    store = Store(tmp_path / "s.sqlite", b"k")
    store.connection.execute("PRAGMA max_page_count = 1")
    assert numbers(scorer(store).scores(pairs)) == whole
    said = capsys.readouterr().err
    assert said.count("goes on without keeping") == 1


def test_an_unwritable_place_costs_the_store_not_the_run(scorer, pairs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "s.sqlite", b"k")
    assert len(list(scorer(store).scores(pairs))) == 20
    assert "neither read nor kept" in capsys.readouterr().err


def test_out_of_memory_halves_the_budget_and_says_so_once(scorer, pairs, monkeypatch, capsys):
    whole = list(scorer().scores(pairs))
    packed, failures = service.packed_logps, iter([1, 1, 0, 0, 1])

    def sometimes(model, sides):
        if next(failures, 0):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return packed(model, sides)

    monkeypatch.setattr(service, "packed_logps", sometimes)
    short = scorer()
    for a, b in zip(whole, short.scores(pairs), strict=True):
        np.testing.assert_allclose(a.chosen.token_logps, b.chosen.token_logps, atol=5e-5)
    assert short.budget == service.BUDGET // 8
    assert capsys.readouterr().err.count("out of memory") == 1


def test_memory_that_never_suffices_ends_in_one_line(scorer, pairs, monkeypatch):
    def never(model, sides):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(service, "packed_logps", never)
    with pytest.raises(CannotMeasure, match="out of memory"):
        list(scorer().scores(pairs))


def test_an_error_that_is_not_memory_is_not_swallowed(scorer, pairs, monkeypatch):
    def broken(model, sides):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(service, "packed_logps", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        list(scorer().scores(pairs))


def test_a_nan_names_the_pair_and_the_module_and_is_not_stored(scorer, pairs, tmp_path):
    healthy = scorer()
    list(healthy.scores(pairs[:1]))  # proven on a sound model
    with torch.no_grad():
        healthy.loaded.model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    healthy.store = Store(tmp_path / "s.sqlite", b"k")
    with pytest.raises(CannotMeasure, match=r"line \d+: .*model\.layers\.1\.mlp\.down_proj"):
        list(healthy.scores(pairs))
    assert healthy.store.connection.execute("SELECT count(*) FROM scores").fetchone() == (0,)


def test_a_model_that_cannot_be_packed_is_scored_plainly_and_says_so(
    scorer, pairs, unpackable, reference, capsys
):
    plain = scorer(model=unpackable)
    scores = list(plain.scores(pairs[:4]))
    assert "one sequence at a time" in capsys.readouterr().err
    codes = plain.encoder(pairs[0])
    truth = reference(unpackable, codes.chosen)
    np.testing.assert_allclose(scores[0].chosen.token_logps.mean(), truth[:-1].mean(), atol=1e-4)


def test_pairs_that_cannot_be_scored_are_counted_not_averaged(scorer, pairs):
    odd = [*pairs, Pair("x", "Why?", " so", " so", line=99), Pair("y", "Why?", "", " so", line=100)]
    counting = scorer()
    assert len(list(counting.scores(odd))) == 20
    assert counting.met.excluded == [(99, "identical"), (100, "nothing_left")]


CHILD = """
    from pathlib import Path
    import torch, transformers as hf
    from probe.scoring.engine import token_logps
    from probe.scoring.scores import EncodedSide
    from probe.scoring.service import Scorer
    from probe.scoring.store import Store
    from probe.scoring.model import LoadedModel

    torch.manual_seed(0)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=100, hidden_size=16, intermediate_size=16,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)).eval()
    loaded = LoadedModel(model, None, "tiny", torch.device("cpu"), torch.float32, {{}})
    sides = [EncodedSide((i % 97, 3, 4, i // 97, i % 13), 2, 3) for i in range({n})]
    store = Store(Path({path!r}), b"k")
    scorer = Scorer(loaded, None, store, budget=8)
    values = scorer.side_logps(sides)
    print(scorer.new, scorer.cached, sum(float(v.sum()) for v in values).hex(), flush=True)
"""


def child(path, n=600):
    code = textwrap.dedent(CHILD.format(path=str(path), n=n))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_kill_9_loses_only_what_was_under_way(tmp_path):
    path = tmp_path / "s.sqlite"
    running = child(path)
    while running.poll() is None and not (path.exists() and _rows(path) > 20):
        time.sleep(0.02)  # however slow the machine is, the child fills the store or ends
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    kept = _rows(path)
    assert kept > 20
    new, cached, total = child(path).communicate()[0].split()
    assert int(cached) == kept
    assert int(new) == 600 - kept
    assert child(tmp_path / "fresh.sqlite").communicate()[0].split()[2] == total


def test_two_processes_share_one_store(tmp_path):
    path = tmp_path / "s.sqlite"
    both = [child(path, 200), child(path, 200)]
    answers = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0][2] == answers[1][2]
    assert _rows(path) == 200


def _rows(path):
    try:
        with sqlite3.connect(path, timeout=5) as connection:
            return connection.execute("SELECT count(*) FROM scores").fetchone()[0]
    except sqlite3.Error:
        return 0
