"""What was learned is seen where the loss hardly moves, means little or is a sum; what was not is not."""

import math
import random

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log

LN2 = math.log(2)
N = 40


def found(rows):
    return diagnose(make_log("x", rows))


def small_beta(learned: float, beta: float = 0.01, *without: str, at_once: bool = False, seed: int = 1):
    """A DPO run of a small β, whose policy moves by `learned` nats; without the named columns."""
    rng = random.Random(seed)
    rows = []
    for i in range(N):
        done = (1.0 if at_once and i else i / N) * learned
        margin = beta * learned * i / N + beta * rng.gauss(0.0, 0.05)
        row = {
            "loss": round(math.log1p(math.exp(-margin)), 4),
            "rewards/accuracies": 0.5 + 0.14 * done + rng.uniform(-0.04, 0.04),
            "rewards/margins": margin,
            "rewards/chosen": margin / 2,
            "rewards/rejected": -margin / 2,
            "grad_norm": 1.0 + rng.random(),
            "step": 10 * (i + 1),
        }
        rows.append({k: v for k, v in row.items() if k not in without})
    return rows


def with_evaluations(rows, accuracies):
    held = [
        {"eval_loss": 0.69, "eval_rewards/accuracies": v, "step": N * 10 * (k + 1) // len(accuracies)}
        for k, v in enumerate(accuracies)
    ]
    return sorted([*rows, *held], key=lambda row: row["step"])


RISING = {
    "accuracy": small_beta(2.0),
    "a smaller beta": small_beta(2.0, 0.005),
    "at once": small_beta(2.0, at_once=True),
    "margins alone": small_beta(2.0, 0.01, "rewards/accuracies"),
    "held out": with_evaluations(small_beta(2.0, 0.01, "rewards/accuracies"), (0.55, 0.66, 0.7, 0.75)),
}


@pytest.mark.parametrize("kind", RISING)
def test_a_small_beta_moves_the_loss_little_and_is_not_stuck(kind):
    assert max(abs(row["loss"] - LN2) for row in RISING[kind] if "loss" in row) < 0.0105
    assert found(RISING[kind]).main == "healthy"


@pytest.mark.parametrize("without", [(), ("rewards/accuracies",)])
@pytest.mark.parametrize("seed", range(20))
def test_noise_about_the_start_is_stuck(seed, without):
    assert found(small_beta(0.0, 0.01, *without, seed=seed)).main == "stuck"


def wrong_reference(end: float):
    """Accuracy and margin begin far below 0, as against another model's reference, and rise to `end`."""
    rows = []
    for i in range(N):
        margin = -2.8 + (end + 2.8) * i / N
        accuracy = max(0.0, 0.5 + 0.15 * margin) if margin < 0 else 0.5 + 0.14 * margin
        side = {"rewards/chosen": -8.0 + margin / 2, "rewards/rejected": -5.2 - margin / 2}
        loss = math.log1p(math.exp(-margin)) + 0.5
        rows.append(
            {"step": 5 * (i + 1), "loss": loss, "rewards/accuracies": accuracy, "rewards/margins": margin}
            | side
        )
    return rows


def test_a_run_that_left_chance_is_not_below_it_throughout():
    it = found(wrong_reference(0.9))
    assert it.main == "healthy"
    assert "ref_mismatch" in {tag.label for tag in it.tags}


def test_a_run_that_stays_below_chance_is_stuck():
    it = found(wrong_reference(-1.5))
    assert it.main == "stuck"
    assert "below chance throughout" in it.sign.evidence


def ppo(gain: float, n: int = 60, **more):
    rng = random.Random(5)
    return [
        {
            "objective/kl": 6.0,
            "objective/entropy": 100.0,
            "objective/scores": 0.8 + gain * i / n + rng.uniform(-0.1, 0.1),
            "policy/approxkl_avg": 0.01,
            "step": i + 1,
            **more,
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("more", [{}, {"loss": 0.1}])
def test_the_scores_of_ppo_are_what_moved(more):
    it = found(ppo(2.0, **more))
    assert (it.main, it.sign.confidence) == ("healthy", "likely")
    assert "objective/scores 0." in it.sign.evidence
    assert "too little" not in it.sign.evidence


@pytest.mark.parametrize(
    "rows", [ppo(2.0, 3), ppo(2.0, 1), small_beta(2.0)[:3], [{"loss": 2.0}, {"loss": 1.9}]]
)
def test_too_little_is_never_nothing_to_correct(rows):
    it = found(rows)
    assert it.sign.confidence == "cannot tell"
    assert "nothing that needs to be corrected" not in it.sign.next


def broken_gradient(later):
    """NaN gradients from the first entry on; the losses after it are those of `later`."""
    return [
        {"step": 5 * (i + 1), "loss": 0.5545 if not i else later(i), "grad_norm": math.nan} for i in range(N)
    ]


@pytest.mark.parametrize("later", [lambda i: 0.68 - 0.005 * i, lambda i: 0.68, lambda i: math.nan])
def test_the_filter_is_not_said_where_the_losses_go_on(later):
    rows = [row | {"rewards/margins": 0.0, "rewards/accuracies": 0.5} for row in broken_gradient(later)]
    it = found(rows)
    assert it.main == "numerics"
    assert "NaN filter leaves" not in it.sign.evidence


def test_the_filter_is_said_where_it_left_zeros():
    rows = [
        row | {"rewards/margins": 0.0, "rewards/accuracies": 0.5} for row in broken_gradient(lambda i: 0.0)
    ]
    assert "NaN filter leaves" in found(rows).sign.evidence


def moved(times: int, spread: float = 0.2, extra: float = 0.0, seed: int = 2):
    """Sums over `times` terms, logged every ten steps, so that the first entry is not at rest any more."""
    rng = random.Random(seed)
    rows = []
    for i in range(N):
        mean = 2.3 * (i + 0.6) / N
        margins = [rng.gauss(mean, spread + 0.7 * mean) for _ in range(320)]
        row = {
            "loss": times * sum(math.log1p(math.exp(-m)) for m in margins) / 320 + extra,
            "rewards/margins": sum(margins) / 320,
            "rewards/accuracies": sum(m > 0 for m in margins) / 320,
            "step": 10 * (i + 1),
        }
        rows.append(row | {"rewards/chosen": 0.4 * mean, "rewards/rejected": -0.6 * mean})
    return rows


@pytest.mark.parametrize("times", [2, 3, 4, 8, 16, 32])
@pytest.mark.parametrize("seed", range(4))
def test_a_sum_is_known_though_the_first_entry_has_moved(times, seed):
    it = found(moved(times, seed=seed))
    assert it.method.accumulated_batches == times
    assert "summed_loss" in {tag.label for tag in it.tags}


@pytest.mark.parametrize("extra", [0.0, 0.7, 1.4, 2.08])
def test_a_loss_with_another_term_is_no_sum(extra):
    assert "summed_loss" not in {tag.label for tag in found(moved(1, extra=extra)).tags}
