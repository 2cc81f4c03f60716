"""The methods by name and the constants of their losses. No torch: recipes and commands read this too."""

from __future__ import annotations

from dataclasses import dataclass

# Each method with the constants that its loss reads.
CONSTANTS: dict[str, tuple[str, ...]] = {
    "sft": (),
    "dpo": ("beta",),
    "cdpo": ("beta", "smoothing"),
    "robust": ("beta", "smoothing"),
    "ipo": ("beta",),
    "dpop": ("beta", "penalty"),
    "dpo_nll": ("beta", "nll_weight"),
    "dpo_norm": ("beta",),
    "orpo": ("odds_weight",),
    "simpo": ("beta", "gamma"),
}
METHODS = tuple(CONSTANTS)
WITHOUT_REFERENCE = frozenset({"sft", "orpo", "simpo"})
# Losses of at least −log σ(reward margin), with ln 2 at the start where nothing is added.
JENSEN = frozenset({"dpo", "dpop", "dpo_nll"})
STARTS_AT_LN2 = frozenset({"dpo", "dpop"})


@dataclass(frozen=True, slots=True)
class Shape:
    """The constants of the losses; each loss reads those that its paper names.

    `beta`: DPO's β (IPO's τ, SimPO's β). `smoothing`: ε, the share of labels taken to be flipped. `penalty`:
    DPOP's λ. `nll_weight`: α of DPO + NLL. `odds_weight`: ORPO's λ. `gamma`: SimPO's target margin γ.
    """

    beta: float = 0.1
    smoothing: float = 0.0
    penalty: float = 50.0
    nll_weight: float = 1.0
    odds_weight: float = 0.1
    gamma: float = 1.0
