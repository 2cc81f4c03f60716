"""The hosted form of 2025: the decision as the request of a fine-tuning job, and its rows."""

from __future__ import annotations

from typing import Any

from ...errors import ProbeError
from . import rows
from .job import Exported, Job, data_name


def openai(job: Job) -> Exported:
    """The request of a hosted fine-tuning job; upload the data file and put its id in."""
    if job.template not in ("chat", "raw"):
        raise ProbeError(
            f"--to openai: the service renders chat messages, and this run was measured under "
            f"{job.template!r}. Export to trl, or measure again with --template chat."
        )
    epochs = float(job.values["epochs"])
    if not epochs.is_integer():
        raise ProbeError(
            f"--to openai: the service trains whole epochs, and this is {epochs:g}. Use --to trl."
        )
    given: dict[str, Any] = {"n_epochs": int(epochs), "batch_size": int(job.values["batch"])}
    kind = "supervised" if job.stage == "sft" else "dpo"
    if kind == "dpo":
        given["beta"] = job.values["beta"]
    method = {"type": kind, kind: {"hyperparameters": given}}
    settings = {"model": "MODEL-OF-THE-SERVICE", "training_file": "FILE-ID", "method": method}
    row = rows.weighted if job.stage == "sft" else rows.hosted
    return Exported(
        settings, row, f"upload {data_name(job)}, then POST {job.stage}.json to /v1/fine_tuning/jobs"
    )
