"""The trial: honest on shuffled labels, quick on easy pairs, exact in its arithmetic, and leaves no trace."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from probe.pairs.record import Pair
from probe.probes.trial.bench import Bench, Tuned, _moved
from probe.probes.trial.course import Course
from probe.probes.trial.judge import Trial, curve, judge_trial, noise_scale
from probe.probes.trial.options import TrialOptions, schedule
from probe.probes.trial.passes import Noise, Pass
from probe.probes.trial.race import race
from probe.probes.trial.run import run_trial, sample_by_prompt
from probe.stats.statistics import clopper_pearson
from probe.training.policy import trainable_model
from probe.training.recipes import recipe
from probe.training.shipped import shipped_values


def passed(margins, changes=None, rate=1.0, per_token=None):
    n = len(margins)
    return Pass(
        np.array(margins, float),
        np.array(margins if per_token is None else per_token, float),
        np.array(changes if changes is not None else [0.0] * n, float),
        np.full(n, rate),
        [str(i) for i in range(n)],
        list(range(n)),
        np.zeros(n),
    )


def named(measured):
    return {estimate.name: estimate for estimate in measured.estimates}


def test_numbers_by_hand():
    """6 of 8 unseen pairs right; halves' margins 1 … 4 in 5 steps; a full run of ten times the rates."""
    halves = passed([1.0, 2.0, 3.0, 4.0], [-0.2, -0.21, -0.19, -0.2], rate=2.0)
    measured = judge_trial(Trial(passed([1.0] * 6 + [-1.0] * 2), halves, steps=5, batch=2, full_rate=20.0))
    values = named(measured)
    assert values["trial_pass_accuracy"].value == 0.75 and values["trial_accuracy"].value == 1.0
    assert values["trial_margin_slope"].value == pytest.approx(0.5)
    assert values["trial_chosen_change"].value == pytest.approx(-0.2)
    assert values["forecast_chosen_change"].value == pytest.approx(-2.0)
    forecast, own = values["forecast_accuracy"], values["trial_accuracy"]
    assert forecast.low < own.low < own.high <= forecast.high
    assert [f.code for f in measured.findings] == ["PB501", "PB503"]


def test_both_halves_count_as_one_half():
    """75 of 100 right over two halves that judge each other: the interval and the p of 37.5 of 50."""
    halves = replace(passed([1.0] * 75 + [-1.0] * 25), folds=2)
    found = named(judge_trial(Trial(passed([1.0]), halves, 5, 2, 1.0)))["trial_accuracy"]
    alone = named(judge_trial(Trial(passed([1.0]), replace(halves, folds=1), 5, 2, 1.0)))["trial_accuracy"]
    assert alone.low > found.low and "as one" not in alone.method
    effective = 100 / (1 + 4 * 0.75 * 0.25)
    assert (found.low, found.high) == pytest.approx(clopper_pearson(0.75 * effective, effective), abs=0.01)
    assert 0 < found.p < 0.05 and found.low > 0.5


def test_the_curve_has_a_row_a_batch():
    unseen = Pass(
        np.array([-1.0, 1.0, 3.0, 5.0]),
        np.zeros(4),
        np.zeros(4),
        np.array([0.1, 0.1, 0.3, 0.3]),
        "abcd",
        range(4),
    )
    assert curve(unseen) == [
        {"step": 1, "unseen/accuracies": 0.5, "unseen/margins": 0.0},
        {"step": 2, "unseen/accuracies": 1.0, "unseen/margins": 4.0},
    ]


def test_ties_count_half_and_chance_is_no_learning():
    measured = judge_trial(Trial(passed([0.0] * 20), passed([0.0] * 20), 5, 2, 1.0))
    assert named(measured)["trial_accuracy"].value == 0.5
    assert "PB501" in {f.code for f in measured.findings}


def test_trivial_pairs_are_told():
    measured = judge_trial(Trial(passed([3.0] * 100), passed([3.0] * 100), 10, 8, 1.0))
    assert [f.code for f in measured.findings] == ["PB502"]
    assert named(measured)["trial_accuracy"].low > 0.95


def test_what_is_only_length_is_told():
    """All sums right; per token a quarter, then all but one in ten, then no fewer than chance could make."""

    def codes(per_token, sums=(1.0,) * 20):
        halves = passed(sums, per_token=per_token)
        return {f.code for f in judge_trial(Trial(passed(sums), halves, 30, 8, 1.0)).findings}

    assert "PB505" in codes([0.1] * 5 + [-0.1] * 15)
    assert "PB505" not in codes([0.1] * 18 + [-0.1] * 2)
    # Sums just shown, tokens just not: two pairs of difference do not make it length.
    assert "PB505" not in codes([0.1] * 13 + [-0.1] * 7, [1.0] * 15 + [-1.0] * 5)


def test_margins_per_token_by_hand(material, pairs):
    _, items = material(given=pairs)
    (chosen, rejected), (long, short) = items[0].reference, items[0].tokens
    got = _moved(items[0], chosen + 2.0, rejected - 1.0)
    assert got.margin == pytest.approx(3.0) and got.change == pytest.approx(2.0 / long)
    assert got.token_margin == pytest.approx(2.0 / long + 1.0 / short)


def test_noise_scale_recovers_what_was_simulated():
    """gᵢ = G + noise, |G|² = 4, tr Σ = 100 · 0.25 = 25: the scale is 6.25 pairs."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        gradients = rng.normal(0.2, 0.5, (64, 100))
        mean = gradients.mean(0)
        found.append(noise_scale(Noise((gradients**2).sum(1), float((mean**2).sum()))))
    assert np.median(found) == pytest.approx(6.25, rel=0.05)
    assert noise_scale(Noise(np.array([1.0]), 1.0)) is None
    assert noise_scale(Noise(np.array([1.0, 1.0]), 0.0)) is None


def trained(material, pairs, methods=("dpo",), **settings):
    """A trial with large learning rates; the model has its own weights again afterwards."""
    loaded, items = material(given=pairs)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    changes = (("learning_rate", 1e-2), ("batch", 4))
    options = TrialOptions(steps=9, changes=changes, methods=methods, tokens=6, **settings)
    measured = run_trial(loaded, items, methods, options, len(items))
    after = dict(loaded.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    return measured


def test_learnable_pairs_are_learned_both_ways(material, pairs):
    measured, (candidate,) = trained(material, pairs)
    values = named(judge_trial(measured))
    assert len(measured.halves.margins) == len(pairs)
    assert values["trial_accuracy"].value > 0.9
    assert len(measured.prequential.margins) == len(pairs) - 8  # a half's first batch came before any update
    assert measured.noise is not None and measured.noise.singles.min() > 0
    judge = named(race([candidate]))["behaviour_judge"]
    assert judge.value > 0.9  # good … . against bad … ?


@pytest.mark.parametrize("everything", [24, 1000, 10_000])
@pytest.mark.parametrize("method", ["dpo", "sft", "sft+dpo"])
def test_the_full_run_is_that_of_the_whole_file_over_all_stages(material, pairs, method, everything):
    """Σ of the learning rates by the shipped values for so many pairs: the batch grows, and stages add."""
    loaded, _ = material(given=pairs)
    options = TrialOptions(method=method, samples=0)
    course = Course(loaded, options, everything, 24)
    try:
        course.fold([])
        course._pass = lambda method: passed([1.0])
        course.folds[0].early[method] = passed([1.0])
        course.bench.noise = lambda own, items: None
        measured, held = course.trial(), course.recipes()
    finally:
        course.put_away()
    size, stages = loaded.facts.get("parameters"), method.split("+")
    rows = [shipped_values(stage, parameters=size, n=everything) for stage in stages]
    full = [
        row["learning_rate"] * row["epochs"] * -(-everything // row["batch"]) * (1 + row["warmup"]) / 2
        for row in rows
    ]
    assert measured.full_rate == pytest.approx(sum(full))
    assert measured.steps == sum(course.steps[method]) == 9 * len(stages)
    assert [one["batch"] for one in held["full_run"]] == [row["batch"] for row in rows]
    assert held["recipe"] == [one.facts() for one in course.stages[method]]


def test_candidates_share_halves_and_samples(material, pairs):
    _, found = trained(material, pairs, ("dpo", "sft", "sft+dpo"))
    assert [candidate.method for candidate in found] == ["dpo", "sft", "sft+dpo"]
    assert [candidate.steps for candidate in found] == [[9], [9], [9, 9]]
    assert len({tuple(candidate.halves.lines) for candidate in found}) == 1
    befores = {tuple(one.ids for half in c.written for some in half.before for one in some) for c in found}
    assert len(befores) == 1
    assert found[1].cost < found[0].cost < found[2].cost
    measured = race(found)
    names = {estimate.name for estimate in measured.estimates}
    assert {"behaviour_up", "behaviour_judge@sft", "ranking_change@dpo", "trial_accuracy@sft+dpo"} <= names
    assert sum(row["won"] for row in measured.details["race"]) <= 1


def test_untrained_samples_are_unchanged(material, pairs):
    """With a learning rate of 0 the same random numbers write the same text, and nothing has moved."""
    loaded, items = material(given=pairs)
    options = TrialOptions(steps=2, changes=(("learning_rate", 0.0),), tokens=6)
    _, (candidate,) = run_trial(loaded, items, ("dpo",), options, len(items))
    values = named(race([candidate]))
    assert values["behaviour_unchanged"].value == 1.0
    assert values["behaviour_up"].value is None


def test_without_samples_pairs_are_ranked_all_the_same(material, pairs):
    measured, (candidate,) = trained(material, pairs, samples=0)
    assert named(judge_trial(measured))["trial_accuracy"].value > 0.9
    assert "behaviour_up" not in named(race([candidate]))


def test_shuffled_labels_are_not_learned(material, pairs):
    """With sides swapped at random, what one half teaches the other does not know."""
    rng = np.random.default_rng(1)
    swapped = [
        Pair(p.id, p.prompt, p.rejected, p.chosen, line=p.line) if rng.integers(2) else p for p in pairs
    ]
    measured, _ = trained(material, swapped)
    assert "PB501" in {f.code for f in judge_trial(measured).findings}


def test_scores_before_an_update_come_before_it(material, pairs):
    """The second batch's margins are those of the model after one update; the first batch has none."""
    loaded, items = material(given=pairs)
    full = recipe("dpo", 10**6, n=24).with_values({"learning_rate": 1e-2, "batch": 4})
    bench = Bench(trainable_model(loaded.model, full))
    tuned = bench.stage(Tuned(bench.start), full, 7, items, lambda _: None)
    measured, spent = tuned.early, tuned.spent
    assert spent == pytest.approx(7e-2) and len(measured.margins) == len(items) - 4
    assert measured.rates[:4].tolist() == [1e-2] * 4 and measured.rates[4] == pytest.approx(2e-2)
    assert (np.abs(measured.margins[:4]) > 0).all()


def test_steps_end_with_the_budget_of_a_stage_or_with_the_recipe():
    dpo, sft = recipe("dpo", 10**8, n=64), recipe("sft", 10**8, n=64)
    assert schedule([dpo], 64, 16) == [16] and schedule([sft], 64, 16) == [16]
    assert schedule([sft, dpo], 64, 16) == [16, 16]
    assert schedule([dpo], 64, 100) == [24]  # 3 epochs of 8 batches


def test_pairs_are_drawn_by_prompt(material, pairs):
    drawn = sample_by_prompt(pairs, 9, 0)
    prompts = {pair.prompt for pair in drawn}
    assert 0 < len(drawn) <= 9
    assert drawn == [pair for pair in pairs if pair.prompt in prompts]
    assert sample_by_prompt(pairs, 9, 0) == drawn != sample_by_prompt(pairs, 9, 1)
