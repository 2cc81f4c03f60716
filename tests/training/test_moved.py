"""What `probe train` and `probe compare` say of behaviour, before and after, on held-out prompts."""

import json

import numpy as np
import pytest

from probe.gate.promote.moved import Heard, with_behaviour
from probe.records import Run
from probe.scoring.scores import EncodedSide
from probe.scoring.session import ModelOptions, Source
from probe.stats.behaviour import CutResponse
from probe.training.behaviour import Sampling
from probe.training.plan import Options
from probe.training.run import TrainOptions, train_run


@pytest.mark.parametrize("method", ["dpo", "sft+dpo"])
def test_a_training_says_what_moved_on_held_out_prompts(method, tmp_path, tiny_model_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Which, {i}?", "chosen": f" yes {i}", "rejected": f" no, {i}"} for i in range(20)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = train_run(
        Source.of(tmp_path / "pairs.jsonl", None, None, False), ModelOptions(str(tiny_model_dir)),
        TrainOptions(method, changes={"learning_rate": 1e-2}, loop=Options(steps=4)),
    )  # fmt: skip
    names = {estimate.name for estimate in done.run.estimates}
    assert {"ranking_change", "behaviour_up", "behaviour_unchanged", "behaviour_judge"} <= names
    (row,) = done.run.details["race"]
    assert (row["method"], row["prompts"]) == (method, 4)
    assert row["before_neutral"] > 1 and row["after_neutral"] > 1
    assert row["before_neutral"] != row["after_neutral"]


def write(rng, mark=""):
    words = [*rng.choice([f"w{i}" for i in range(30)], 5), mark]
    return CutResponse(" ".join(words).strip(), True, tuple(hash(word) % 10**6 for word in words))


def heard(mark, n=40, seed=0):
    rng = np.random.default_rng(seed)
    prompts = [f"prompt {i}" for i in range(n)]
    chosen, rejected = ([write(rng, side) for _ in prompts] for side in ("kind", "rude"))
    return Heard(prompts, [write(rng, mark) for _ in prompts], prompts, chosen, rejected)


@pytest.mark.parametrize(("mark", "up"), [("kind", True), ("rude", False)])
def test_a_comparison_judges_answers_by_pairs_of_other_prompts(mark, up):
    run = with_behaviour(Run("compare", "now"), heard(""), heard(mark), alpha=0.05, seed=0)
    moved = run.estimate("behaviour_up")
    assert moved.n == 40 and moved.p < 0.05 and (moved.value > 0.5) is up
    assert run.estimate("behaviour_judge").value > 0.9


def test_a_comparison_of_few_or_other_prompts_says_nothing():
    run = Run("compare", "now")
    assert with_behaviour(run, heard("", 10), heard("kind", 10), alpha=0.05, seed=0) is run
    assert with_behaviour(run, heard("", 40), heard("kind", 30), alpha=0.05, seed=0) is run
    assert with_behaviour(run, None, heard("kind"), alpha=0.05, seed=0) is run


@pytest.mark.parametrize(
    ("lengths", "tokens"), [([3, 4], 14), ([20, 20, 30, 30], 30), ([900] * 4, 40), ([], 14)]
)
def test_a_sample_is_as_long_as_three_in_four_responses(lengths, tokens):
    sides = [EncodedSide(tuple(range(5 + n)), 5, 0, False) for n in lengths]
    assert Sampling().fitted(sides).tokens == tokens
