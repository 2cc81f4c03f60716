"""What the evaluations say is part of the diagnosis: where they show nothing, a run is not healthy."""

import math
from typing import Any

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log

LN2 = math.log(2)
N, EVERY = 40, 5
Row = dict[str, Any]
SETS = ("eval_loss", "eval_rewards/accuracies")


def training(loss, accuracy, epochs: float = 3.0, **columns) -> list[Row]:
    """A run that learns its training pairs; `loss`, `accuracy`, `columns`: functions of the share done."""
    rows = []
    for i in range(N):
        done = i / (N - 1)
        named = {"loss": loss(done)} | ({"rewards/accuracies": accuracy(done)} if accuracy else {})
        more = {k.replace("__", "/"): f(done) for k, f in columns.items()}
        place = {"step": EVERY * (i + 1), "epoch": epochs * (i + 1) / N}
        rows.append({**named, **more, "grad_norm": 3.0 + i % 3, "learning_rate": 1e-6, **place})
    return rows


def dpo(epochs: float = 3.0, top: float = 1.5) -> list[Row]:
    return training(
        lambda d: math.log1p(math.exp(-top * d)),
        lambda d: min(0.95, 0.5 + 0.6 * d),
        epochs,
        rewards__margins=lambda d: top * d,
        rewards__chosen=lambda d: top * d / 2,
        rewards__rejected=lambda d: -top * d / 2,
    )


def ipo() -> list[Row]:
    return training(
        lambda d: 25.0 * (1 - 1.8 * 0.5 * d) ** 2,
        lambda d: min(0.95, 0.5 + 0.6 * d),
        rewards__margins=lambda d: 0.45 * d,
        rewards__chosen=lambda d: 0.2 * d,
        rewards__rejected=lambda d: -0.25 * d,
    )


def simpo(start: float = 0.5) -> list[Row]:
    """Without a reference: the rewards are 2 × logps, and the loss begins anywhere."""
    return training(
        lambda d: 1.4 - 0.9 * d,
        lambda d: start + (0.95 - start) * d,
        rewards__margins=lambda d: 1.5 * d,
        rewards__chosen=lambda d: 2 * (-1.5 + 0.1 * d),
        rewards__rejected=lambda d: 2 * (-1.5 - 0.65 * d),
        logps__chosen=lambda d: -1.5 + 0.1 * d,
        logps__rejected=lambda d: -1.5 - 0.65 * d,
    )


def kto() -> list[Row]:
    return training(lambda d: 0.5 - 0.3 * d, None, kl=lambda d: 0.1)


def reward_model() -> list[Row]:
    return training(
        lambda d: LN2 - 0.5 * d,
        lambda d: min(0.95, 0.5 + 0.6 * d),
        min_reward=lambda d: -1.0,
        mean_reward=lambda d: 0.0,
    )


def orpo(start: float = 0.3) -> list[Row]:
    return training(lambda d: 2.0 - d, lambda d: start + (0.9 - start) * d, log_odds_chosen=lambda d: 2.0 * d)


def halved() -> list[Row]:
    """A training loss that accumulation divided by four, beside evaluations that are not divided."""
    return training(
        lambda d: math.log1p(math.exp(-1.5 * d)) / 4,
        lambda d: min(0.95, 0.5 + 0.6 * d),
        rewards__margins=lambda d: 1.5 * d,
        rewards__chosen=lambda d: 0.75 * d,
        rewards__rejected=lambda d: -0.75 * d,
    )


def sft() -> list[Row]:
    return training(lambda d: 2.0 - 0.9 * d, None)


def evaluated(rows: list[Row], *columns: tuple[float, ...] | None, **fixed: float) -> list[Row]:
    """`rows` with evaluations at equal distances: losses, accuracies, and what stands in each."""
    n = max(len(c) for c in columns if c)
    out = list(rows)
    for k in range(n):
        named = {name: c[k] for name, c in zip(SETS, columns, strict=False) if c}
        at = rows[round(N * (k + 1) / n) - 1]
        out.append({**named, **fixed, "step": at["step"], "epoch": at["epoch"]})
    return sorted(out, key=lambda row: row["step"])


def found(rows: list[Row]):
    return diagnose(make_log("x", rows))


NOTHING = ((0.694, 0.7, 0.71, 0.72), (0.5, 0.49, 0.5, 0.5))
UNSEEN = {
    "below chance": (dpo(), (0.72, 0.74, 0.75, 0.76), (0.42, 0.4, 0.38, 0.38)),
    "chance": (dpo(), *NOTHING),
    "chance, accuracy alone": (dpo(), None, NOTHING[1]),
    "loss alone": (dpo(), NOTHING[0], None),
    "accuracies of the evaluations alone": (
        [{k: v for k, v in row.items() if k != "rewards/accuracies"} for row in dpo()],
        *NOTHING,
    ),
    "worse than untrained by its loss": (dpo(), (0.715, 0.74, 0.765), (0.6, 0.6, 0.6)),
    "beside a training loss of 0": (dpo(top=9.0), *NOTHING),
    "one epoch": (dpo(epochs=1.0), *NOTHING),
    "IPO": (ipo(), (25.1, 25.3, 25.9), (0.5, 0.5, 0.5)),
    "IPO, loss alone": (ipo(), (25.1, 25.3, 25.9), None),
    "SimPO": (simpo(), (1.4, 1.5, 1.6), (0.5, 0.5, 0.52)),
    "ORPO": (orpo(), (2.0, 2.0, 2.0), (0.3, 0.3, 0.31)),
    "KTO": (kto(), (0.5, 0.51, 0.52), None),
    "reward model": (reward_model(), *NOTHING),
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_training_that_no_evaluation_sees_is_over_fitted(kind: str) -> None:
    rows, *columns = UNSEEN[kind]
    it = found(evaluated(rows, *columns))
    assert (it.main, it.sign.confidence) == ("overfit", "likely")
    assert it.sign.since_step == pytest.approx(EVERY * N / max(len(c) for c in columns if c), abs=EVERY)
    for name, column in zip(SETS, columns, strict=True):
        assert column is None or name in it.sign.evidence or kind.startswith(("SimPO", "ORPO", "accuracies"))
    assert "Take the checkpoint" not in it.sign.next  # none is better than an untrained one
    assert ("first epoch" in it.sign.next) == (kind == "one epoch")


HEALTHY = {
    "DPO": (dpo(), (0.66, 0.6, 0.5), (0.6, 0.68, 0.75)),
    "its first evaluation before it learned": (dpo(), (0.6931, 0.6, 0.55), (0.5, 0.68, 0.7)),
    "reference of another model": (dpo(), (0.8, 0.7, 0.69), (0.4, 0.55, 0.66)),
    "IPO, whose loss is above ln 2": (ipo(), (20.0, 12.0, 6.0), (0.65, 0.75, 0.8)),
    "SimPO, whose loss is above ln 2": (simpo(), (1.2, 1.0, 0.9), (0.6, 0.7, 0.75)),
    "ORPO from below one half": (orpo(), (1.8, 1.6, 1.4), (0.3, 0.42, 0.54)),
    "a training loss that is scaled": (halved(), (0.66, 0.6, 0.5), (0.6, 0.68, 0.75)),
    "KTO": (kto(), (0.49, 0.45, 0.4), None),
    "SFT": (sft(), (1.9, 1.5, 1.3), None),
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_report_quotes_the_evaluations(kind: str) -> None:
    rows, *columns = HEALTHY[kind]
    it = found(evaluated(rows, *columns))
    assert (it.main, it.sign.confidence) == ("healthy", "likely")
    for name, column in zip(SETS, columns, strict=True):
        assert column is None or f"{name} {column[0]:.4g} to {column[-1]:.4g}" in it.sign.evidence


FALLS = {
    "1000 pairs": (dpo(), (0.62, 0.62, 0.63, 0.64), (0.8, 0.74, 0.66, 0.58), {"eval_samples": 1000}),
    "two evaluations": (dpo(), (0.62, 0.62), (0.8, 0.66), {"eval_samples": 500}),
    "best in the middle": (dpo(), (0.62, 0.6, 0.6), (0.7, 0.8, 0.66), {"eval_samples": 1000}),
    "accuracy alone": (dpo(), None, (0.8, 0.74, 0.58), {"eval_samples": 1000}),
    "unknown number of pairs": (dpo(), (0.62, 0.62, 0.62), (0.95, 0.8, 0.6), {}),
    "SimPO": (simpo(), (1.2, 1.2, 1.2), (0.8, 0.7, 0.6), {"eval_samples": 1000}),
    "IPO": (ipo(), (20.0, 20.0, 20.0), (0.8, 0.7, 0.6), {"eval_samples": 1000}),
    "reward model": (reward_model(), (0.6, 0.6, 0.6), (0.8, 0.7, 0.6), {"eval_samples": 1000}),
}


@pytest.mark.parametrize("kind", FALLS)
def test_a_held_out_accuracy_that_falls_while_training_rises_is_over_fitted(kind: str) -> None:
    rows, losses, accuracies, size = FALLS[kind]
    it = found(evaluated(rows, losses, accuracies, **size))
    best = accuracies.index(max(accuracies)) + 1
    assert (it.main, it.sign.code, it.sign.confidence) == ("overfit", "PB854", "likely")
    assert it.sign.since_step == pytest.approx(EVERY * N * best / len(accuracies), abs=EVERY)
    assert (
        f"eval_rewards/accuracies highest at step {it.sign.since_step:g}: {max(accuracies)}"
        in it.sign.evidence
    )
    assert f"checkpoint nearest step {it.sign.since_step:g}" in it.sign.next


@pytest.mark.parametrize(
    ("accuracies", "size", "confidence"),
    [
        ((0.72, 0.66, 0.57), {}, "cannot tell"),
        ((0.72, 0.66, 0.57), {"eval_samples": 80}, "cannot tell"),
        ((0.72, 0.7, 0.68), {}, "likely"),
        ((0.72, 0.7, 0.69), {"eval_samples": 5000}, "likely"),
        ((0.6, 0.72, 0.7), {"eval_samples": 300}, "likely"),
    ],
)
def test_a_held_out_accuracy_that_falls_less_is_open_or_noise(accuracies, size, confidence) -> None:
    it = found(evaluated(dpo(), (0.62, 0.62, 0.61), accuracies, **size))
    assert (it.main, it.sign.confidence) == ("healthy", confidence)
    assert ("at best and" in it.sign.evidence) == (confidence == "cannot tell")


def test_few_held_out_pairs_may_be_at_chance_by_chance() -> None:
    """Training at .76, evaluations at .5: of 20 pairs that is 2.3 standard errors, of 300 it is nine."""
    rows = dpo(top=0.35)
    for i, row in enumerate(rows):
        row["rewards/accuracies"] = 0.5 + 0.26 * min(1.0, i / 30)
    columns = (None, (0.5, 0.52, 0.5))
    unknown = found(evaluated(rows, *columns))
    assert (unknown.main, unknown.sign.confidence) == ("healthy", "cannot tell")
    assert "never clearly above chance" in unknown.sign.evidence
    sized = evaluated(rows, *columns, eval_runtime=10.0, eval_samples_per_second=30.0)
    assert (found(sized).main, found(sized).sign.confidence) == ("overfit", "likely")


def test_a_loss_that_rises_from_that_of_an_untrained_policy_keeps_its_certainty() -> None:
    it = found(evaluated(dpo(), (0.694, 0.8, 0.95), (0.5, 0.5, 0.5)))
    assert (it.main, it.sign.confidence) == ("overfit", "certain")
    assert "untrained" in it.sign.next


@pytest.mark.parametrize(
    ("losses", "main", "confidence"),
    [
        ((0.6, 0.95), "overfit", "likely"),
        ((0.6, 0.68), "healthy", "cannot tell"),
        ((0.6, 0.55), "healthy", "likely"),
        ((0.5, 0.6, 0.95), "overfit", "certain"),
    ],
)
def test_two_evaluations_say_less_than_three(losses, main, confidence) -> None:
    it = found(evaluated(dpo(), losses))
    assert (it.main, it.sign.confidence) == (main, confidence)
    if main == "healthy":
        assert f"eval_loss {losses[0]} to {losses[1]}" in it.sign.evidence


def test_evaluations_that_gain_nothing_while_training_does_leave_it_open() -> None:
    it = found(evaluated(dpo(top=4.0), (0.6, 0.6, 0.61, 0.61), (0.66, 0.67, 0.66, 0.66)))
    assert (it.main, it.sign.confidence) == ("healthy", "cannot tell")
    assert "gains nothing" in it.sign.evidence
    converged = training(lambda d: 0.9 + 1.1 * math.exp(-30 * d), None)
    done = found(evaluated(converged, (0.92, 0.91, 0.93, 0.925)))
    assert (done.main, done.sign.confidence) == ("healthy", "likely")


def test_what_was_learned_after_the_last_evaluation_is_not_held_against_it() -> None:
    early = {"eval_loss": 0.69, "eval_rewards/accuracies": 0.5, "step": 3 * EVERY, "epoch": 0.2}
    assert found(sorted([*dpo(), early], key=lambda row: row["step"])).main == "healthy"


def test_one_set_of_several_at_chance_is_told_and_does_not_decide() -> None:
    rows = dpo()
    for k, step in enumerate((100, 200)):
        rows.append({"step": step, "eval_own_loss": 0.6 - 0.1 * k, "eval_own_rewards/accuracies": 0.75})
        rows.append({"step": step, "eval_far_loss": 0.7, "eval_far_rewards/accuracies": 0.5})
    it = found(sorted(rows, key=lambda row: row["step"]))
    assert (it.main, it.sign.confidence) == ("healthy", "cannot tell")
    assert "eval_far_rewards/accuracies 0.5 to 0.5, never clearly above chance" in it.sign.evidence


@pytest.mark.parametrize(("accuracy", "trivial"), [(0.62, False), (0.97, True), (None, True)])
def test_the_advice_of_saturation_does_not_contradict_the_evaluation(accuracy, trivial) -> None:
    """Pairs that an evaluation ranks right in six of ten are not recognisable without their prompt."""
    rows = dpo(top=9.0)
    held = (0.5, 0.45, 0.4)
    log = evaluated(rows, held, (accuracy,) * 3) if accuracy else rows
    it = found(log)
    assert it.main == "saturated"
    assert ("recognisable without the prompt" in it.sign.next) == trivial
    assert trivial or "eval_rewards/accuracies is 0.62" in it.sign.next
