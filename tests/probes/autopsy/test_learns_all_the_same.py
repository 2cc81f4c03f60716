"""What a log seems to say of a run is not believed where its curves surely show the opposite."""

import math
import random

import pytest

from probe.probes.autopsy.curve import Curve, surely_changed
from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log

LN2 = math.log(2)
N = 40


def found(rows):
    return diagnose(make_log("x", rows))


def labels(it):
    return {tag.label for tag in it.tags}


def supervised(fall: float = 0.6, noise: float = 0.03, seed: int = 1, **more):
    rng = random.Random(seed)
    return [
        {"step": 10 * (i + 1), "loss": 1.1 + fall * math.exp(-4 * i / N) + rng.gauss(0, noise), **more}
        for i in range(N)
    ]


def preferences(margin: float = 2.0, seed: int = 1, **more):
    rng = random.Random(seed)
    rows = []
    for i in range(N):
        m = margin * i / N + (0.05 * rng.gauss(0, margin) if i else 0.0)
        loss, accuracy = math.log1p(math.exp(-m)), min(0.9, 0.5 + m / 4)
        row = {"step": 10 * (i + 1), "loss": loss, "rewards/margins": m, "rewards/accuracies": accuracy}
        rows.append({**row, **more})
    return rows


@pytest.mark.parametrize(
    ("rows", "moved"),
    [
        (supervised(grad_norm=0.0), "the loss"),
        (preferences(grad_norm=0.0), "the loss"),
        (preferences(0.05, grad_norm=0.0), "the margins"),
    ],
)
def test_a_run_that_moves_is_not_frozen(rows, moved):
    it = found(rows)
    assert "frozen" not in labels(it)
    assert f"grad_norm is 0 in 40 of 40 entries while {moved} moved: it was not logged" in it.notes


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_noise_without_a_gradient_is_frozen(noise, seed):
    it = found(supervised(0.0, noise, seed, grad_norm=0.0))
    assert "frozen" in labels(it)
    assert not any("not logged" in note for note in it.notes)


def test_what_moved_before_the_gradient_was_0_is_no_learning_without_one():
    begun = supervised(grad_norm=1.0)
    still = {"loss": begun[4]["loss"], "grad_norm": 0.0}
    rows = [row if i < 4 else row | still for i, row in enumerate(begun)]
    assert "frozen" in labels(found(rows))


def test_a_change_is_sure_beyond_the_noise_of_neighbours():
    rng = random.Random(0)
    still = Curve("loss", tuple(range(N)), tuple(rng.gauss(1.0, 0.1) for _ in range(N)))
    falling = Curve("loss", still.steps, tuple(v - 0.015 * i for i, v in enumerate(still.values)))
    assert surely_changed(still) == 0.0
    assert surely_changed(falling) == pytest.approx(falling.last(5) - falling.first(5))
    assert surely_changed(falling, 0.9) == 0.0


@pytest.mark.parametrize(("gain", "silent"), [(0.5, False), (0.0, True)])
def test_a_reward_that_moves_has_groups_that_differ(gain, silent):
    rng = random.Random(2)
    rows = [
        {"step": i + 1, "loss": 0.0, "reward": 0.2 + gain * i / N + rng.gauss(0, 0.03), "reward_std": 0.0}
        for i in range(N)
    ]
    it = found(rows)
    assert ("no_signal" in labels(it), it.main == "stuck") == (silent, silent)


def rate_of(rows):
    return next(tag for tag in found(rows).tags if tag.label == "lr_high")


@pytest.mark.parametrize("rate", [0.06, 1.0, 5.0])
@pytest.mark.parametrize("rows", [supervised(), supervised(grad_norm=0.4), preferences()])
def test_a_large_rate_under_which_the_loss_falls_is_no_lost_exponent(rows, rate):
    tag = rate_of([row | {"learning_rate": rate} for row in rows])
    assert tag.confidence == "cannot tell"
    assert "Prodigy" in tag.next


RUINED = {
    "diverged": [{"step": i, "loss": 1.5 + 0.2 * i} for i in range(1, N)],
    "without language": [{"step": i, "loss": 9.0 - 0.03 * i} for i in range(1, N)],
    "worse than untrained": [
        {"step": i, "loss": 3.0 - 0.01 * i, "rewards/margins": -2.5} for i in range(1, N)
    ],
    "a gradient that explodes": [*supervised(grad_norm=0.4)[:-1], supervised(grad_norm=400.0)[-1]],
    "nothing learned": supervised(0.0),
}


@pytest.mark.parametrize("kind", RUINED)
def test_a_large_rate_that_ruins_a_run_is_a_lost_exponent(kind):
    tag = rate_of([row | {"learning_rate": 5.0} for row in RUINED[kind]])
    assert tag.confidence == "certain"
    assert tag.next.startswith("Read the value that reached the trainer")
