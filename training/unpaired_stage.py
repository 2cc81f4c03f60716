"""A stage of KTO: answers with a label each, under the guard of any other stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..scoring.scores import EncodedSide
from .data import Example
from .evaluate import chosen_change, side_sums
from .guard_records import HeldOut
from .kto import kto, reference_point
from .loop import Stage
from .methods import LossConstants
from .objective import Sums, summed
from .plan import Material
from .rules import non_finite
from .step import Item, Stepper


@dataclass(frozen=True, slots=True)
class UnpairedExample(Example):
    """An answer with its label, ready for training.

    The sides of its `codes` are the answer and, as the rejected one, another prompt's answer under this
    prompt, for KTO's reference point; `reference` has the log-probs of both. `point` is z₀ of its batch.
    """

    wanted: bool = True
    point: float = 0.0
    compares: ClassVar[bool] = False


def wanted_alone(material: Material) -> Material:
    """What SFT trains on: pairs as they are, of unpaired answers the wanted ones."""
    train, held_out = (
        [item for item in items if getattr(item, "wanted", True)]
        for items in (material.train, material.held_out)
    )
    return replace(material, train=train, held_out=held_out)


class KtoStepper(Stepper):
    """Updates by KTO. z₀ is that of the whole batch over all processes, however it is cut."""

    __slots__ = ()

    def gradients(self, items: Sequence[Example], texts: Sequence[EncodedSide] = ()) -> Sums:
        """As `Stepper.gradients`, after a forward over the mismatched answers without a gradient."""
        others = [item.codes.rejected for item in items]
        sums = side_sums(self.policy, self.accelerator, others, self.micro_tokens)
        known = [reference_of(item)[1] for item in items]
        moved = np.array(sums, dtype=np.float64) - np.array(known)
        point = float(reference_point(torch.from_numpy(moved)))
        return super().gradients([replace(item, point=point) for item in items], texts)  # type: ignore[call-arg]

    def _cost(self, item: Item) -> int:
        assert isinstance(item, Example)
        return len(item.codes.chosen.ids)

    def _preference(self, part: Sequence[Any]) -> tuple[Tensor, Sums]:
        logps = summed(self.policy([item.codes.chosen for item in part]))
        losses, sums = losses_and_sums(logps, part, self.recipe.constants)
        return losses.sum(), sums


def reference_of(item: Example) -> tuple[float, float]:
    """Σ log p of the answer and of the mismatched one under the reference. Raises `ValueError` without."""
    if item.reference is None:
        raise ValueError("an answer has no reference log-probs")
    return item.reference


def losses_and_sums(
    logps: Tensor, items: Sequence[UnpairedExample], constants: LossConstants
) -> tuple[Tensor, Sums]:
    """The loss of each answer from its summed log-prob [answers] and its point, and the sums of the log."""
    known = torch.tensor([reference_of(item)[0] for item in items], dtype=logps.dtype, device=logps.device)
    point = torch.tensor([item.point for item in items], dtype=logps.dtype, device=logps.device)
    wanted = torch.tensor([item.wanted for item in items], device=logps.device)
    losses = kto(logps - known, wanted, point, constants)
    with torch.no_grad():
        rewards, first = constants.beta * (logps - known), wanted.to(logps.dtype)
        other = 1 - first
        parts = (losses, first * rewards, other * rewards, first * logps, other * logps, first, other, point)
        loss, up, down, chosen, rejected, pairs, unwanted, kl = torch.stack([p.sum() for p in parts]).tolist()
    return losses, Sums(
        loss=loss, weight=float(len(items)), pairs=pairs, chosen_reward=up, rejected_reward=down,
        chosen=chosen, rejected=rejected, unwanted=unwanted, kl=kl,
    )  # fmt: skip


class UnpairedStage(Stage):
    """One stage of KTO on `UnpairedExample`s."""

    stepper = KtoStepper

    def judged(
        self, sums: Sequence[float], items: Sequence[Example], step: int
    ) -> tuple[dict[str, Any], HeldOut]:
        """As `evaluation_row`; the point is that of all held-out answers, the change that of wanted ones."""
        found, constants = np.asarray(sums, dtype=np.float64).reshape(-1, 2), self.recipe.constants
        known = np.array([reference_of(item) for item in items])
        point = float(reference_point(torch.from_numpy(found[:, 1] - known[:, 1])))
        here: list[Any] = [replace(item, point=point) for item in items]  # type: ignore[call-arg]
        _, totals = losses_and_sums(torch.from_numpy(found[:, 0].copy()), here, constants)
        row = {f"eval_{key}": value for key, value in totals.row(self.recipe.method).items()}
        wanted = np.array([item.wanted for item in here])
        some = [item for item in here if item.wanted]
        tokens = np.array([item.tokens for item in here], dtype=np.float64)
        change, high = chosen_change(found[wanted], tokens[wanted], some) if some else (None, None)
        margin = row.get("eval_rewards/margins")
        return row, HeldOut(
            step=step, loss=totals.loss / totals.weight,
            margin=None if margin is None else margin / constants.beta,
            chosen_change=change, chosen_high=high, bad=non_finite(row),
        )  # fmt: skip
