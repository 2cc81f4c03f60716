"""One stage to train, and what a tool is given for it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import rows

MICRO_BATCH = 4  # pairs a device sees at once; what is left of the batch is accumulated


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to train. `values` are its hyper-parameters, `model` a name or the stage before's output."""

    stage: str
    values: Mapping[str, Any]
    model: str
    template: str
    max_length: int | None
    dtype: str
    pairs: int
    revision: str | None = None
    tools: bool = False  # whether rows have tools
    adapter: str | None = None  # one that the model was measured with, to go on from
    before: Job | None = None  # the stage whose output this one starts from

    @property
    def warmup_steps(self) -> int:
        """Optimizer steps of warm-up: a number, since transformers 4 and 5 name the share differently."""
        steps = math.ceil(self.pairs / int(self.values["batch"])) * float(self.values["epochs"])
        return round(steps * float(self.values["warmup"]))

    @property
    def micro(self) -> int:
        """Pairs in one forward pass: as many as divide the batch."""
        batch = int(self.values["batch"])
        return max(k for k in range(1, min(MICRO_BATCH, batch) + 1) if batch % k == 0)

    @property
    def accumulation(self) -> int:
        """Forward passes to an optimizer step."""
        return max(1, int(self.values["batch"]) // self.micro)

    @property
    def lora(self) -> bool:
        """Whether an adapter is trained, not all weights."""
        return not self.values.get("full")

    @property
    def output(self) -> str:
        """Where the tool is to write."""
        return f"out-{self.stage}"

    @property
    def trained(self) -> str:
        """The model that the next stage loads: an adapter is merged into its model first."""
        return f"{self.output}-merged" if self.lora else self.output


def merge_with_peft(job: Job) -> str:
    """The command that merges the adapter that peft wrote for `job` into its model."""
    return _merge(job, [job.output])


def merge_over_adapter(job: Job) -> str:
    """The same for a tool that merges the adapter that was measured, and trains a new one on the two."""
    return _merge(job, [*([job.adapter] if job.adapter else []), job.output])


def _merge(job: Job, adapters: Sequence[str]) -> str:
    """Model and adapters in turn. They are named: an adapter's own config knows its model alone, without
    the revision that was measured and without an adapter between the two."""
    name, out, trained = (
        json.dumps(text, ensure_ascii=False) for text in (job.model, job.output, job.trained)
    )
    revision = f", revision={json.dumps(job.revision)}" if job.revision else ""
    merging = (
        f"m = P.from_pretrained(m, {json.dumps(one, ensure_ascii=False)}).merge_and_unload()"
        for one in adapters
    )
    steps = [
        "from peft import PeftModel as P",
        "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T",
        f"m = M.from_pretrained({name}{revision})",
        *merging,
        f"m.save_pretrained({trained})",
        f"T.from_pretrained({out}).save_pretrained({trained})",
    ]
    return f"python -c {shlex.quote('; '.join(steps))}"


@dataclass(frozen=True, slots=True)
class Exported:
    """Settings, the form of the data's rows, the command that runs it, and files that go beside it.

    `merge` makes the command that merges a stage's adapter into its model. `nulls` are settings whose null
    says something to the tool: TRL cuts nothing where `max_length` is null, and at its default without it.
    """

    settings: Mapping[str, Any]
    row: rows.MakeRow
    command: str
    beside: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # for the head of the config
    merge: Callable[[Job], str] = merge_with_peft
    nulls: tuple[str, ...] = ()


def data_name(job: Job, split: str = "train") -> str:
    """The data file of a stage, in a folder that dataset loaders accept by itself."""
    return f"data-{job.stage}/{split}.jsonl"
