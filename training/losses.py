"""Losses of preference training: pure functions of log-probs, one a paper, in nats.

Every function takes tensors of shape [pairs] and returns the loss of each pair, shape [pairs]. The
*ratios* are Δ_w = log π_θ(chosen)/π_ref(chosen) and Δ_l = log π_θ(rejected)/π_ref(rejected); a *mean* ratio
is divided by the number of response tokens. All stay finite, and so do their gradients, for whatever finite
log-probs come in: −log σ is linear far out, and log(1 − eˣ) is kept away from x = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .methods import LN2, METHODS, LossConstants, method_of


@dataclass(frozen=True, slots=True)
class Logps:
    """Both sides of a batch of pairs: summed log-probs (nats) and response tokens, each of shape [pairs].

    The end token belongs to both, as to the text that the model must learn to end.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor


def dpo(chosen_ratios: Tensor, rejected_ratios: Tensor, *, beta: float, smoothing: float = 0.0) -> Tensor:
    """−(1 − ε) log σ(βh) − ε log σ(−βh), h = Δ_w − Δ_l.

    ε = 0 is DPO (Rafailov et al. 2023, eq. 7); ε > 0 is conservative DPO (Mitchell 2023, eq. 3). With mean
    ratios it is the length-normalised DPO of Tülu 3 (Lambert et al. 2024, §5).
    """
    h = beta * (chosen_ratios - rejected_ratios)
    return -(1 - smoothing) * logsigmoid(h) - smoothing * logsigmoid(-h)


def robust_dpo(chosen_ratios: Tensor, rejected_ratios: Tensor, *, beta: float, smoothing: float) -> Tensor:
    """[−(1 − ε) log σ(βh) + ε log σ(−βh)] / (1 − 2ε): unbiased when a share ε of the labels is flipped.

    Chowdhury et al. 2024, eq. 12. It may be negative. Raises `ValueError` unless 0 ≤ ε < ½.
    """
    if not 0 <= smoothing < 0.5:
        raise ValueError(f"the share of flipped labels must lie in [0, 0.5), not {smoothing}")
    h = beta * (chosen_ratios - rejected_ratios)
    return (-(1 - smoothing) * logsigmoid(h) + smoothing * logsigmoid(-h)) / (1 - 2 * smoothing)


def ipo(chosen_mean_ratios: Tensor, rejected_mean_ratios: Tensor, *, beta: float) -> Tensor:
    """(h − 1/(2β))², h the difference of the *mean* ratios (Azar et al. 2023, eq. 17, β for its τ).

    The paper writes sums; per-token means are what its authors confirmed to have used, and what TRL computes.
    """
    return (chosen_mean_ratios - rejected_mean_ratios - 1 / (2 * beta)) ** 2


def dpop(chosen_ratios: Tensor, rejected_ratios: Tensor, *, beta: float, penalty: float) -> Tensor:
    """−log σ(β[Δ_w − Δ_l − λ max(0, −Δ_w)]): DPO that pays when a chosen response loses probability.

    Pal et al. 2024, eq. 6. At Δ_w = 0 the gradient is that of plain DPO (relu's is 0 there, clamp's is 1), so
    that an untrained adapter starts like one.
    """
    fallen = torch.relu(-chosen_ratios)
    return -logsigmoid(beta * (chosen_ratios - rejected_ratios - penalty * fallen))


def nll(logps: Tensor, tokens: Tensor) -> Tensor:
    """−log π_θ(response)/|response|: the mean negative log-likelihood of a response, in nats/token."""
    return -logps / tokens


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) for x ≤ 0, exact on both ends (Mächler 2012).

    x is kept below −ε of its dtype, where 1 − eˣ is the smallest that the dtype can tell from nothing: the
    value stays ≥ log ε and the slope ≤ 1/ε.
    """
    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    near = x > -LN2
    # The branch that is not taken must not overflow either: its gradient, 0 · ∞, would be NaN.
    small, large = torch.where(near, x, -LN2), torch.where(near, -LN2, x)
    return torch.where(near, torch.log(-torch.expm1(small)), torch.log1p(-torch.exp(large)))


def odds_ratio(chosen_means: Tensor, rejected_means: Tensor) -> Tensor:
    """−log σ(log odds(chosen) − log odds(rejected)), odds = p/(1 − p), log p the mean log-prob a token.

    The preference term of ORPO (Hong et al. 2024, eq. 7).
    """
    log_odds = chosen_means - rejected_means - (log1mexp(chosen_means) - log1mexp(rejected_means))
    return -logsigmoid(log_odds)


def simpo(chosen_means: Tensor, rejected_means: Tensor, *, beta: float, gamma: float) -> Tensor:
    """−log σ(β(m_w − m_l) − γ), m the mean log-prob a token; no reference (Meng et al. 2024, eq. 6)."""
    return -logsigmoid(beta * (chosen_means - rejected_means) - gamma)


def _ratios(policy: Logps, reference: Logps | None) -> tuple[Tensor, Tensor]:
    if reference is None:
        raise ValueError("this loss compares with a reference; give its log-probs")
    return policy.chosen - reference.chosen, policy.rejected - reference.rejected


def _mean_ratios(policy: Logps, reference: Logps | None) -> tuple[Tensor, Tensor]:
    chosen, rejected = _ratios(policy, reference)
    return chosen / policy.chosen_tokens, rejected / policy.rejected_tokens


def _means(policy: Logps) -> tuple[Tensor, Tensor]:
    return policy.chosen / policy.chosen_tokens, policy.rejected / policy.rejected_tokens


class LossOutcome(NamedTuple):
    """The loss of each pair and the implicit rewards of both sides, all of shape [pairs].

    A reward is what the method compares, times its β: log-ratios for DPO and its kin (means for IPO and
    length-normalised DPO), mean log-probs for ORPO and SimPO, summed log-probs for SFT, which
    compares nothing.
    """

    loss: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


def _outcome(loss: Tensor, sides: tuple[Tensor, Tensor], scale: float) -> LossOutcome:
    return LossOutcome(loss, scale * sides[0], scale * sides[1])


def _sft(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    """NLL of the chosen side, in nats/token; the rejected side is not seen."""
    return LossOutcome(nll(policy.chosen, policy.chosen_tokens), policy.chosen, policy.rejected)


def _dpo(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    sides = _ratios(policy, reference)
    return _outcome(dpo(*sides, beta=constants.beta), sides, constants.beta)


def _cdpo(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    sides = _ratios(policy, reference)
    return _outcome(dpo(*sides, beta=constants.beta, smoothing=constants.smoothing), sides, constants.beta)


def _robust(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    sides = _ratios(policy, reference)
    return _outcome(
        robust_dpo(*sides, beta=constants.beta, smoothing=constants.smoothing), sides, constants.beta
    )


def _ipo(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    sides = _mean_ratios(policy, reference)
    return _outcome(ipo(*sides, beta=constants.beta), sides, constants.beta)


def _dpop(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    sides = _ratios(policy, reference)
    return _outcome(dpop(*sides, beta=constants.beta, penalty=constants.penalty), sides, constants.beta)


def _dpo_nll(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    """DPO + α NLL of the chosen side per token (Pang et al. 2024, eq. 1)."""
    sides = _ratios(policy, reference)
    supervised = nll(policy.chosen, policy.chosen_tokens)
    return _outcome(
        dpo(*sides, beta=constants.beta) + constants.nll_weight * supervised, sides, constants.beta
    )


def _dpo_norm(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    sides = _mean_ratios(policy, reference)
    return _outcome(dpo(*sides, beta=constants.beta), sides, constants.beta)


def _orpo(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    """NLL of the chosen side + λ odds ratio (Hong et al. 2024, eq. 6)."""
    sides, supervised = _means(policy), nll(policy.chosen, policy.chosen_tokens)
    return _outcome(supervised + constants.odds_weight * odds_ratio(*sides), sides, constants.odds_weight)


def _simpo(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    sides = _means(policy)
    return _outcome(simpo(*sides, beta=constants.beta, gamma=constants.gamma), sides, constants.beta)


Equation = Callable[[Logps, Logps | None, LossConstants], LossOutcome]

# Loss and rewards of each method of the table, by name. Raises `KeyError` here for an entry without equation.
EQUATIONS: dict[str, Equation] = {name: globals()[f"_{method.equation}"] for name, method in METHODS.items()}


def outcome(method: str, policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    """Loss and rewards of a batch of pairs under a method. Raises `ProbeError` for an unknown one."""
    method_of(method)
    return EQUATIONS[method](policy, reference, constants)
