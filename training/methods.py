"""The table of training methods: what each is, one entry per method.

No torch is imported: recipes, probes and commands read this too.

A new loss of pairs is one entry in `METHODS` and its equation in `losses.py`, which returns loss and rewards
together; one of unpaired answers an entry in `UNPAIRED` and its equation in `kto.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ProbeError

LN2 = math.log(2.0)  # the loss of methods that start where the reference is
Rates = tuple[tuple[float, float], tuple[float, float]]

# Learning rates that shipped recipes use, lowest and highest: (all weights, LoRA). alignment-handbook,
# open-instruct, SimPO, eric-mitchell, xfactlab ORPO, LlamaFactory, Axolotl, torchtune, TRL.
DPO_RATES: Rates = ((2e-7, 2e-5), (5e-6, 5e-4))


@dataclass(frozen=True, slots=True)
class Method:
    """One training method.

    `constants`: fields of `LossConstants` that its equation reads; their ranges stand in `ranges.RANGES`.
    `scale`: the constant that a reward is divided by to be in nats; None: rewards are in nats.
    `equation`: the function in `losses.py`, without its underscore, or in `kto.py`.
    `bounded`: the loss is at least −log σ(reward margin).
    `starts_at_ln2`: the loss is ln 2 where the policy equals the reference.
    `row`: the stage of `shipped.RECIPES` that gives learning rate and epochs; `values` and `source` say what
    differs from it, `least_rate` the lowest learning rate that is taken.
    `rates`: the learning rates that recipes ship, (lowest, highest) for all weights and for LoRA.
    `exports`: what a tool's config calls the loss; a tool that is absent cannot train it.
    """

    equation: str
    constants: tuple[str, ...] = ("beta",)
    scale: str | None = "beta"
    reference: bool = True
    bounded: bool = False
    starts_at_ln2: bool = False
    row: str = "dpo"
    values: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    least_rate: float = 0.0
    rates: Rates = DPO_RATES
    exports: Mapping[str, Any] = field(default_factory=dict)


METHODS: dict[str, Method] = {
    "sft": Method(
        "sft", constants=(), scale=None, reference=False, row="sft",
        rates=((2e-5, 1e-3), (1e-4, 2e-4)),
        exports=dict.fromkeys(
            ("trl", "axolotl", "llamafactory", "alignment-handbook", "mlx-lm-lora", "openai")
        ),
    ),
    "dpo": Method(
        "dpo", bounded=True, starts_at_ln2=True,
        exports={
            "trl": ["sigmoid"], "axolotl": "dpo", "llamafactory": "sigmoid",
            "alignment-handbook": None, "mlx-lm-lora": "sigmoid", "openai": None,
        },
    ),
    "cdpo": Method(
        "cdpo", constants=("beta", "smoothing"), starts_at_ln2=True,
        values={"smoothing": 0.1}, source="Mitchell 2023; ε = 1 − label agreement where that is known",
        exports={"trl": ["sigmoid"], "axolotl": "dpo", "llamafactory": "sigmoid"},
    ),
    "robust": Method(
        "robust", constants=("beta", "smoothing"), starts_at_ln2=True,
        values={"smoothing": 0.1}, source="Chowdhury et al. 2024; ε as for cdpo",
    ),
    "ipo": Method(
        "ipo", source="Azar et al. 2023",
        exports={"trl": ["ipo"], "axolotl": "dpo", "llamafactory": "ipo", "mlx-lm-lora": "ipo"},
    ),
    "dpop": Method(
        "dpop", constants=("beta", "penalty"), bounded=True, starts_at_ln2=True,
        values={"beta": 0.3, "penalty": 50.0}, source="Pal et al. 2024",
    ),
    "dpo_nll": Method(
        "dpo_nll", constants=("beta", "nll_weight"), bounded=True,
        values={"beta": 0.1, "nll_weight": 1.0}, source="Pang et al. 2024",
        exports={"trl": ["sigmoid", "sft"], "axolotl": "dpo", "llamafactory": "sigmoid"},
    ),
    "dpo_norm": Method(
        "dpo_norm", starts_at_ln2=True,
        values={"beta": 5.0}, source="open-instruct, 8B full tuning",
        exports={"trl": ["sigmoid_norm"], "axolotl": "dpo"},
    ),
    "orpo": Method(
        "orpo", constants=("odds_weight",), scale="odds_weight", reference=False,
        values={"odds_weight": 0.1}, source="Hong et al. 2024",
        least_rate=8e-6,  # Hong et al. 2024; LoRA takes DPO's rate, which is higher where measured
        rates=((5e-6, 5e-6), (5e-6, 2e-4)),
        exports={"axolotl": "orpo", "llamafactory": "orpo", "alignment-handbook": None},
    ),
    "simpo": Method(
        "simpo", constants=("beta", "gamma"), reference=False,
        values={"beta": 2.0, "gamma": 1.0}, source="Meng et al. 2024: β 2–10, γ/β .1–.8",
        rates=((3e-7, 1e-6), (5e-6, 5e-4)),
    ),
}  # fmt: skip


# Losses of single answers with a label.
UNPAIRED: dict[str, Method] = {
    "kto": Method(
        "kto", constants=("beta", "desirable_weight", "undesirable_weight"),
        values={"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0},
        source="Ethayarajh et al. 2024, eq. 7; the rarer label weighs as much as the other (eq. 8)",
        rates=((5e-7, 5e-6), DPO_RATES[1]),
    ),
}  # fmt: skip


def method_of(name: str, where: str = "--method", more: str = "") -> Method:
    """The entry of a method, of pairs or of unpaired answers. `where` it was named begins the message, `more`
    ends its list of methods.

    Raises `ProbeError` for a name that is none.
    """
    if name in UNPAIRED:
        return UNPAIRED[name]
    if name not in METHODS:
        known = ", ".join(METHODS)
        raise ProbeError(f"{where}: {name!r} is not a method. Use {known}{more}.")
    return METHODS[name]


def stages_of(method: str, where: str = "--method", *, unpaired: bool = False) -> tuple[str, ...]:
    """The stages of a method: `sft+dpo` → ("sft", "dpo"). `dpo+nll`, as decisions call it, is one loss.

    Raises `ProbeError` for what is no method, and for one that cannot be trained on such data.
    """
    stages = tuple(part.strip() for part in method.replace("dpo+nll", "dpo_nll").split("+"))
    for stage in stages:
        method_of(stage, where, ", or stages such as sft+dpo")
        if unpaired and stage not in (*UNPAIRED, "sft"):
            raise ProbeError(
                f"{where} {method}: {stage} compares two sides, and these are answers with a label each. Use "
                "kto, sft or sft+kto, or make pairs: `probe unpaired FILE --to PAIRS`."
            )
        if not unpaired and stage in UNPAIRED:
            raise ProbeError(
                f"{where} {method}: {stage} takes answers with a label each (prompt, completion, label), and "
                "these are pairs. Use dpo or another loss of pairs."
            )
    return stages


def exported(tool: str) -> dict[str, Any]:
    """The methods that a tool trains, each with what its config calls the loss (None: it needs no name)."""
    return {name: method.exports[tool] for name, method in METHODS.items() if tool in method.exports}


@dataclass(frozen=True, slots=True)
class LossConstants:
    """The constants of the losses; each loss reads those that its paper names.

    `beta`: DPO's β (IPO's τ, SimPO's β). `smoothing`: ε, the share of labels taken to be flipped. `penalty`:
    DPOP's λ. `nll_weight`: α of DPO + NLL. `odds_weight`: ORPO's λ. `gamma`: SimPO's target margin γ.
    `desirable_weight`, `undesirable_weight`: KTO's λ_D and λ_U.
    """

    beta: float = 0.1
    smoothing: float = 0.0
    penalty: float = 50.0
    nll_weight: float = 1.0
    odds_weight: float = 0.1
    gamma: float = 1.0
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
