"""The guard as a callback for other people's training scripts (TRL's DPO, ORPO, CPO, KTO, SFT trainers)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .checkpoint import put_weights, trainable_weights
from .guard import State, watch_held_out, watch_step
from .guard_records import Event, GuardLimits
from .rows import held_out_name, numeric_field, read_held_out, read_step, unprefixed


class GuardCallback(TrainerCallback):  # type: ignore[misc]
    """Stops a run that fails, and gives back its best weights.

    ```
    from probe.training import GuardCallback
    trainer = DPOTrainer(..., eval_dataset=held_out, callbacks=[GuardCallback()])
    ```

    Numerical failure and impossible logs are seen on training rows; displacement, saturation and over-fitting
    need an `eval_dataset` (several are fine: each is watched, the first one chooses the best state). With
    `restore`, trainable weights are copied to the CPU at each new best evaluation and put back when a rule
    asks for it; sharded runs (FSDP, DeepSpeed) are stopped without that. `events` holds what was seen.
    """

    def __init__(self, limits: GuardLimits | None = None, *, restore: bool = True) -> None:
        self.limits = limits or GuardLimits()
        self.restore = restore
        self.events: list[Event] = []
        self.train = State()
        self.sets: dict[str, State] = {}  # by evaluation set
        self._start_logps: dict[str, float] = {}
        self._best: tuple[int, dict[str, torch.Tensor]] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember the weights that the run starts from: they are the best so far."""
        self._remember(state.global_step, args, kwargs.get("model"))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge one row of the log."""
        row = logs or {}
        name = held_out_name(row)
        if name is not None:
            events = self._held_out(name, row, args, state, kwargs.get("model"))
        else:
            events = self._step(row, args, state)
        for event in events:
            self._say(event, state)
        self.events += events
        if any(event.action != "warn" for event in events):
            control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the best weights back when a rule asked for it."""
        if self._best is None or not any(event.action == "rollback" for event in self.events):
            return
        step, weights = self._best
        put_weights(kwargs["model"], weights)
        print(f"probe guard: the weights of step {step} are back in place", file=sys.stderr)

    def _step(self, row: Mapping[str, Any], args: TrainingArguments, state: TrainerState) -> list[Event]:
        step = read_step(row, state.global_step, _beta(args))
        if step is None:
            return []
        self.train, events = watch_step(
            self.train,
            step,
            self.limits,
            dpo=_is_dpo(args),
            scaled=args.fp16,
            total_steps=state.max_steps if state.max_steps > 0 else None,
        )
        return events

    def _held_out(
        self, name: str, row: Mapping[str, Any], args: TrainingArguments, state: TrainerState, model: Any
    ) -> list[Event]:
        if not _has_reference(args) and (logps := numeric_field(unprefixed(row), "logps/chosen")) is not None:
            self._start_logps.setdefault(name, logps)
        now = read_held_out(
            row, state.global_step, _beta(args), start_logps=self._start_logps.get(name), means=_means(args)
        )
        known = replace(self.sets.get(name, State()), steps=self.train.steps)
        self.sets[name], events = watch_held_out(known, now, self.limits)
        best = self.sets[name].best
        if name == next(iter(self.sets)) and best and best.step == state.global_step:
            self._remember(state.global_step, args, model)
        return events

    def _remember(self, step: int, args: TrainingArguments, model: Any) -> None:
        if (
            not self.restore
            or model is None
            or getattr(args, "fsdp", None)
            or getattr(args, "deepspeed", None)
        ):
            return
        self._best = step, {name: weight.clone() for name, weight in trainable_weights(model).items()}

    def _say(self, event: Event, state: TrainerState) -> None:
        if state.is_world_process_zero:
            print(
                f"probe guard: step {event.step}: {event.action}: {event.code} {event.text}", file=sys.stderr
            )


def _beta(args: TrainingArguments) -> float:
    return float(getattr(args, "beta", None) or 1.0)


def _has_reference(args: TrainingArguments) -> bool:
    return hasattr(args, "precompute_ref_log_probs")


def _means(args: TrainingArguments) -> bool:
    """Whether a trainer without a reference logs log-probs a token; CPO and TPO do for some losses alone."""
    kind = getattr(args, "loss_type", None)  # ORPO has none, and always does
    return kind is None or kind in ("ipo", "simpo", "tpo-l")


# What changes DPO's loss, and the value at which it does not.
PLAIN_DPO: dict[str, Any] = {
    "label_smoothing": None, "loss_weights": None, "use_weighting": None, "rpo_alpha": None,
    "reference_free": None, "f_divergence_type": "reverse_kl",
}  # fmt: skip


def _is_dpo(args: TrainingArguments) -> bool:
    """Whether the loss is plain −log σ(reward margin), whose value at the start and whose floor are known."""
    kinds = getattr(args, "loss_type", None)
    kinds = [kinds] if isinstance(kinds, str) else kinds
    given = {name: getattr(args, name, plain) for name, plain in PLAIN_DPO.items()}
    same = all(
        (getattr(given[name], "value", given[name]) or None) == plain for name, plain in PLAIN_DPO.items()
    )
    return _has_reference(args) and kinds == ["sigmoid"] and same
