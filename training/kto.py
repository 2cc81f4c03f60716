"""KTO, the loss of single answers with a label (Ethayarajh et al. 2024): functions of log-probs in nats."""

from __future__ import annotations

import torch
from torch import Tensor

from .methods import LossConstants


def reference_point(ratios: Tensor) -> Tensor:
    """z₀ = max(0, mean of log π_θ(y′|x)/π_ref(y′|x)) over *mismatched* answers [answers]: a scalar, detached.

    An answer y′ to another prompt stands in for a sample of the policy in KL(π_θ ‖ π_ref) (eq. 7). No
    gradient flows: the point only says where the loss saturates.
    """
    return ratios.detach().mean().clamp(min=0)


def kto(ratios: Tensor, wanted: Tensor, point: Tensor | float, constants: LossConstants) -> Tensor:
    """λ_D(1 − σ(β(r − z₀))) where wanted, λ_U(1 − σ(β(z₀ − r))) where not; all of shape [answers].

    `ratios`: r = log π_θ(y|x)/π_ref(y|x), summed over the answer's tokens with its end token.
    """
    above = constants.beta * (ratios - point)
    sign = torch.where(wanted, 1.0, -1.0).to(ratios.dtype)
    weight = torch.where(wanted, constants.desirable_weight, constants.undesirable_weight).to(ratios.dtype)
    return weight * torch.sigmoid(-sign * above)
