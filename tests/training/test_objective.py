"""Rewards under a loss with a scale of its own, the sums of a row, and when a step is taken."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from probe.training.losses import Logps
from probe.training.methods import METHODS, LossConstants
from probe.training.objective import PairLogps, Sums, losses_of, pair_logps, reward_scale, rewards
from probe.training.step import Stepper

POLICY = Logps(*map(torch.tensor, ([-4.0, -6.0], [-9.0, -5.0], [4.0, 3.0], [3.0, 5.0])))
REFERENCE = Logps(*map(torch.tensor, ([-5.0, -5.5], [-8.0, -6.0], [4.0, 3.0], [3.0, 5.0])))
CONSTANTS = LossConstants(beta=0.25, odds_weight=0.5)
RATIOS = torch.tensor([1.0, -0.5]), torch.tensor([-1.0, 1.0])  # chosen, rejected: Σ log π − Σ log π_ref
PER_TOKEN = torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -1.0])
EXPECTED = {
    "dpo": (RATIOS, 0.25), "cdpo": (RATIOS, 0.25), "robust": (RATIOS, 0.25), "dpop": (RATIOS, 0.25),
    "dpo_nll": (RATIOS, 0.25), "simpo": (PER_TOKEN, 0.25), "orpo": (PER_TOKEN, 0.5),
    "dpo_norm": ((RATIOS[0] / POLICY.chosen_tokens, RATIOS[1] / POLICY.rejected_tokens), 0.25),
}  # fmt: skip


def batch(method):
    return PairLogps(POLICY, REFERENCE if METHODS[method].reference else None)


@pytest.mark.parametrize("method", EXPECTED)
def test_rewards_are_in_the_scale_of_their_loss(method):
    """β for most; for ORPO its λ, whatever β is."""
    (chosen, rejected), scale = EXPECTED[method]
    found = rewards(batch(method), method, CONSTANTS)
    torch.testing.assert_close(found, (scale * chosen, scale * rejected))
    assert reward_scale(method, CONSTANTS) == scale


@pytest.mark.parametrize("method", [name for name in METHODS if name != "sft"])
def test_a_reward_over_its_scale_does_not_depend_on_it(method):
    made = []
    for value in (0.1, 0.8):
        constants = LossConstants(beta=value, odds_weight=value)
        chosen, rejected = rewards(batch(method), method, constants)
        made.append(torch.stack([chosen, rejected]) / reward_scale(method, constants))
    torch.testing.assert_close(*made)


@pytest.mark.parametrize("method", ["dpo", "orpo", "ipo"])
def test_the_sums_of_a_row(method):
    one = batch(method)
    losses = losses_of(one, method, CONSTANTS)
    sums = Sums.of(losses, one, method, CONSTANTS)
    chosen, rejected = rewards(one, method, CONSTANTS)
    row = (sums + sums).row(method)
    assert (sums.pairs, sums.weight, sums.wins) == (2, 2, float((chosen > rejected).sum()))
    assert row == pytest.approx({
        "loss": float(losses.mean()), "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()), "rewards/accuracies": 0.5,
        "rewards/margins": float((chosen - rejected).mean()), "logps/chosen": -5.0, "logps/rejected": -7.0,
    })  # fmt: skip
    assert Sums.from_tensor(sums.tensor(torch.device("cpu"))) == sums
    assert sums.row("sft") == {"loss": pytest.approx(float(losses.mean()))}


class Counted:
    def __init__(self):
        self.steps = self.zeroed = 0

    def step(self):
        self.steps += 1

    def zero_grad(self):
        self.zeroed += 1


@pytest.mark.parametrize(
    ("loss", "norm", "scaler", "skipped", "finite", "scheduled"),
    [
        (1.0, 2.0, None, False, True, 1),
        (math.nan, 2.0, None, False, False, 0),
        (math.inf, 2.0, None, False, False, 0),
        (1.0, math.nan, None, False, False, 0),
        (1.0, math.inf, None, False, False, 0),
        (1.0, None, None, False, True, 1),  # DeepSpeed clips by itself and says no norm
        (1.0, math.inf, object(), False, True, 1),  # a gradient scaler looks at it, and skips
        (1.0, math.inf, object(), True, True, 0),
        (math.nan, math.inf, object(), False, False, 0),
    ],
)
def test_a_step_whose_loss_or_gradient_is_not_finite_is_not_taken(
    loss, norm, scaler, skipped, finite, scheduled
):
    accelerator = SimpleNamespace(
        clip_grad_norm_=lambda *_: None if norm is None else torch.tensor(norm),
        scaler=scaler, optimizer_step_was_skipped=skipped,
    )  # fmt: skip
    optimizer, scheduler = Counted(), Counted()
    policy = torch.nn.Linear(1, 1)
    step = Stepper(accelerator, policy, optimizer, scheduler, SimpleNamespace(clip=1.0), 100)
    done = step._update(Sums(loss=loss, weight=1.0))
    assert done.finite == finite and (optimizer.steps, scheduler.steps) == (int(finite), scheduled)
    assert optimizer.zeroed == 1
    assert done.grad_norm is None if norm is None else done.grad_norm == pytest.approx(norm, nan_ok=True)


def test_log_probs_of_pairs_are_summed_by_side():
    logps = [torch.tensor(v) for v in ([-1.0, -2.0], [-4.0], [-0.5], [-1.0, -1.0, -1.0])]
    items = [SimpleNamespace(tokens=(2, 1), reference=(-3.5, -3.0)),
             SimpleNamespace(tokens=(1, 3), reference=(-1.0, -2.0))]  # fmt: skip
    made = pair_logps(logps, items, "dpo")
    assert [values.tolist() for values in (made.policy.chosen, made.policy.rejected)] == [
        [-3, -0.5],
        [-4, -3],
    ]
    assert [values.tolist() for values in (made.reference.chosen, made.reference.rejected)] == [
        [-3.5, -1],
        [-3, -2],
    ]
    for given in (made.policy, made.reference):  # both have the tokens of their own side
        assert (given.chosen_tokens.tolist(), given.rejected_tokens.tolist()) == ([2, 1], [1, 3])
    assert pair_logps(logps, items, "orpo").reference is None
    items[1].reference = None
    with pytest.raises(ValueError, match="no reference"):
        pair_logps(logps, items, "dpo")


def test_sides_that_are_alike_are_no_win_and_nothing_added_changes_nothing():
    same = PairLogps(Logps(*[torch.full((2,), -3.0)] * 4), Logps(*[torch.full((2,), -3.0)] * 4))
    sums = Sums.of(losses_of(same, "dpo", CONSTANTS), same, "dpo", CONSTANTS)
    assert sums.wins == 0 and sums.margin == 0
    assert Sums() + sums == sums


def test_the_reference_point_of_a_log_row_is_its_mean_over_wanted_and_unwanted():
    row = Sums(loss=6.0, weight=3.0, pairs=2.0, unwanted=1.0, kl=1.5).row("kto")
    assert (row["loss"], row["kl"]) == (2.0, 0.5)


def test_a_row_of_answers_with_a_label_each_has_averages_over_its_own_kind():
    """Weight 4 of all answers, of which 2 are wanted and 4 are not."""
    sums = Sums(
        loss=8.0, weight=4.0, kl=2.0, pairs=2.0, unwanted=4.0, chosen_reward=3.0, rejected_reward=2.0,
        chosen=-10.0, rejected=-16.0,
    )  # fmt: skip
    assert sums.row("kto") == {
        "loss": 2.0, "kl": 0.5, "rewards/chosen": 1.5, "logps/chosen": -5.0, "rewards/rejected": 0.5,
        "logps/rejected": -4.0, "rewards/margins": 1.0,
    }  # fmt: skip
    wanted = replace(sums, unwanted=0.0)
    assert set(wanted.row("kto")) == {"loss", "kl", "rewards/chosen", "logps/chosen"}
    assert replace(wanted, pairs=0.0).row("kto") == {"loss": 2.0, "kl": 0.5}
