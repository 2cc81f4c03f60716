"""Reading a transformers or TRL trainer before its first step. Nothing of it is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch

from ...errors import ProbeError
from ...scoring.engine import token_logps
from ...scoring.scores import EncodedSide
from ..numerics.judge import DType, Plan
from .checks import Setup

ROWS_SEEN = 8  # rows whose labels and reference are looked at
# The trainer's class, by the beginning of its name, and the entry of `training.methods` that it trains; None:
# there is none, so that its rate and beta are not judged.
TRAINER_METHODS: dict[str, str | None] = {
    "DPO": "dpo",
    "ORPO": "orpo",
    "CPO": None,
    "KTO": None,
    "SFT": "sft",
    "Reward": None,
}
IDS = ("prompt_ids", "chosen_ids", "rejected_ids")
RESPONSES = ("chosen_ids", "rejected_ids", "completion_ids")


def read_setup(trainer: Any) -> Setup:
    """What the trainer would train, on its own model and its own batches."""
    parameters = list(trainer.model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    rows = first_rows(trainer, ROWS_SEEN)
    gap, compared = reference_gap(trainer, rows)
    unlabelled, looked_at = _unlabelled(trainer, rows)
    cut, total = _cut(trainer)
    return Setup(
        plan=plan_of(trainer),
        trainable=sum(p.numel() for p in trained),
        weights=sum(p.numel() for p in parameters),
        dtype=str(max(parameters, key=torch.numel).dtype).removeprefix("torch."),
        reference_gap=gap,
        compared=compared,
        unlabelled=unlabelled,
        looked_at=looked_at,
        cut=cut,
        rows=total,
    )


def plan_of(trainer: Any) -> Plan:
    """The run to be made, by the trainer's arguments and the dtype of its trained weights."""
    args = trainer.args
    trained = {str(p.dtype).removeprefix("torch.") for p in trainer.model.parameters() if p.requires_grad}
    kinds = trained & {"float16", "bfloat16", "float32", "float64"} or {"float32"}
    narrowest = min(kinds, key=("float16", "bfloat16", "float32", "float64").index)
    return Plan(
        method=trainer_method(trainer),
        learning_rate=float(args.learning_rate),
        beta=float(getattr(args, "beta", None) or 0.1),
        dtype=cast(DType, narrowest),
        lora_rank=None,  # the trained weights' own dtype is known, so that no rule about adapters is needed
        eps=float(args.adam_epsilon),
        fused="fused" in str(args.optim),
    )


def trainer_method(trainer: Any) -> str:
    """The method by the trainer's class and loss, "cpo", "kto", "reward" for what `training.methods` lacks.

    Raises `ProbeError` for a trainer that trains something else.
    """
    names = [kind.__name__ for kind in type(trainer).__mro__]
    losses = getattr(trainer.args, "loss_type", None) or ()
    for start, method in TRAINER_METHODS.items():
        if f"{start}Trainer" in names:
            named = {losses} if isinstance(losses, str) else set(losses)
            return next((loss for loss in ("ipo", "simpo") if loss in named), method or start.lower())
    raise ProbeError(
        f"{names[0]}: Preflight knows {', '.join(f'{start}Trainer' for start in TRAINER_METHODS)}. "
        "Use probe.gate on the pairs instead."
    )


def first_rows(trainer: Any, most: int) -> list[Mapping[str, Any]]:
    """The first rows of the trainer's processed training set."""
    rows: list[Mapping[str, Any]] = []
    for row in trainer.train_dataset or ():
        rows.append(row)
        if len(rows) == most:
            break
    return rows


def response_sides(row: Mapping[str, Any], max_length: int | None) -> list[EncodedSide]:
    """The responses of a row as DPOTrainer and KTOTrainer process it: their ids, cut where they cut them."""
    prompt = list(row.get("prompt_ids") or ())
    sides = []
    for name in RESPONSES:
        if name in row:
            ids = [*prompt, *row[name]][:max_length]
            sides.append(EncodedSide(tuple(ids), max(1, min(len(prompt), len(ids))), 0))
    return sides


def reference_gap(trainer: Any, rows: Sequence[Mapping[str, Any]]) -> tuple[float | None, int]:
    """Mean |log p policy − log p reference|, nats/token, and how many rows were compared.

    The reference is what the trainer would use: its own reference model, precomputed columns, the adapter
    named `ref`, or the model without its adapter. None where the trainer has no reference.
    """
    length = getattr(trainer.args, "max_length", None)
    usable = [
        (row, sides) for row in rows if (sides := response_sides(row, length)) and all(map(_scored, sides))
    ]
    if not hasattr(trainer, "ref_model") or not usable:
        return None, 0
    sides = [side for _, some in usable for side in some]
    policy = _sums(trainer.model, sides)
    reference = _stored([row for row, _ in usable])
    if reference is None:
        with _reference_model(trainer) as model:
            if model is None:
                return None, 0
            reference = _sums(model, sides)
    tokens = [len(side.ids) - side.start for side in sides]
    apart = [abs(a - b) / n for a, b, n in zip(policy, reference, tokens, strict=True)]
    return sum(apart) / len(apart), len(usable)


def _scored(side: EncodedSide) -> bool:
    return len(side.ids) > side.start


def _sums(model: torch.nn.Module, sides: Sequence[EncodedSide]) -> list[float]:
    with torch.no_grad():
        return [float(logps.float().sum()) for logps in token_logps(model, sides, plain=True)]


def _stored(rows: Sequence[Mapping[str, Any]]) -> list[float] | None:
    if not all("ref_chosen_logps" in row and "ref_rejected_logps" in row for row in rows):
        return None
    return [float(row[name]) for row in rows for name in ("ref_chosen_logps", "ref_rejected_logps")]


@contextmanager
def _reference_model(trainer: Any) -> Iterator[torch.nn.Module | None]:
    if getattr(trainer, "ref_model", None) is not None:
        yield trainer.accelerator.unwrap_model(trainer.ref_model)
        return
    model = trainer.model
    if not hasattr(model, "peft_config"):
        yield None
    elif "ref" in model.peft_config:
        active = model.active_adapter
        model.set_adapter("ref")
        try:
            yield model
        finally:
            model.set_adapter(active)
    else:
        with model.disable_adapter():
            yield model


def _unlabelled(trainer: Any, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Rows without a token that the loss counts, by the trainer's collator, and how many were looked at."""
    counted: list[int] = []
    for row in rows:
        try:
            batch = trainer.data_collator([dict(row)])
        except (KeyError, ValueError, TypeError, IndexError):
            return 0, 0  # a collator of another form: nothing is claimed
        sizes = [n for key, value in batch.items() if (n := _counted(key, value)) is not None]
        counted += [min(sizes)] if sizes else []
    return sum(n == 0 for n in counted), len(counted)


def _counted(key: str, value: Any) -> int | None:
    """Tokens that count, of the response with the fewest; None for what is no mask and no labels."""
    if getattr(value, "ndim", 0) != 2:
        return None
    if key.endswith("labels"):
        return int((value != -100).sum(-1).min())
    return int(value.sum(-1).min()) if key.endswith("completion_mask") else None


def _cut(trainer: Any) -> tuple[int, int]:
    """Rows longer than the trainer's maximal length, of those that carry DPOTrainer's ids."""
    length, dataset = getattr(trainer.args, "max_length", None), trainer.train_dataset
    columns = getattr(dataset, "column_names", None) or ()
    if length is None or not all(name in columns for name in IDS):
        return 0, 0
    sizes = zip(*(map(len, dataset[name]) for name in IDS), strict=True)
    lengths = [prompt + max(chosen, rejected) for prompt, chosen, rejected in sizes]
    return sum(n > length for n in lengths), len(lengths)
