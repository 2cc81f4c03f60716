"""The guard's rules on hand-made numbers: what fires, what must not, and what the state machine says once."""

import math

import pytest

from probe.explain import explanations
from probe.training.guard import State, watch_held_out, watch_step
from probe.training.guard_records import GuardLimits, HeldOut, Step
from probe.training.rows import held_out_name, read_held_out, read_step
from probe.training.rules import (
    accelerating,
    displaced,
    frozen,
    impossible,
    least_loss,
    non_finite,
    numerics,
    overfit,
    saturated,
)

LIMITS = GuardLimits()


def dpo_row(**over):
    row = {
        "loss": 0.6931,
        "grad_norm": 3.0,
        "learning_rate": 0.0,
        "rewards/chosen": 0.0,
        "rewards/rejected": 0.0,
        "rewards/accuracies": 0.0,
        "rewards/margins": 0.0,
        "logps/chosen": -100.0,
        "logps/rejected": -120.0,
    }
    return row | over


def test_step_one_of_every_dpo_run_is_healthy() -> None:
    """Policy = reference: accuracy 0 (ties are not wins), margin 0, loss ln 2."""
    step = read_step(dpo_row(), 1, beta=0.1)
    assert step is not None
    assert watch_step(State(), step, LIMITS, total_steps=100)[1] == []


def test_least_loss_is_the_closed_form() -> None:
    assert [least_loss(m) for m in (0.0, 1.0, 2.0, -2.0)] == pytest.approx(
        [math.log(2), 0.313262, 0.126928, 2.126928], abs=1e-6
    )
    assert least_loss(1e6) == 0.0 and least_loss(-1e6) == 1e6


@pytest.mark.parametrize(("k", "loss"), [(10, 0.3812), (5, 0.4159), (20, 0.3639)])
def test_a_hidden_nan_is_impossible(k: int, loss: float) -> None:
    """One finite loss of ln 2 and then NaN is logged as (k + 1)/2 · ln 2 / k over k steps, with margin 0."""
    assert loss == pytest.approx((k + 1) / 2 * math.log(2) / k, abs=1e-4)
    event = impossible(k, loss, 0.0)
    assert event is not None and (event.code, event.action) == ("PB802", "stop")


@pytest.mark.parametrize(("loss", "margin"), [(0.217, 3.80), (0.6931, 0.0), (0.0256, 4.87), (1.04, -0.25)])
def test_public_healthy_rows_are_possible(loss: float, margin: float) -> None:
    assert impossible(100, loss, margin) is None


def test_numerics() -> None:
    row = dpo_row(grad_norm=float("nan"), **{"logps/chosen": float("-inf"), "logits/chosen": float("nan")})
    assert non_finite(row) == ("grad_norm", "logps/chosen")
    event = numerics(3, non_finite(row))
    assert event is not None and event.action == "rollback"
    assert non_finite({"logits/chosen": float("nan"), "loss": 0.5}) == ()


def test_a_loss_scaler_may_overflow_but_not_go_on() -> None:
    """fp16: the scaler skips overflowing steps while it looks for its scale; a streak is a failure."""
    state, actions = State(), []
    for i in range(1, 4):
        row = Step(step=i, loss=0.69, grad_norm=math.inf, bad=("grad_norm",))
        state, events = watch_step(state, row, LIMITS, scaled=True)
        actions.append([event.action for event in events])
    assert actions == [["warn"], ["rollback"], ["rollback"]]
    assert watch_step(State(), Step(1, bad=("grad_norm",)), LIMITS)[1][0].action == "rollback"


def test_displacement_needs_the_whole_interval() -> None:
    low = HeldOut(10, chosen_change=-0.6, chosen_high=-0.4)
    certain = HeldOut(10, chosen_change=-0.9, chosen_high=-0.55)
    assert displaced(low, LIMITS).action == "warn"
    assert displaced(certain, LIMITS).action == "rollback"
    assert displaced(HeldOut(10, chosen_change=-0.1, chosen_high=0.0), LIMITS) is None
    assert displaced(HeldOut(10, chosen_change=2.0, chosen_high=3.0), LIMITS) is None


def test_displacement_as_a_share() -> None:
    """Reward −3 at β .1 is −30 nats of a reference of −100: 30% fell. At β 1 it would be 3%."""
    row = {"eval_loss": 0.4, "eval_logps/chosen": -130.0, "eval_rewards/chosen": -3.0}
    now = read_held_out(row, 10, beta=0.1)
    assert now.chosen_fall == pytest.approx(0.3)
    assert displaced(now, LIMITS).code == "PB803"
    assert displaced(read_held_out(row | {"eval_logps/chosen": -103.0}, 10, beta=1.0), LIMITS) is None


def test_saturation() -> None:
    steps = [Step(i, accuracy=1.0) for i in range(10)]
    before = HeldOut(10, accuracy=1.0, margin=12.0)
    now = HeldOut(20, accuracy=1.0, margin=20.0)
    assert saturated(steps, now, [before], LIMITS).code == "PB806"
    assert saturated(steps, now, [HeldOut(10, accuracy=0.9, margin=12.0)], LIMITS) is None  # still learns
    assert saturated(steps, now, [HeldOut(10, accuracy=1.0, margin=25.0)], LIMITS) is None  # margin at rest
    assert saturated([*steps, Step(11, accuracy=0.5)], now, [before], LIMITS) is None
    assert saturated(steps, now, [], LIMITS) is None
    by_a_hair = HeldOut(
        20, accuracy=1.0, margin=0.06
    )  # all right after four steps, with the loss still at ln 2
    assert saturated(steps, by_a_hair, [HeldOut(10, accuracy=1.0, margin=0.03)], LIMITS) is None


def test_overfitting_is_the_published_sft_run() -> None:
    """Validation losses of the epistemic-stance run: best at epoch 3; with patience 3 it ends at epoch 6."""
    losses = [2.7027, 2.5679, 2.5550, 2.6144, 2.7246, 2.8686, 3.0166]
    state, fired = State(), []
    for epoch, loss in enumerate(losses, start=1):
        state, events = watch_held_out(state, HeldOut(epoch, loss=loss), LIMITS)
        fired += [(event.step, event.code, event.action) for event in events]
    assert fired[0] == (6, "PB807", "rollback")
    assert state.best is not None and state.best.step == 3
    assert overfit(HeldOut(3, loss=2.5), [HeldOut(1, loss=2.7), HeldOut(2, loss=2.6)], LIMITS) is None


def test_a_state_that_broke_a_rule_is_never_the_best() -> None:
    state, _ = watch_held_out(State(), HeldOut(0, loss=0.693, chosen_change=0.0), LIMITS)
    state, events = watch_held_out(state, HeldOut(10, loss=0.2, chosen_change=-2.0, chosen_high=-1.0), LIMITS)
    assert [event.code for event in events] == ["PB803"]
    assert state.best is not None and state.best.step == 0


def test_sampled_text_and_watched_text() -> None:
    state, _ = watch_held_out(State(), HeldOut(0, top_mass=0.9, repetition=0.05, perplexity=20.0), LIMITS)
    _, events = watch_held_out(state, HeldOut(5, top_mass=0.6, repetition=0.4, perplexity=30.0), LIMITS)
    assert [(e.code, e.action) for e in events] == [
        ("PB804", "rollback"),
        ("PB805", "rollback"),
        ("PB808", "warn"),
    ]
    _, events = watch_held_out(state, HeldOut(5, top_mass=0.85, repetition=0.1, perplexity=21.0), LIMITS)
    assert events == []


def test_mass_that_reached_the_chosen_side_is_not_scattered() -> None:
    """SFT on other prose than the model's own spreads its text out: that is what it was asked for."""
    state, _ = watch_held_out(State(), HeldOut(0, loss=3.63, top_mass=0.86, chosen_change=0.0), LIMITS)
    state, events = watch_held_out(state, HeldOut(5, loss=3.28, top_mass=0.67, chosen_change=0.34), LIMITS)
    assert [(e.code, e.action) for e in events] == [("PB804", "warn")]
    assert state.best is not None and state.best.step == 5
    _, events = watch_held_out(state, HeldOut(10, loss=3.4, top_mass=0.5, chosen_change=-0.1), LIMITS)
    assert [(e.code, e.action) for e in events] == [("PB804", "rollback")]


def test_warnings_come_once_and_rules_of_thumb_never_stop() -> None:
    """The public 7B run's numbers: margin 3.8 and loss .217."""
    state, seen = State(), []
    for i in range(1, 60):
        row = Step(i, loss=0.217, grad_norm=1.0, accuracy=0.78, margin=38.0, reward_margin=3.8)
        state, events = watch_step(state, row, LIMITS, total_steps=600)
        seen += events
    assert {(e.code, e.action) for e in seen} == {("PB809", "warn"), ("PB810", "warn")}
    assert len(seen) == 2


def test_a_reference_that_is_another_model() -> None:
    """The public SmolLM log: step 1 has loss .941 with rewards far from 0."""
    _, events = watch_step(State(), Step(1, loss=0.941, margin=-4.06, reward_margin=-0.406), LIMITS)
    assert [event.code for event in events] == ["PB810"]
    assert watch_step(State(), Step(1, loss=2.5, margin=0.1, reward_margin=0.1), LIMITS, dpo=False)[1] == []


def test_frozen() -> None:
    assert frozen([Step(i, grad_norm=0.0) for i in range(5)]).action == "stop"
    assert frozen([Step(i, grad_norm=0.0) for i in range(4)]) is None
    assert frozen([Step(i) for i in range(9)]) is None
    assert frozen([*(Step(i, grad_norm=0.0) for i in range(4)), Step(4, grad_norm=1e-9)]) is None


def test_accelerating_curve() -> None:
    assert accelerating([Step(i, margin=2.0**i / 10) for i in range(9)]).action == "warn"
    assert accelerating([Step(i, margin=3.0 * i) for i in range(9)]) is None


def test_rows_of_several_sets_and_missing_keys() -> None:
    assert held_out_name({"eval_loss": 0.6}) == ""
    assert held_out_name({"eval_easy_loss": 0.6, "eval_rewards/chosen": 1.0}) == "easy"
    assert held_out_name({"loss": 0.6}) is None and held_out_name({"train_loss": 0.6}) is None
    assert read_step({"train_runtime": 3.0, "train_loss": 0.4}, 9) is None
    new = read_held_out({"eval_easy_loss": 0.6, "eval_rewards/margins": 1.0}, 1, beta=0.5)
    old = read_held_out({"eval_easy_loss": 0.6, "eval_easy_rewards/margins": 1.0}, 1, beta=0.5)
    assert (new.loss, new.margin) == (old.loss, old.margin) == (0.6, 2.0)
    assert read_held_out({"eval_loss": 1.0}, 1) == HeldOut(1, loss=1.0)
    bare = read_step({"loss": 2.0}, 1)
    assert bare == Step(1, loss=2.0) and watch_step(State(), bare, LIMITS)[1] == []


def test_every_code_is_explained() -> None:
    codes = {code for code, page in explanations().items() if page.where.startswith("probe.training.rules")}
    assert codes == {f"PB8{i:02d}" for i in range(1, 12)}
