"""From log-probs of a micro-batch to its summed loss and the sums that a log row is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .data import Example
from .losses import Logps, outcome
from .methods import UNPAIRED, LossConstants, method_of


@dataclass(frozen=True, slots=True)
class PairLogps:
    """Policy and reference of a micro-batch of pairs. `reference` None: the method has none."""

    policy: Logps
    reference: Logps | None


def summed(logps: Sequence[Tensor]) -> Tensor:
    """Σ of each response's token log-probs, [responses]."""
    return torch.stack([values.sum() for values in logps])


def pair_logps(logps: Sequence[Tensor], items: Sequence[Example], method: str) -> PairLogps:
    """`logps`: chosen and rejected of each item in turn. Raises `ValueError` when a reference is missing."""
    chosen, rejected = summed(logps[::2]), summed(logps[1::2])
    counts = torch.tensor([item.tokens for item in items], dtype=chosen.dtype, device=chosen.device)
    policy = Logps(chosen, rejected, counts[:, 0], counts[:, 1])
    if not method_of(method).reference:
        return PairLogps(policy, None)
    known = [item.reference for item in items if item.reference is not None]
    if len(known) < len(items):
        raise ValueError("a pair has no reference log-probs")
    given = torch.tensor(known, dtype=chosen.dtype, device=chosen.device)
    return PairLogps(policy, Logps(given[:, 0], given[:, 1], counts[:, 0], counts[:, 1]))


def losses_of(batch: PairLogps, method: str, constants: LossConstants) -> Tensor:
    """The loss of each pair [pairs]; for SFT that of its chosen response, in nats/token."""
    return outcome(method, batch.policy, batch.reference, constants).loss


@dataclass(frozen=True, slots=True)
class Sums:
    """What a log row averages, summed over pairs; adding two is adding their fields.

    Of unpaired answers `pairs` counts the wanted ones and `unwanted` the others: each has a mean of its own.
    `kl` sums KTO's reference point over both.
    """

    loss: float = 0.0
    weight: float = 0.0  # pairs, or for SFT response tokens: what the loss is averaged over
    pairs: float = 0.0
    wins: float = 0.0
    margin: float = 0.0
    chosen_reward: float = 0.0
    rejected_reward: float = 0.0
    chosen: float = 0.0
    rejected: float = 0.0
    unwanted: float = 0.0
    kl: float = 0.0

    @classmethod
    def of(cls, losses: Tensor, batch: PairLogps, method: str, constants: LossConstants) -> Sums:
        """The sums of one micro-batch of pairs."""
        with torch.no_grad():
            chosen_rewards, rejected_rewards = rewards(batch, method, constants)
            values = (
                losses.sum(),
                (chosen_rewards > rejected_rewards).sum(),
                (chosen_rewards - rejected_rewards).sum(),
                chosen_rewards.sum(),
                rejected_rewards.sum(),
                batch.policy.chosen.sum(),
                batch.policy.rejected.sum(),
            )
            loss, *rest = torch.stack([value.to(losses.dtype) for value in values]).tolist()  # one transfer
        return cls(loss, float(len(losses)), float(len(losses)), *rest)

    def tensor(self, device: torch.device) -> Tensor:
        """The fields as float64 [fields], to be reduced over processes."""
        return torch.tensor([getattr(self, f) for f in self.__slots__], dtype=torch.float64, device=device)

    @classmethod
    def from_tensor(cls, values: Tensor) -> Sums:
        """The inverse of `tensor`."""
        return cls(*values.tolist())

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, f) + getattr(other, f) for f in self.__slots__))

    def row(self, method: str) -> dict[str, float]:
        """The averages under TRL's names; SFT rows have a loss only."""
        loss = {"loss": self.loss / self.weight}
        if method in UNPAIRED:
            return loss | self._unpaired_row()
        if method == "sft" or not self.pairs:
            return loss
        return loss | {
            "rewards/chosen": self.chosen_reward / self.pairs,
            "rewards/rejected": self.rejected_reward / self.pairs,
            "rewards/accuracies": self.wins / self.pairs,
            "rewards/margins": self.margin / self.pairs,
            "logps/chosen": self.chosen / self.pairs,
            "logps/rejected": self.rejected / self.pairs,
        }

    def _unpaired_row(self) -> dict[str, float]:
        row = {"kl": self.kl / self.weight}
        if self.pairs:
            row |= {
                "rewards/chosen": self.chosen_reward / self.pairs,
                "logps/chosen": self.chosen / self.pairs,
            }
        if self.unwanted:
            rejected = self.rejected_reward / self.unwanted, self.rejected / self.unwanted
            row |= {"rewards/rejected": rejected[0], "logps/rejected": rejected[1]}
        if self.pairs and self.unwanted:
            row["rewards/margins"] = row["rewards/chosen"] - row["rewards/rejected"]
        return row


def rewards(batch: PairLogps, method: str, constants: LossConstants) -> tuple[Tensor, Tensor]:
    """Implicit rewards of both sides, [pairs], as `losses.Outcome` defines them."""
    found = outcome(method, batch.policy, batch.reference, constants)
    return found.chosen_rewards, found.rejected_rewards


def reward_scale(method: str, constants: LossConstants) -> float:
    """What a reward is divided by to be in nats."""
    scale = method_of(method).scale
    return 1.0 if scale is None else float(getattr(constants, scale))
