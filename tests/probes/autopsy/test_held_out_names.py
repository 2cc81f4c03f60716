"""Held-out losses under the names of trainers; one that is not known is named."""

import json

import pytest

from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.names import canonical
from probe.probes.autopsy.read import read_log

TRAIN = [{"step": s, "loss": 1.9 - 0.002 * s, "learning_rate": 1e-5} for s in range(10, 410, 10)]
TURNS = {100: 1.3, 200: 1.2, 300: 1.6, 400: 2.4}
SINGLE = [
    "eval_loss", "val_loss", "holdout_loss", "heldout_loss", "held_out_loss", "held-out/loss",
    "hold_out_loss", "metrics/eval/loss", "loss_eval", "val_loss_epoch", "test_loss",
    "lm-loss-validation/lm loss validation",
]  # fmt: skip
NAMED = {
    "val_loss/dataloader_idx_0": "dataloader_idx_0",
    "val_loss_epoch/dataloader_idx_1": "dataloader_idx_1",
    "eval_loss/math": "math",
    "eval/math/loss": "math",
    "eval/paloma/loss": "paloma",
    "metrics/eval/paloma/c4/loss": "paloma_c4",
    "eval_math_loss": "math",
}
UNKNOWN = [
    "eval_perplexity", "eval/ppl", "val_nll", "eval_cross_entropy", "eval_ce_loss", "eval/paloma/bpb",
    "metrics/eval/LanguageCrossEntropy",
]  # fmt: skip


def judged(tmp_path, *names, beside=None):
    rows = [*TRAIN, *({"step": s, **dict.fromkeys(names, v), **(beside or {})} for s, v in TURNS.items())]
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"log_history": rows}))
    log = read_log(path)
    return log, diagnosis_json(diagnose(log))


@pytest.mark.parametrize("name", [*SINGLE, *NAMED])
def test_a_held_out_loss_is_read(tmp_path, name):
    log, found = judged(tmp_path, name)
    assert (list(log.evals), log.unread) == ([NAMED.get(name, "")], "")
    assert (found["main"], found["since_step"]) == ("overfit", 200)


def test_sets_of_several_names_stay_apart(tmp_path):
    log, _ = judged(tmp_path, "val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1", "val_loss")
    assert sorted(log.evals) == ["", "dataloader_idx_0", "dataloader_idx_1"]


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_column_like_one_is_named(tmp_path, name):
    _, found = judged(tmp_path, name)
    assert (found["main"], found["confidence"]) == ("healthy", "cannot tell")
    assert f"columns like held-out losses that are not known: {name}" in found["evidence"]
    assert not any("no held-out loss in this log" in note for note in found["notes"])


@pytest.mark.parametrize("name", UNKNOWN)
def test_beside_a_held_out_loss_it_is_only_more_of_the_same(tmp_path, name):
    log, found = judged(tmp_path, name, beside={"eval_loss": 1.0})
    assert log.unread == "" and found["confidence"] == "likely"


@pytest.mark.parametrize(
    "name", ["eval_runtime", "eval_entropy", "eval_accuracy", "router_z_loss", "test/samples"]
)
def test_other_columns_are_none(tmp_path, name):
    log, found = judged(tmp_path, name)
    assert log.unread == "" and (found["main"], found["confidence"]) == ("healthy", "likely")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("train/loss", "loss"), ("loss/mean", "loss"), ("eval_loss/mean", "eval_loss"),
        ("eval/kl/loss", "eval_kl_loss"), ("eval/rewards/chosen", "eval_rewards/chosen"),
    ],
)  # fmt: skip
def test_what_was_read_before_is_read_as_before(name, read):
    assert canonical(name).name == read
