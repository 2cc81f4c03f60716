"""The guard inside TRL's own trainers, on a tiny model on the CPU."""

import math
import warnings

import pytest
import torch
from transformers import TrainerCallback

from probe.training import GuardCallback
from probe.training.guard_records import GuardLimits

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]

ROWS = [
    {"prompt": f"what {a} {b} ?", "chosen": f" good {a}", "rejected": f" bad {b}"}
    for a in ("red", "blue", "one", "two")
    for b in ("three", "four", "five")
]
COMMON = {
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    "logging_steps": 1,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "report_to": [],
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "disable_tqdm": True,
    "max_grad_norm": 0.0,
}


def dataset(rows=ROWS):
    return datasets.Dataset.from_list(rows)


def dpo(llama, tokenizer, tmp_path, guard, held_out=None, **settings):
    args = trl.DPOConfig(str(tmp_path), **{**COMMON, "beta": 0.1, "max_steps": 12, **settings})
    return trl.DPOTrainer(
        llama(), llama(), args, train_dataset=dataset(), eval_dataset=held_out or dataset(ROWS[:4]),
        processing_class=tokenizer, callbacks=[guard],
    )  # fmt: skip


def test_a_healthy_dpo_run_is_left_alone(llama, tokenizer, tmp_path):
    """Step 1 logs accuracy 0, margin 0, loss ln 2: nothing to be said."""
    guard = GuardCallback()
    trainer = dpo(llama, tokenizer, tmp_path, guard, learning_rate=1e-4)
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4) and first["rewards/accuracies"] == 0.0
    assert trainer.state.global_step == 12
    assert guard.events == []


def test_dpo_that_displaces_is_stopped_and_taken_back(llama, tokenizer, tmp_path):
    """A large rate on a budget of nothing: the held-out chosen side falls, the start's weights come back."""
    guard = GuardCallback(GuardLimits(chosen_share=1e-6, patience=99))
    rows = [{"prompt": r["prompt"], "chosen": r["rejected"], "rejected": r["chosen"]} for r in ROWS[:4]]
    trainer = dpo(llama, tokenizer, tmp_path, guard, held_out=dataset(rows), learning_rate=5e-3)
    start = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    codes = [event.code for event in guard.events if event.action == "rollback"]
    assert codes == ["PB803"] and trainer.state.global_step < 12
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter, start[name], rtol=0, atol=0)


def test_dpo_that_breaks_is_stopped_with_good_weights(llama, tokenizer, tmp_path):
    """The weights become NaN after step 3: noticed at the next row, and the best state is put back."""
    guard = GuardCallback()

    class Breaks(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            if state.global_step == 3:
                with torch.no_grad():
                    next(p for p in model.parameters() if p.requires_grad).fill_(float("nan"))

    trainer = dpo(llama, tokenizer, tmp_path, guard, learning_rate=1e-4)
    trainer.add_callback(Breaks())
    trainer.train()
    assert [(e.code, e.action) for e in guard.events][-1] == ("PB801", "rollback")
    assert trainer.state.global_step == 4
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_several_evaluation_sets(llama, tokenizer, tmp_path):
    guard = GuardCallback()
    sets = {"near": dataset(ROWS[:4]), "far": dataset(ROWS[4:8])}
    trainer = dpo(llama, tokenizer, tmp_path, guard, held_out=sets, learning_rate=1e-4)
    trainer.train()
    assert set(guard.sets) == {"near", "far"}
    assert all(len(state.held_out) == 6 for state in guard.sets.values())
    assert all(now.margin is not None for state in guard.sets.values() for now in state.held_out)


@pytest.mark.parametrize(
    "settings",
    [
        {"f_divergence_type": "forward_kl"}, {"f_divergence_type": "js_divergence"},
        {"f_divergence_type": "alpha_divergence"}, {"loss_weights": [2.0]}, {"label_smoothing": 0.3},
    ],
)  # fmt: skip
def test_what_is_known_of_plain_dpo_is_not_asked_of_its_relatives(llama, tokenizer, tmp_path, settings):
    """Another divergence has another loss at a margin, and a valid run was stopped as an impossible log."""
    guard = GuardCallback(GuardLimits(patience=99, saturated_margin=1e9, chosen_share=1e9))
    trainer = dpo(llama, tokenizer, tmp_path, guard, learning_rate=5e-3, **settings)
    trainer.train()
    assert trainer.state.global_step == 12
    assert not {"PB802", "PB810"} & {event.code for event in guard.events}


def cpo(llama, tokenizer, tmp_path, guard, **settings):
    trainers = pytest.importorskip("trl.experimental.cpo")
    plain = {**COMMON, "max_steps": 6, "learning_rate": 5e-3, "max_length": 64, "cpo_alpha": 0.0}
    args = trainers.CPOConfig(str(tmp_path), **{**plain, **settings})
    return trainers.CPOTrainer(
        llama(), args, train_dataset=dataset(), eval_dataset=dataset(ROWS[:4]), processing_class=tokenizer,
        callbacks=[guard],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "means"), [("sigmoid", False), ("hinge", False), ("ipo", True), ("simpo", True)]
)
def test_log_probs_without_a_reference_are_read_as_the_loss_has_them(llama, tokenizer, tmp_path, loss, means):
    """CPO logs sums, whose change had been read as one a token: a run was called displaced for its length."""
    guard = GuardCallback()
    trainer = cpo(llama, tokenizer, tmp_path, guard, loss_type=loss)
    trainer.train()
    told = [row["eval_logps/chosen"] for row in trainer.state.log_history if "eval_loss" in row]
    held = guard.sets[""].held_out
    changes = [now.chosen_change if means else now.chosen_fall for now in held]
    assert changes == pytest.approx([x - told[0] if means else (told[0] - x) / -told[0] for x in told])
    assert all((now.chosen_fall if means else now.chosen_change) is None for now in held)


def test_orpo(llama, tokenizer, tmp_path):
    """ORPO's loss does not start at ln 2 and its log-probs are means: neither may be misread."""
    orpo = pytest.importorskip("trl.experimental.orpo")
    guard = GuardCallback()
    args = orpo.ORPOConfig(
        str(tmp_path), **{**COMMON, "max_steps": 6, "learning_rate": 1e-4, "max_length": 64}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = orpo.ORPOTrainer(
            llama(), args, train_dataset=dataset(), eval_dataset=dataset(ROWS[:4]),
            processing_class=tokenizer, callbacks=[guard],
        )  # fmt: skip
        trainer.train()
    assert trainer.state.global_step == 6 and guard.events == []
    held = guard.sets[""].held_out
    assert len(held) == 3 and held[0].chosen_change == 0.0 and held[-1].chosen_change is not None


def test_sft_that_over_fits_is_stopped_at_its_best(llama, tokenizer, tmp_path):
    """Held-out answers contradict the training answers, so that the held-out loss only rises."""
    guard = GuardCallback(GuardLimits(patience=2))
    args = trl.SFTConfig(str(tmp_path), **{**COMMON, "max_steps": 20, "learning_rate": 2e-2})
    rows = [{"prompt": r["prompt"], "completion": r["chosen"]} for r in ROWS]
    unlike = [{"prompt": r["prompt"], "completion": " seven six seven six"} for r in ROWS[:4]]
    trainer = trl.SFTTrainer(
        llama(), args, train_dataset=dataset(rows), eval_dataset=dataset(unlike),
        processing_class=tokenizer, callbacks=[guard],
    )  # fmt: skip
    trainer.train()
    assert guard.events[-1].code == "PB807" and trainer.state.global_step < 20
    best = guard.sets[""].best
    assert best is not None
    rescored = trainer.evaluate()["eval_loss"]
    assert rescored == pytest.approx(best.loss, abs=1e-5)
