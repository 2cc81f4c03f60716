"""One optimizer step: gradients of the whole batch in micro-batches, over all processes, then one update."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from ..scoring.scores import EncodedSide
from .data import Example, micro_batches, pair_cost, sides_of
from .objective import PairLogps, Sums, losses_of, pair_logps
from .recipes import Recipe

Item = Example | EncodedSide  # a pair, or for SFT a general text


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a step did. Not `finite`: loss or gradient were not, and the weights were left alone."""

    sums: Sums
    grad_norm: float | None
    finite: bool


@dataclass(frozen=True, slots=True)
class Stepper:
    """The prepared objects of a stage and how a batch is cut."""

    accelerator: Accelerator
    policy: torch.nn.Module
    optimizer: Any
    scheduler: Any
    recipe: Recipe
    micro_tokens: int
    seen: Callable[[Sequence[Example], PairLogps], None] | None = None  # told of pairs before their update

    def __call__(self, items: Sequence[Example], texts: Sequence[EncodedSide] = ()) -> StepOutcome:
        """Train on a batch of pairs (and, for SFT, texts).

        The loss is the mean over all pairs of the step (SFT: over all response tokens), however they are cut
        into micro-batches and shared over processes.
        """
        return self._update(self.gradients(items, texts))

    def gradients(self, items: Sequence[Example], texts: Sequence[EncodedSide] = ()) -> Sums:
        """The gradients of a batch, added to what the parameters have; returns sums over all processes."""
        accelerator = self.accelerator
        batch: list[Item] = [*items, *texts]
        weight = self._weight(batch)
        parts = self._parts(batch[accelerator.process_index :: accelerator.num_processes])
        sums = Sums()
        for part in parts[:-1]:
            with accelerator.no_sync(self.policy):
                sums += self._backward(part, weight)
        # A process without a pair of its own still takes part in the exchange of gradients.
        sums += (
            self._backward(parts[-1], weight) if parts else self._backward([batch[0]], weight, nothing=True)
        )
        if accelerator.num_processes == 1:
            return sums
        return Sums.from_tensor(accelerator.reduce(sums.tensor(accelerator.device), "sum"))

    def _update(self, sums: Sums) -> StepOutcome:
        accelerator = self.accelerator
        norm = accelerator.clip_grad_norm_(self.policy.parameters(), self.recipe.clip)
        norm = None if norm is None else float(norm)
        # A gradient scaler looks at the gradient itself, and skips the step.
        unscaled = accelerator.scaler is None and norm is not None
        finite = math.isfinite(sums.loss) and (not unscaled or math.isfinite(norm or 0.0))
        if finite:
            self.optimizer.step()
            if not accelerator.optimizer_step_was_skipped:
                self.scheduler.step()
        self.optimizer.zero_grad()
        return StepOutcome(sums, norm, finite)

    def _weight(self, batch: Sequence[Item]) -> float:
        if self.recipe.method != "sft":
            return float(len(batch))
        return float(sum(len(side.ids) - side.start for side in map(chosen_side, batch)))

    def _parts(self, batch: Sequence[Item]) -> list[list[Item]]:
        """Micro-batches: equal beginnings side by side, so that they are computed once."""
        items = sorted(batch, key=lambda item: chosen_side(item).ids)
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            return [items]  # its engine updates at every backward
        return [
            [items[i] for i in part]
            for part in micro_batches(list(map(self._cost, items)), self.micro_tokens)
        ]

    def _cost(self, item: Item) -> int:
        if isinstance(item, EncodedSide) or self.recipe.method == "sft":
            return len(chosen_side(item).ids)
        return pair_cost(item)

    def _backward(self, part: Sequence[Any], weight: float, *, nothing: bool = False) -> Sums:
        """Gradients of one micro-batch; with `nothing` they are 0."""
        with self.accelerator.unwrap_model(self.policy).attending():
            loss, sums = self._sft(part) if self.recipe.method == "sft" else self._preference(part)
            # Processes average their gradients, and the loss is divided by the whole step's weight.
            self.accelerator.backward(loss * (0.0 if nothing else self.accelerator.num_processes / weight))
        return Sums() if nothing else sums

    def _sft(self, part: Sequence[Item]) -> tuple[torch.Tensor, Sums]:
        logps = self.policy([chosen_side(item) for item in part])
        loss = -torch.stack([values.sum() for values in logps]).sum()
        return loss, Sums(loss=float(loss.detach()), weight=float(sum(len(values) for values in logps)))

    def _preference(self, part: Sequence[Example]) -> tuple[torch.Tensor, Sums]:
        method, constants = self.recipe.method, self.recipe.constants
        batch = pair_logps(self.policy(sides_of(part)), part, method)
        if self.seen is not None:
            self.seen(part, batch)
        losses = losses_of(batch, method, constants)
        return losses.sum(), Sums.of(losses.detach(), batch, method, constants)


def chosen_side(item: Item) -> EncodedSide:
    """What SFT trains on."""
    return item if isinstance(item, EncodedSide) else item.codes.chosen
