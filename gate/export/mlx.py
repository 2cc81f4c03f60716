"""mlx-lm-lora 5.10: the decision as its YAML and the rows that its datasets read.

Its command line sets some options to values of its own, which win over the file: those stand on the command.
"""

from __future__ import annotations

import math
from typing import Any

from ...errors import ProbeError
from ...shell import file_word
from ...training.methods import exported
from . import rows
from .job import Exported, Job, data_name


def mlx_lm_lora(job: Job) -> Exported:
    """`mlx_lm_lora.train --config FILE`. It applies the model's chat template, and clips no gradient.

    Raises `ProbeError` for a run that was measured without the chat template, and for an adapter or a
    revision, of which it loads neither.
    """
    if job.template != "chat":
        raise ProbeError(
            f"mlx-lm-lora applies a chat template, this run was measured under {job.template!r}. "
            "Export to trl, or measure again with --template chat."
        )
    if job.adapter or job.revision:
        what = "adapter" if job.adapter else "revision"
        raise ProbeError(
            f"{job.adapter or job.revision}: mlx-lm-lora starts from no {what}. "
            "Save the model in a directory and gate that, or export to llamafactory."
        )
    values, sft = job.values, job.stage == "sft"
    settings = {
        "model": job.model,
        "train": True,
        "train_mode": "sft" if sft else "dpo",
        "train_type": "lora" if job.lora else "full",
        "data": data_name(job).rpartition("/")[0],
        "batch_size": job.micro,
        "iters": _updates(job) * job.accumulation,
        "learning_rate": values["learning_rate"],
        "lr_schedule": _schedule(job),
        "optimizer": "adamw",
        "optimizer_config": {"adamw": {"weight_decay": values["weight_decay"]}},
        "max_seq_length": job.max_length,
        "adapter_path": job.output,
        **({"mask_prompt": True} if sft else {"beta": values["beta"]}),
        **({"lora_parameters": _lora(job), "num_layers": -1} if job.lora else {}),
    }
    loss = "" if sft else f" --dpo-cpo-loss-type {exported('mlx-lm-lora')[job.stage]}"
    command = f"mlx_lm_lora.train --config {job.stage}.yaml --gradient-accumulation-steps {job.accumulation}"
    row = rows.dialogue if sft else rows.instructed
    return Exported(settings, row, f"{command}{loss}", merge=_fuse)


def _fuse(job: Job) -> str:
    """The command that merges the adapter of `job`, which peft cannot read, into its model."""
    adapter, made = file_word(job.output), file_word(job.trained)
    return f"mlx_lm.fuse --model {file_word(job.model)} --adapter-path {adapter} --save-path {made}"


def _updates(job: Job) -> int:
    """Optimizer steps: a batch that is not full is left out there, and counted here as one."""
    return max(1, math.ceil(math.ceil(job.pairs / int(job.values["batch"])) * float(job.values["epochs"])))


def _schedule(job: Job) -> dict[str, Any] | None:
    """Cosine with its warm-up, in optimizer steps; None for a constant rate."""
    if job.values["schedule"] != "cosine":
        return None
    rate, steps = job.values["learning_rate"], _updates(job) - job.warmup_steps
    return {"name": "cosine_decay", "arguments": [rate, max(1, steps)], "warmup": job.warmup_steps}


def _lora(job: Job) -> dict[str, Any]:
    """Its scale is what peft calls alpha over rank."""
    rank = int(job.values["lora_rank"])
    return {"rank": rank, "scale": job.values["lora_alpha"] / rank, "dropout": 0.0}
