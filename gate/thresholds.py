"""The limits of the decision table, each with where it comes from."""

from __future__ import annotations

from .conditions import RULES
from .run_facts import Threshold


def _limit(name: str) -> float:
    limit = RULES[name].limit
    assert limit is not None
    return limit


THRESHOLDS: dict[str, Threshold] = {
    "length_accuracy": Threshold(
        _limit("length_accuracy"),
        "share",
        "Singhal et al. 2023",
        "above it length alone tells the sides apart",
    ),
    "trial_accuracy": Threshold(
        _limit("trial_accuracy"), "share", "exact, chance", "at it nothing is learned"
    ),
    "strong_trial": Threshold(
        0.8,
        "share",
        "measured on 2 sets, SmolLM2-135M-Instruct",
        "above it DPO alone did no worse than SFT, then DPO",
    ),
    "template_share": Threshold(
        _limit("template_share"),
        "share",
        "convention",
        "below it the chosen side has no form for SFT to learn",
    ),
    "flip_budget_share": Threshold(
        _limit("flip_budget_share"),
        "share",
        "convention on an exact theorem",
        "above it most pairs will not flip",
    ),
    "agreement": Threshold(_limit("agreement"), "share", "convention", "below it the labels are not trusted"),
    "orpo_size": Threshold(1e9, "weights", "Hong et al. 2024: loses to DPO at 125M", "least size for ORPO"),
    "anchor_size": Threshold(
        1e9, "weights", "published at 7B and above", "DPOP and DPO + NLL are tested above"
    ),
}
