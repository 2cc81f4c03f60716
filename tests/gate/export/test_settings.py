"""The numbers and names that a tool is given, by hand: steps, batches, adapters, kinds of rows."""

from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.gate.export import rows
from probe.gate.export.job import Job
from probe.gate.export.mlx import mlx_lm_lora
from probe.gate.export.reference import EMBEDDED_MARK, model_reference
from probe.gate.export.tools import axolotl, handbook, llamafactory, openai, trl
from probe.pairs.record import Pair
from probe.scoring import embedded
from probe.training.shipped import shipped_values


def job(stage="dpo", template="chat", pairs=21, **more):
    own = {
        "batch": 8,
        "epochs": 3,
        "warmup": 0.25,
        "weight_decay": 0.5,
        "clip": 0.75,
        **more.pop("values", {}),
    }
    values = {**shipped_values(stage, parameters=135_000_000, n=pairs), **own}
    return Job(stage, values, "org/model", template, 64, "float32", pairs, **more)


@pytest.mark.parametrize(
    ("batch", "micro", "accumulation"), [(8, 4, 2), (4, 4, 1), (2, 2, 1), (1, 1, 1), (9, 3, 3)]
)
def test_a_batch_is_taken_in_passes_of_at_most_four_pairs(batch, micro, accumulation):
    made = job(values={"batch": batch})
    assert (made.micro, made.accumulation) == (micro, accumulation)
    assert isinstance(made.accumulation, int)


def test_warm_up_is_a_share_of_all_steps():
    """21 pairs in batches of 8 are 3 steps, the last not full; three epochs are 9; a quarter is 2."""
    assert job().warmup_steps == 2
    assert job(pairs=24).warmup_steps == 2 and job(pairs=25).warmup_steps == 3


def test_all_weights_or_an_adapter():
    assert job().lora and not job(values={"full": True}).lora
    assert not Job("dpo", {}, "m", "chat", None, "float32", 1).tools


@pytest.mark.parametrize(
    ("stage", "mode", "row"), [("dpo", "dpo", rows.instructed), ("sft", "sft", rows.dialogue)]
)
def test_mlx_is_told_the_mode_its_steps_and_its_rows(stage, mode, row):
    made = mlx_lm_lora(job(stage))
    settings = made.settings
    assert (settings["train_mode"], settings["train_type"], settings["num_layers"]) == (mode, "lora", -1)
    assert (settings["batch_size"], settings["iters"], settings["train"]) == (4, 3 * 3 * 2, True)
    assert settings["optimizer_config"] == {"adamw": {"weight_decay": 0.5}}
    assert settings["lora_parameters"] == {"rank": 16, "scale": 2.0, "dropout": 0.0}
    assert ("beta" in settings, "mask_prompt" in settings) == (mode == "dpo", mode == "sft")
    assert made.row is row and "--gradient-accumulation-steps 2" in made.command
    assert ("--dpo-cpo-loss-type" in made.command) == (mode == "dpo")


def test_mlx_schedules_in_optimizer_steps():
    cosine = mlx_lm_lora(job(values={"schedule": "cosine", "learning_rate": 0.5})).settings["lr_schedule"]
    assert cosine == {"name": "cosine_decay", "arguments": [0.5, 7], "warmup": 2}
    short = job(values={"schedule": "cosine", "warmup": 1.0})
    assert mlx_lm_lora(short).settings["lr_schedule"]["arguments"][1] == 1
    assert mlx_lm_lora(job(values={"schedule": "constant"})).settings["lr_schedule"] is None


def test_mlx_trains_all_weights_where_asked():
    settings = mlx_lm_lora(job(values={"full": True})).settings
    assert settings["train_type"] == "full" and not {"lora_parameters", "num_layers"} & set(settings)


@pytest.mark.parametrize(("fact", "word"), [("adapter", "no adapter"), ("revision", "no revision")])
def test_mlx_refuses_an_adapter_and_a_revision_each(fact, word):
    with pytest.raises(ProbeError, match=f"here: .* {word}"):
        mlx_lm_lora(job(**{fact: "here"}))


@pytest.mark.parametrize("tool", [trl, handbook])
def test_tools_that_load_no_adapter_refuse_one(tool):
    with pytest.raises(ProbeError, match="trains on no adapter"):
        tool(job(adapter="here"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tool", [trl, handbook, axolotl, llamafactory])
def test_training_settings_are_those_of_the_decision(tool, dtype):
    given = job(values={"schedule": "cosine"})
    settings = tool(
        Job(**{name: getattr(given, name) for name in Job.__dataclass_fields__} | {"dtype": dtype})
    )
    found = settings.settings
    assert found["bf16"] is (dtype == "bfloat16")
    assert (found["max_grad_norm"], found["weight_decay"]) == (0.75, 0.5)
    assert (
        found["gradient_accumulation_steps"] == 2
        and found["lr_scheduler_type" if tool is not axolotl else "lr_scheduler"] == "cosine"
    )
    batch = "micro_batch_size" if tool is axolotl else "per_device_train_batch_size"
    assert found[batch] == 4


@pytest.mark.parametrize(
    ("stage", "chat", "row"),
    [
        ("sft", True, rows.dialogue), ("sft", False, rows.completion),
        ("dpo", True, rows.ranked), ("dpo", False, rows.ranked),
    ],
)  # fmt: skip
def test_llamafactory_rows_follow_stage_and_template(stage, chat, row):
    made = llamafactory(job(stage, "chat" if chat else "raw"))
    assert made.row is row and made.settings["stage"] == stage
    assert made.settings["finetuning_type"] == "lora" and made.settings["do_train"] is True
    assert llamafactory(job(stage, values={"full": True})).settings["finetuning_type"] == "full"
    assert ("template" in made.settings) is not chat
    info = made.beside["dataset_info.json"][f"probe_{stage}"]
    assert info["ranking"] is (stage == "dpo") and info["formatting"] == ("sharegpt" if chat else "alpaca")


@pytest.mark.parametrize(
    ("tool", "stage", "chat", "row"),
    [
        (trl, "sft", True, rows.completion), (trl, "dpo", True, rows.preference_row),
        (handbook, "sft", True, rows.dialogue), (handbook, "dpo", True, rows.dialogues),
        (axolotl, "sft", True, rows.answers_marked), (axolotl, "sft", False, rows.completion),
        (axolotl, "dpo", True, rows.preference_row), (axolotl, "orpo", True, rows.dialogues),
        (openai, "sft", True, rows.weighted), (openai, "dpo", True, rows.hosted),
    ],
)  # fmt: skip
def test_rows_are_in_the_form_that_the_tool_reads_for_the_stage(tool, stage, chat, row):
    assert tool(job(stage, "chat" if chat else "raw")).row is row


def test_weights_of_the_losses_and_of_data_sets_are_one_unless_decided():
    nll = job("dpo_nll", values={"nll_weight": 0.3})
    assert trl(nll).settings["loss_weights"] == axolotl(nll).settings["dpo_loss_weights"] == [1.0, 0.3]
    assert llamafactory(nll).settings["pref_ftx"] == 0.3
    made = handbook(job()).settings
    assert list(made["dataset_mixer"].values()) == [1.0] and made["logging_steps"] == 1
    assert made["do_eval"] is False and made["auto_insert_empty_system_msg"] is False
    assert trl(job("sft")).settings["completion_only_loss"] is True
    assert trl(job()).settings["use_peft"] is True
    assert trl(job()).settings["dataset_name"] == mlx_lm_lora(job()).settings["data"] == "data-dpo"
    assert list(made["dataset_mixer"]) == ["data-dpo"]
    assert axolotl(job()).settings["lora_target_linear"] is True


@pytest.mark.parametrize("full", [False, True])
def test_the_handbook_is_told_to_train_an_adapter_or_not_at_all(full):
    settings = handbook(job(values={"full": full})).settings
    assert settings.get("use_peft") is (None if full else True)
    assert ("lora_r" in settings) is not full


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_mlx_rows_have_the_system_text_and_the_question(system):
    turns = [{"role": "system", "content": system}] * (system is not None) + [
        {"role": "user", "content": "Why?"}
    ]
    row = rows.instructed(Pair("1", tuple(turns), "Because.", "No."))
    assert row == {
        **({"system": system} if system else {}),
        "prompt": "Why?",
        "chosen": "Because.",
        "rejected": "No.",
    }


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("org/model", "org/model"),
        ("here", "{cwd}/here"),
        ("./here", "{cwd}/here"),
        ("{cwd}/here", "{cwd}/here"),
    ],
)
def test_a_directory_is_named_by_its_whole_path_and_a_hub_model_as_it_is(tmp_path, monkeypatch, name, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    found = model_reference({"name": name.format(cwd=tmp_path)}, tmp_path, copy=False)
    assert found.name == named.format(cwd=tmp_path)


@pytest.mark.parametrize("name", ["./gone", "/no/such/place"])
def test_a_directory_that_is_gone_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProbeError, match="not there"):
        model_reference({"name": name}, tmp_path, copy=False)


def test_a_gguf_file_is_converted_from_where_it_lies(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(embedded, "converted", lambda path: asked.append(path) or tmp_path)
    monkeypatch.setattr(embedded, "embedded_gguf", lambda: tmp_path / "own.gguf")
    for name in ("~/x.gguf", f"SmolLM2 {EMBEDDED_MARK}"):
        model_reference({"name": name}, tmp_path, copy=False)
    assert asked == [Path("~/x.gguf").expanduser(), tmp_path / "own.gguf"]


@pytest.mark.parametrize(("epochs", "steps"), [(3, 9), (0.8, 3), (1.6, 5), (0.1, 1)])
def test_a_part_of_an_epoch_is_trained_or_refused(epochs, steps):
    """21 pairs in batches of 8: three updates an epoch."""
    made = job(values={"epochs": epochs})
    assert mlx_lm_lora(made).settings["iters"] == steps * made.accumulation
    if epochs == 3:
        hyper = openai(made).settings["method"]["dpo"]["hyperparameters"]
        assert hyper["n_epochs"] == 3
    else:
        with pytest.raises(ProbeError, match="the service trains whole epochs, and this is"):
            openai(made)
