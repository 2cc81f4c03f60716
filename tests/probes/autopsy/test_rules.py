"""Diagnoses of runs whose outcome is known by construction, and the arithmetic behind them."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from probe.probes.autopsy.case import Diagnosis
from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.log import make_log
from probe.probes.autopsy.method import recognise
from probe.probes.autopsy.nan_filter import filtered_mean, finite_steps

LN2 = math.log(2)


def simulator() -> ModuleType:
    above = Path(__file__).resolve().parents
    path = next(p / "bench/autopsy_runs.py" for p in above if (p / "bench/autopsy_runs.py").is_file())
    spec = importlib.util.spec_from_file_location("autopsy_runs", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["autopsy_runs"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


RUNS = simulator()


def dpo(n: int = 20, every: int = 10, **columns: Any) -> list[dict[str, float]]:
    """A healthy DPO log; `columns` replaces columns by functions of the entry's index."""
    rows = []
    for i in range(n):
        margin = min(0.05 * i, 2.0)
        row = {
            "step": every * (i + 1),
            "loss": math.log1p(math.exp(-margin)),
            "grad_norm": 2.0,
            "learning_rate": 1e-5,
            "rewards/chosen": 0.01 * i,
            "rewards/rejected": -0.04 * i,
            "rewards/margins": margin,
            "rewards/accuracies": min(0.5 + 0.01 * i, 0.9),
            "logps/chosen": -200.0 + 0.1 * i,
            "logps/rejected": -180.0 - 0.4 * i,
        }
        rows.append(row | {k.replace("__", "/"): f(i) for k, f in columns.items()})
    return rows


def diagnosis(rows: list[dict[str, Any]]) -> Diagnosis:
    return diagnose(make_log("x", rows))


def tags(rows: list[dict[str, Any]]) -> set[str]:
    return {tag.label for tag in diagnosis(rows).tags}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NaN weights are the point
@pytest.mark.parametrize("scenario", RUNS.SCENARIOS, ids=lambda s: s.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_simulated_runs_are_diagnosed(scenario: Any, seed: int) -> None:
    found = diagnosis(scenario.make(seed))
    assert (found.main, {tag.label for tag in found.tags}) == (scenario.main, set(scenario.tags))
    if " from step " in scenario.name:  # the failure lies in the window of the entry that shows it
        start = int(scenario.name.split("from step ")[1].split(",")[0])
        every = int(scenario.name.rsplit(" ", 1)[1])
        assert found.sign.since_step == every * math.ceil(start / every)


@pytest.mark.parametrize(("k", "every"), [(2, 5), (2, 10), (2, 25), (3, 10), (4, 10), (6, 10)])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_the_failing_step_is_derived_from_the_first_entry(k: int, every: int) -> None:
    rows = RUNS.entries(RUNS.Setup(nan_from=k, logging=every))
    assert f"step {k} was the first to fail" in diagnosis(rows).sign.evidence


def test_the_filter_arithmetic_by_hand() -> None:
    """ln 2, then NaN: S grows by 3/2, 4/3, … (k + 1)/k, so to ln 2·(k + 1)/2; the entry divides by k = 10."""
    total = LN2
    for step in range(2, 11):
        total += total / step
    assert filtered_mean(LN2, 1, 10) == pytest.approx(total / 10) == pytest.approx(0.3812, abs=5e-5)
    assert filtered_mean(LN2, 1, 5) == pytest.approx(0.4159, abs=5e-5)
    for m in range(1, 10):
        assert finite_steps(filtered_mean(0.5, m, 10), 0.5, 10) == m
    assert finite_steps(0.9, 0.5, 10) is None


def test_the_filter_arithmetic_is_that_of_transformers(tmp_path: Path) -> None:
    """A real Trainer whose loss is NaN from its second step logs what `filtered_mean` says."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

    class Broken(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.calls = torch.nn.Parameter(torch.zeros(1)), 0

        def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
            self.calls += 1
            good = self.calls <= 3
            return {"loss": (self.weight * 0).sum() + (LN2 if good else math.nan)}

    args = transformers.TrainingArguments(
        str(tmp_path), max_steps=10, logging_steps=10, per_device_train_batch_size=1, save_strategy="no",
        report_to=[], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    data = [{"x": torch.zeros(1), "labels": torch.zeros(1)}] * 10
    trainer = transformers.Trainer(model=Broken(), args=args, train_dataset=data)
    trainer.train()
    logged = trainer.state.log_history[0]["loss"]
    assert float(logged) == pytest.approx(filtered_mean(LN2, 3, 10), abs=1e-3)


def test_a_loss_under_jensens_bound_is_numerical() -> None:
    """The published "collapse": loss 0.3812, then 0.0, beside margins of 0.0. −log σ(0) = 0.6931."""
    rows = dpo(
        loss=lambda i: 0.3812 if i == 0 else 0.0,
        rewards__margins=lambda i: 0.0,
        rewards__chosen=lambda i: 0.0,
        rewards__rejected=lambda i: 0.0,
        rewards__accuracies=lambda i: 0.0,
    )
    found = diagnosis(rows)
    assert (found.main, found.sign.code, found.sign.since_step) == ("numerics", "PB851", 10)
    assert "0.6931" in found.sign.evidence


def test_a_robust_loss_that_falls_below_zero_is_no_impossible_one() -> None:
    rows = dpo(loss=lambda i: LN2 - 0.05 * i)
    assert recognise(make_log("x", rows)).name == "DPO variant"
    assert diagnosis(rows).main == "healthy"


def test_logits_alone_do_not_make_a_numerical_failure() -> None:
    assert diagnosis(dpo(logits__chosen=lambda i: math.nan)).main == "healthy"


def test_kto_batches_without_a_chosen_example_are_no_failure() -> None:
    rows = dpo(
        kl=lambda i: 0.1,
        loss=lambda i: 0.5 - 0.01 * i,
        logps__chosen=lambda i: math.nan if i % 5 == 2 else -200.0,
    )
    for row in rows:
        del row["rewards/accuracies"]
    assert (diagnosis(rows).main, recognise(make_log("x", rows)).name) == ("healthy", "KTO")


def test_one_infinite_gradient_is_a_note_and_sounds_like_the_scaler() -> None:
    found = diagnosis(dpo(40, grad_norm=lambda i: math.inf if i == 1 else 2.0))
    assert (found.main, [t.label for t in found.tags]) == ("healthy", ["skipped_step"])
    assert "scaler" in found.tags[0].next


def test_nan_at_the_very_end_is_not_transient() -> None:
    found = diagnosis(dpo(100, logps__chosen=lambda i: math.nan if i == 99 else -200.0))
    assert (found.main, found.tags) == ("numerics", ())


def test_a_late_spike_that_is_over_is_not_divergence() -> None:
    """Mean of the last tenth 3.4 against 0.68 in the first, but the last entries are back."""
    rows = dpo(100, loss=lambda i: 30.0 if i == 92 else 0.69 - 0.003 * i)
    assert diagnosis(rows).main == "healthy"


def test_a_run_that_lost_what_it_had_learned_diverged() -> None:
    """3.0 to 1.0 to 3.5: no 1.5 times the start, and yet nothing of the training is left."""
    rows = [{"step": i, "loss": 3.0 - 0.1 * i if i <= 20 else 3.5} for i in range(1, 31)]
    found = diagnosis(rows)
    assert (found.main, found.sign.since_step) == ("diverged", 21)


def test_overfit_names_the_best_step_and_the_set() -> None:
    rows: list[dict[str, Any]] = [{"step": i, "loss": 3.0 - 0.1 * i} for i in range(1, 21)]
    for step, own, general in ((5, 2.5, 2.0), (10, 2.2, 2.1), (15, 2.3, 2.3), (20, 2.3, 2.6)):
        rows.append({"step": step, "eval_own_loss": own, "eval_general_loss": general})
    found = diagnosis(rows)
    assert (found.main, found.sign.since_step) == ("overfit", 5)
    assert found.sign.evidence.startswith("eval_general_loss lowest at step 5: 2, 2.6 at the end (+30%)")


def test_two_evaluations_are_too_few_for_a_small_rise() -> None:
    """+16% is none of over-fitting and of health; +80% is no noise, and not certain all the same."""
    small = [*dpo(), {"step": 100, "eval_loss": 0.5}, {"step": 200, "eval_loss": 0.58}]
    assert (diagnosis(small).main, diagnosis(small).sign.confidence) == ("healthy", "cannot tell")
    large = [*dpo(), {"step": 100, "eval_loss": 0.5}, {"step": 200, "eval_loss": 0.9}]
    assert (diagnosis(large).main, diagnosis(large).sign.confidence) == ("overfit", "likely")


def test_an_eval_only_log_is_judged_by_its_evaluations() -> None:
    rows = [{"step": 10 * i, "eval_loss": loss} for i, loss in enumerate((2.0, 1.5, 1.6, 1.9))]
    assert diagnosis(rows).main == "overfit"


def test_displacement_needs_the_reward_to_fall_too() -> None:
    """logps/chosen −150 to −220 with a rising reward: the later batches are only longer."""
    falling = {"logps__chosen": lambda i: -150.0 - 3.5 * i}
    assert diagnosis(dpo(**falling)).main == "healthy"
    assert diagnosis(dpo(**falling, rewards__chosen=lambda i: -0.3 * i)).main == "displaced"


def test_accuracy_and_growing_margins_saturate_but_not_a_settled_margin() -> None:
    sure = {"rewards__accuracies": lambda i: 1.0, "loss": lambda i: LN2 / (i + 1) + 0.03}
    growing = {"rewards__margins": lambda i: 0.5 * i}
    assert diagnosis(dpo(**sure, **growing)).main == "saturated"
    assert diagnosis(dpo(**sure, rewards__margins=lambda i: min(0.5 * i, 4.0))).main == "healthy"


def test_a_coins_accuracy_with_a_loss_no_coin_reaches_is_not_stuck() -> None:
    coin = {"rewards__accuracies": lambda i: 0.5}
    flat = {"loss": lambda i: 0.72 - 0.001 * i, "rewards__margins": lambda i: 0.0}
    assert diagnosis(dpo(**coin, **flat)).main == "stuck"
    assert diagnosis(dpo(**coin)).main == "healthy"


def test_frozen_is_found_without_a_gradient_column() -> None:
    zero = {f"rewards__{name}": lambda i: 0.0 for name in ("chosen", "rejected", "margins")}
    rows = dpo(loss=lambda i: LN2, **zero)
    for row in rows:
        del row["grad_norm"]
    assert "frozen" in tags(rows)


def test_a_saturated_run_with_vanishing_gradients_is_not_frozen() -> None:
    assert "frozen" not in tags(dpo(grad_norm=lambda i: 0.0 if i > 5 else 1.0))


def test_reference_mismatch_at_step_one() -> None:
    rows = dpo(every=1, loss=lambda i: 0.94, rewards__chosen=lambda i: 1.5, rewards__rejected=lambda i: 1.9)
    assert "ref_mismatch" in tags(rows)


def test_half_precision_noise_at_step_one_is_no_mismatch() -> None:
    assert (
        tags(dpo(every=1, rewards__chosen=lambda i: 0.01 + 0.01 * i, loss=lambda i: 0.688 - 0.005 * i))
        == set()
    )


def test_a_log_that_starts_midway_says_nothing_about_the_reference() -> None:
    rows = dpo(loss=lambda i: 0.9, rewards__chosen=lambda i: 1.5, rewards__rejected=lambda i: 1.4)
    for row in rows:
        row["step"] += 5000
    assert "ref_mismatch" not in tags(rows)


def test_a_zero_loss_that_its_margin_explains_is_saturation_only() -> None:
    """−log σ(13) = 2e-6, which a log rounds to 0.0."""
    rows = dpo(loss=lambda i: LN2 if i == 0 else 0.0, rewards__margins=lambda i: 0.0 if i == 0 else 13.0)
    assert (diagnosis(rows).main, tags(rows)) == ("saturated", set())


def test_a_cross_entropy_that_drops_to_zero_at_once_is_nan_shown_as_zero() -> None:
    rows = [{"step": i, "loss": 0.03 if i == 1 else 0.0} for i in range(1, 21)]
    assert (diagnosis(rows).main, tags(rows)) == ("numerics", {"zero_loss"})
    falling = [{"step": i, "loss": round(2.0 / 3**i, 4), "grad_norm": 0.1} for i in range(20)]
    assert diagnosis(falling).main == "saturated"


def test_zero_from_the_first_entry_is_no_training() -> None:
    rows = [{"step": i, "loss": 0.0, "learning_rate": 1e-4} for i in range(1, 9)]
    found = diagnosis(rows)
    assert (found.main, tags(rows)) == ("stuck", {"zero_loss"})
    assert "masked" in found.sign.next


def test_flat_needs_a_change_shown_to_be_small() -> None:
    steady = [{"step": i, "loss": 2.0 + 0.001 * (i % 3)} for i in range(30)]
    noisy = [{"step": i, "loss": 2.0 + 0.5 * ((7 * i) % 5)} for i in range(9)]
    assert tags(steady) == {"flat"}
    assert tags(noisy) == set()


def test_short_logs_are_tagged_and_get_no_second_label() -> None:
    found = diagnosis(dpo(2, logps__chosen=lambda i: -100.0 - 90 * i, rewards__chosen=lambda i: -i))
    assert [t.label for t in found.tags] == ["too_short"]
    assert found.also == ()


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (RUNS.entries(RUNS.Setup(method="dpo")), "DPO"),
        (RUNS.entries(RUNS.Setup(method="ipo", lr=0.5)), "IPO"),
        (RUNS.entries(RUNS.Setup(method="simpo", beta=2.0)), "SimPO"),
        (RUNS.entries(RUNS.Setup(method="orpo")), "ORPO"),
        (RUNS.entries(RUNS.Setup(method="kto")), "KTO"),
        (RUNS.entries(RUNS.Setup(method="hinge")), "DPO variant"),
        (RUNS.online(), "GRPO"),
        (RUNS.supervised(), "SFT"),
        (dpo(nll_loss=lambda i: 1.0, loss=lambda i: 2.6), "MPO"),
        (dpo(min_reward=lambda i: -1.0, mean_reward=lambda i: 0.0), "reward model"),
        ([{"step": i, "loss": 1.0, "sft_loss": 0.9, "odds_ratio_loss": 1.0} for i in range(3)], "ORPO"),
        ([{"step": 5, "objective/kl": 0.1, "loss": 0.0}], "PPO"),
        (dpo(loss=lambda i: 4 * LN2 - 0.1 * i), "DPO"),
    ],
)  # fmt: skip
def test_methods_are_recognised(rows: list[dict[str, Any]], name: str) -> None:
    assert recognise(make_log("x", rows)).name == name


def test_an_sft_run_that_watches_its_pairs_is_no_dpo() -> None:
    evaluation = {"step": 0.0, "eval_loss": 3.6, "eval_logps/chosen": -125.0, "eval_logps/rejected": -217.0}
    training = [{"step": step, "loss": 3.6 - 0.1 * step} for step in (1.0, 2.0, 3.0)]
    assert recognise(make_log("x", [evaluation, *training])).name == "SFT"


def test_the_summary_holds_what_the_interface_promises() -> None:
    told = diagnosis_json(diagnosis([{"step": i, "loss": 2.0, "grad_norm": 0.0} for i in range(20)]))
    assert {"main", "tags", "since_step", "evidence", "next"} <= told.keys()
    assert (told["main"], told["tags"], told["since_step"]) == ("healthy", ["frozen"], None)
    assert told["tag_evidence"][0]["code"] == "PB861"


def test_stages_are_judged_one_by_one() -> None:
    """Each stage counts its steps from 1: that is no resumed run."""
    sft = [{"step": i, "loss": 3.0 - 0.1 * i, "stage": "sft"} for i in range(1, 16)]
    still = dict.fromkeys(("grad_norm", "rewards__margins"), lambda i: 0.0)
    frozen = [row | {"stage": "dpo"} for row in dpo(every=1, loss=lambda i: LN2, **still)]
    found = diagnosis([*sft, *frozen])
    assert (found.main, found.method.name) == ("stuck", "DPO")
    assert found.notes[0] == "stage dpo, the last of 2"
    assert found.notes[1].startswith("stage sft: healthy: no rule fired: loss 2.85 to 1.55")
    assert len(found.notes) == 2


def test_orpo_that_learns_the_texts_but_not_the_preference_is_stuck() -> None:
    rows = RUNS.entries(RUNS.Setup(method="orpo", lr=0.3, signal=0.0))
    found = diagnosis(
        [row | {"rewards/accuracies": 0.5, "loss": 2.0 - row["step"] / 200} for row in rows[:-1]]
    )
    assert found.main == "stuck"
    assert "and yet the preference is not learned" in found.sign.evidence


def test_a_zero_loss_beside_nan_rewards_is_numerical_even_with_finite_logps() -> None:
    """A reference of NaN: the policy's logps are fine, the loss is NaN and shown as 0.0."""
    names = ("rewards__chosen", "rewards__rejected", "rewards__margins")
    rows = dpo(loss=lambda i: 0.0, **{name: lambda i: math.nan for name in names})
    for row in rows:
        del row["grad_norm"]
    assert (diagnosis(rows).main, diagnosis(rows).sign.since_step) == ("numerics", 10)


def test_a_single_nan_reward_with_a_sound_loss_is_not() -> None:
    assert diagnosis(dpo(rewards__rejected=lambda i: math.nan if i == 5 else -0.04 * i)).main == "healthy"


@pytest.mark.parametrize(
    ("loss", "margins", "name", "summed"),
    [
        (25.0, (0.0, -0.0003, 0.0002), "IPO", 1),  # 36.07 × ln 2, and exactly (½ / .1)²
        (2.7778, (0.0, 0.0001, -0.0001), "IPO", 1),  # 4.007 × ln 2, and exactly (½ / .3)²
        (2.7726, (0.0, 0.0, 0.0), "DPO", 4),
        (11.0904, (0.0, 0.0, 0.0), "DPO", 16),
        (2.7726, (0.0, 0.05, 0.1), "DPO", 4),
    ],
)
def test_squares_are_told_from_sums(loss: float, margins: tuple[float, ...], name: str, summed: int) -> None:
    def at(margin: float) -> float:
        return (
            loss / math.log(2) * math.log1p(math.exp(-margin))
            if name == "DPO"
            else loss * (1 - 2 * margin) ** 2
        )

    sides = {"rewards/chosen": 0.0, "rewards/rejected": 0.0, "logps/chosen": -24.4}
    rows = [
        {"step": i, "loss": at(m), "rewards/margins": m, "grad_norm": 1.0, **sides}
        for i, m in enumerate(margins, 1)
    ]
    method = diagnose(make_log("x", rows)).method
    assert (method.name, method.accumulated_batches) == (name, summed)


def test_a_cause_in_the_tags_gives_the_headline_its_advice() -> None:
    rows = [{"step": i, "loss": 0.6931, "grad_norm": 0.0, "rewards/margins": 0.0} for i in range(1, 20)]
    sign = diagnose(make_log("x", rows)).sign
    assert sign.label == "stuck"
    assert "grad_norm exactly 0 in 19 of 19 entries" in sign.evidence
    assert "requires" in sign.next or "is_trainable" in sign.next


def test_what_the_log_answers_is_not_asked_again() -> None:
    rows = [
        {"step": i, "loss": 0.6931, "grad_norm": 1.0, "learning_rate": 1e-6, "rewards/margins": 0.001}
        for i in range(1, 20)
    ]
    advice = diagnose(make_log("x", rows)).sign.next
    assert "grad_norm" not in advice
    assert "chosen differs from rejected" in advice


@pytest.mark.parametrize(
    ("first", "more", "held_out", "name"),
    [
        (0.69, {}, False, "method not recognised"),  # as a chart of the loss alone shows DPO's
        (0.69, {"mean_token_accuracy": 0.7}, False, "SFT"),
        (2.1, {}, False, "SFT"),
        (0.69, {"rewards/accuracies": 0.5}, True, "DPO"),
        (1.3, {"rewards/accuracies": 0.5}, True, "method not recognised"),
    ],
)
def test_a_loss_is_called_sfts_only_where_something_says_so(first, more, held_out, name):
    by = "eval_" if held_out else ""
    columns = {"loss": first, **more}
    rows = [
        {"step": i, **{by + k: v - 0.01 * i if k == "loss" else v for k, v in columns.items()}}
        for i in range(1, 11)
    ]
    assert recognise(make_log("x", rows)).name == name
