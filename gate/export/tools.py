"""One function a tool: a stage of the decision as that tool's own settings.

Versions read: TRL 1.16, Axolotl 0.19, LlamaFactory 0.9.5, alignment-handbook 0.3, mlx-lm-lora 5.10,
the hosted form of 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ProbeError
from ...training.methods import exported, method_of
from . import rows
from .job import Exported, Job, data_name, merge_over_adapter
from .mlx import mlx_lm_lora
from .service import openai


def lacking(tool: str, job: Job) -> ProbeError:
    """The error for a stage that a tool cannot do, with those that can."""
    able = [name for name, stages in ABLE.items() if job.stage in stages and name != tool]
    return ProbeError(f"{tool} has no {job.stage}. Use {', '.join([*able, '`probe train`'])}.")


TRL_LOSS = {name: {"loss_type": types} for name, types in exported("trl").items() if types}
AXOLOTL_LOSS: dict[str, dict[str, Any]] = {
    name: {"rl": rl, **({"dpo_loss_type": exported("trl")[name]} if rl == "dpo" else {})}
    for name, rl in exported("axolotl").items()
    if rl
}
FACTORY_LOSS = {name: loss for name, loss in exported("llamafactory").items() if loss}
ABLE = {
    tool: set(exported(tool))
    for tool in ("trl", "axolotl", "llamafactory", "alignment-handbook", "mlx-lm-lora", "openai")
}


def _smoothing(job: Job, name: str) -> dict[str, Any]:
    """The share of labels taken to be flipped, where the loss reads one: no tool's own default is it."""
    return {name: job.values["smoothing"]} if "smoothing" in method_of(job.stage).constants else {}


def trl(job: Job) -> Exported:
    """`trl sft|dpo --config FILE`, TRL 1.x."""
    values, sft = job.values, job.stage == "sft"
    weights = {"loss_weights": [1.0, values["nll_weight"]]} if job.stage == "dpo_nll" else {}
    weights |= _smoothing(job, "label_smoothing")
    loss: Mapping[str, Any] = (
        {"completion_only_loss": True} if sft else {"beta": values["beta"], **TRL_LOSS[job.stage], **weights}
    )
    settings = {
        **_model(job),
        "dataset_name": data_name(job).rpartition("/")[0],
        **_transformers(job),
        **loss,
        "max_length": job.max_length,
        **({"use_peft": True, **_lora(job), "lora_target_modules": ["all-linear"]} if job.lora else {}),
    }
    row = rows.completion if sft else rows.preference_row
    command = f"trl {'sft' if sft else 'dpo'} --config {job.stage}.yaml"
    return Exported(settings, row, command, nulls=("max_length",))


HANDBOOK_VERSION = (
    "Written for alignment-handbook 0.3: later versions have no scripts/run_*.py, and read other settings."
)
WHOLE_DIALOGUE = (
    "Its SFT trains on the prompts as well and packs dialogues into one sequence, where responses alone were "
    "measured. Export to another tool, or use `probe train`, if the prompts are not to be learned."
)
SPLITTING = frozenset({"alignment-handbook"})  # tools whose scripts read a test split, evaluating or not


def handbook(job: Job) -> Exported:
    """The handbook's recipe form; it always applies the model's chat template."""
    if job.template != "chat":
        raise ProbeError(
            f"alignment-handbook applies a chat template, this run was measured under {job.template!r}. "
            "Export to trl, or measure again with --template chat."
        )
    preference = {"beta": job.values.get("odds_weight" if job.stage == "orpo" else "beta")}
    settings = {
        **_model(job),
        "torch_dtype": job.dtype,
        "dataset_mixer": {data_name(job).rpartition("/")[0]: 1.0},
        "dataset_splits": ["train", "test"],
        "auto_insert_empty_system_msg": False,
        **_transformers(job),
        **({} if job.stage == "sft" else preference),
        ("max_seq_length" if job.stage == "sft" else "max_length"): job.max_length,
        "do_eval": False,
        "optim": "adamw_torch",  # its DPO has RMSprop otherwise
        **({"use_peft": True, **_lora(job), "lora_target_modules": "all-linear"} if job.lora else {}),
    }
    row = rows.dialogue if job.stage == "sft" else rows.dialogues
    command = f"accelerate launch scripts/run_{job.stage}.py {job.stage}.yaml"
    whole = (WHOLE_DIALOGUE,) if job.stage == "sft" else ()
    return Exported(settings, row, command, notes=(HANDBOOK_VERSION, *whole))


def axolotl(job: Job) -> Exported:
    """`axolotl train FILE`."""
    values, chat = job.values, job.template == "chat"
    if job.stage == "orpo" and not chat:
        raise ProbeError(
            "axolotl's ORPO reads chat messages only. Export to llamafactory, or use `probe train`."
        )
    settings = {
        "base_model": job.model,
        "revision_of_model": job.revision,
        "lora_model_dir": job.adapter,
        "datasets": [{"path": data_name(job), "ds_type": "json", "split": "train", **_axolotl_data(job)}],
        **({} if job.stage == "sft" else _axolotl_loss(job)),
        **({"chat_template": "tokenizer_default"} if chat else {}),
        **({"adapter": "lora", **_lora(job), "lora_target_linear": True} if job.lora else {}),
        "sequence_len": job.max_length,
        "learning_rate": values["learning_rate"],
        "num_epochs": values["epochs"],
        "micro_batch_size": job.micro,
        "gradient_accumulation_steps": job.accumulation,
        "lr_scheduler": values["schedule"],
        "warmup_ratio": values["warmup"],
        "max_grad_norm": values["clip"],
        "weight_decay": values["weight_decay"],
        "optimizer": "adamw_torch",
        "bf16": job.dtype == "bfloat16",
        "output_dir": job.output,
    }
    row = _axolotl_row(job.stage, chat)
    notes: tuple[str, ...] = (OWN_REFERENCE,) if job.adapter and job.stage != "sft" else ()
    notes += (OWN_END,) if job.stage == "sft" and chat else ()
    return Exported(settings, row, f"axolotl train {job.stage}.yaml", notes=notes)


OWN_END = (
    "Axolotl trains the end of a turn where that is the tokenizer's eos_token: if the chat template ends "
    "turns with another token, name it under `eot_tokens`."
)
OWN_REFERENCE = (
    "Check that the loss starts at 0.6931: some versions take the model without the adapter as reference. "
    "Then merge the adapter into the model and gate that."
)


def _axolotl_loss(job: Job) -> dict[str, Any]:
    weights = {"dpo_loss_weights": [1.0, job.values["nll_weight"]]} if job.stage == "dpo_nll" else {}
    own = (
        {"orpo_alpha": job.values["odds_weight"]} if job.stage == "orpo" else {"rl_beta": job.values["beta"]}
    )
    return {**AXOLOTL_LOSS[job.stage], **own, **weights, **_smoothing(job, "dpo_label_smoothing")}


def _axolotl_data(job: Job) -> dict[str, Any]:
    chat = job.template == "chat"
    if job.stage == "sft":
        asks = "{instruction}"
        fields = {
            "field_instruction": "prompt",
            "field_output": "completion",
            "format": asks,
            "no_input_format": asks,
        }
        asked = {"field_messages": "messages", "message_field_training": rows.TRAIN_MARK}
        return {"type": "chat_template", **asked} if chat else {"type": fields}
    if job.stage == "orpo":
        return {"type": "chat_template.argilla"}
    names = {"field_prompt": "prompt", "field_chosen": "chosen", "field_rejected": "rejected"}
    return {"type": "chat_template.default", "field_messages": "prompt"} if chat else {"type": names}


def _axolotl_row(stage: str, chat: bool) -> rows.MakeRow:
    if stage == "sft":
        return rows.answers_marked if chat else rows.completion
    return rows.dialogues if stage == "orpo" else rows.preference_row


def llamafactory(job: Job) -> Exported:
    """`llamafactory-cli train FILE`, with its `dataset_info.json`. It tokenises prompt and response apart."""
    values, chat, sft = job.values, job.template == "chat", job.stage == "sft"
    if sft:
        # Earlier answers of a dialogue are part of its prompt.
        loss: dict[str, Any] = {"mask_history": True} if chat else {}
    else:
        beta = values["odds_weight"] if job.stage == "orpo" else values["beta"]
        loss = {"pref_loss": FACTORY_LOSS[job.stage], "pref_beta": beta}
        loss |= {"pref_ftx": values["nll_weight"]} if job.stage == "dpo_nll" else {}
        loss |= _smoothing(job, "dpo_label_smoothing")
    settings = {
        "model_name_or_path": job.model,
        "model_revision": job.revision,
        # Merged first: else its reference would be the model without the adapter, and no new one is trained.
        **({"adapter_name_or_path": job.adapter, "create_new_adapter": True} if job.adapter else {}),
        "stage": "sft" if sft else "dpo",
        "do_train": True,
        "dataset": _factory_name(job),
        "dataset_dir": ".",
        **({} if chat else {"template": "empty"}),  # without a name it takes the tokenizer's own template
        "finetuning_type": "lora" if job.lora else "full",
        **(
            {"lora_rank": values["lora_rank"], "lora_alpha": values["lora_alpha"], "lora_target": "all"}
            if job.lora
            else {}
        ),
        **loss,
        **_transformers(job),
        "cutoff_len": job.max_length,
    }
    row = (rows.dialogue if chat else rows.completion) if sft else rows.ranked
    beside = {"dataset_info.json": {_factory_name(job): _factory_info(job)}}
    command, notes = f"llamafactory-cli train {job.stage}.yaml", _lies_on_both(job)
    return Exported(settings, row, command, beside, notes, merge=merge_over_adapter)


def _lies_on_both(job: Job) -> tuple[str, ...]:
    """What the output of a stage lies on, where that is more than its model."""
    if not job.adapter:
        return ()
    told = (
        f"LLaMA-Factory merges {job.adapter} into {job.model} and trains a new adapter on the two: load both "
        f"before {job.output}, whose own config names the model alone."
    )
    return (told,)


def _factory_name(job: Job) -> str:
    """The stage's own entry of `dataset_info.json`, which all stages share."""
    return f"probe_{job.stage}"


def _factory_info(job: Job) -> dict[str, Any]:
    """The entry of `dataset_info.json`: chat messages, or plain text columns."""
    sides = {} if job.stage == "sft" else {"chosen": "chosen", "rejected": "rejected"}
    info: dict[str, Any] = {"file_name": data_name(job), "ranking": job.stage != "sft"}
    if job.template != "chat":
        columns = {"prompt": "prompt", **(sides or {"response": "completion"})}
        return {**info, "formatting": "alpaca", "columns": columns}
    tags = {
        "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
        "system_tag": "system",
    }  # fmt: skip
    columns = {"messages": "messages", **sides, **({"tools": "tools"} if job.tools else {})}
    return {**info, "formatting": "sharegpt", "columns": columns, "tags": tags}


def _transformers(job: Job) -> dict[str, Any]:
    """Fields of transformers' TrainingArguments, which three of the tools read."""
    return {
        "learning_rate": job.values["learning_rate"],
        "num_train_epochs": job.values["epochs"],
        "per_device_train_batch_size": job.micro,
        "gradient_accumulation_steps": job.accumulation,
        "lr_scheduler_type": job.values["schedule"],
        "warmup_steps": job.warmup_steps,
        "max_grad_norm": job.values["clip"],
        "weight_decay": job.values["weight_decay"],
        "bf16": job.dtype == "bfloat16",
        "logging_steps": 1,
        "output_dir": job.output,
    }


def _model(job: Job) -> dict[str, Any]:
    """The model's name and revision, for tools that load no adapter below the one they train."""
    if job.adapter:
        raise ProbeError(
            f"{job.adapter}: this tool trains on no adapter. Merge it into the model and gate that, or "
            "export to axolotl or llamafactory."
        )
    return {"model_name_or_path": job.model, "model_revision": job.revision}


def _lora(job: Job) -> dict[str, Any]:
    values = job.values  # without dropout, as it is measured and as `probe train` trains
    return {"lora_r": values["lora_rank"], "lora_alpha": values["lora_alpha"], "lora_dropout": 0.0}


TOOLS: dict[str, Callable[[Job], Exported]] = {
    "trl": trl,
    "axolotl": axolotl,
    "llamafactory": llamafactory,
    "alignment-handbook": handbook,
    "mlx-lm-lora": mlx_lm_lora,
    "openai": openai,
}
