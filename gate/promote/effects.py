"""What else training taught: attributes and traits of the tuned model's answers against the base's.

The same measures as those of `probe effects`, with the tuned model's answer in the place of the chosen side
and the base's in that of the rejected one: attributes by rule, and where asked for the weight w of each
trait, by the base model.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...pairs.record import Content
from ...probes.effects.attributes import attribute_counts
from ...probes.effects.differ import Counted, differs, judge_attributes
from ...records import Estimate, Finding, Measured, Run, together

if TYPE_CHECKING:
    from ...scoring.session import Session

FEWEST_ANSWERS = 8  # answers, below which nothing is counted
EFFECTS_NAMED = 4  # effects that a finding names


@dataclass(frozen=True, slots=True)
class Spoken:
    """Prompts, and the whole text of the answer to each."""

    prompts: Sequence[Content]
    answers: Sequence[str]


def attributes_moved(base: Spoken, tuned: Spoken, *, alpha: float = 0.05, seed: int = 0) -> Measured:
    """Attributes of the answers, tuned − base, by prompt; nothing where the prompts are others or few.

    Estimates are named `attribute_change:NAME`, in the attribute's units.
    """
    if list(base.prompts) != list(tuned.prompts) or len(base.answers) < FEWEST_ANSWERS:
        return Measured()
    counted = [np.array([attribute_counts(text) for text in side.answers]) for side in (tuned, base)]
    numbers = np.arange(len(base.answers))
    read = Counted(counted[0], counted[1], [int(i) + 1 for i in numbers], numbers)
    found = judge_attributes(read, alpha=alpha, seed=seed)
    rows = found.details["attributes"]
    estimates = tuple(_renamed(e, "attribute") for e in found.estimates)
    told = check_answers([row for row in rows if differs(row, alpha)])
    return Measured(estimates, (told,) if told else (), found.details)


def traits_moved(
    session: Session, base: Spoken, tuned: Spoken, *, alpha: float = 0.05, seed: int = 0
) -> Measured:
    """How far the tuned answers are what a trait's system text would have made of the base's, nats/token.

    `session` holds the base model. Estimates are named `effect_change:NAME` and `weight_change:NAME`.
    Prompts of which an answer is empty, or both are alike, say nothing and are left out.
    """
    from ...probes.effects.run import EffectsOptions, traits_in
    from ...probes.effects.traits import TRAITS
    from ...scoring.session import Source

    rows = [
        {"prompt": p, "chosen": new, "rejected": old}
        for p, new, old in zip(base.prompts, tuned.answers, base.answers, strict=True)
        if new.strip() and old.strip() and new != old
    ]
    if list(base.prompts) != list(tuned.prompts) or len(rows) < FEWEST_ANSWERS:
        return Measured()
    with tempfile.TemporaryDirectory(prefix="probe-") as place:
        path = Path(place) / "answers.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        options = EffectsOptions(TRAITS, most=len(rows), alpha=alpha, seed=seed)
        opened = replace(session, source=Source.of(path, None, None, False))
        found = traits_in(opened, options)
    estimates = tuple(_renamed(e, e.name.partition(":")[0]) for e in found.estimates)
    told = check_traits([row for row in found.details["effects"] if row["verdict"] != "not shown"])
    return Measured(estimates, (told,) if told else (), found.details)


def _renamed(estimate: Estimate, family: str) -> Estimate:
    return replace(estimate, name=estimate.name.replace(f"{family}:", f"{family}_change:", 1))


def with_effects(run: Run, parts: Sequence[Measured]) -> Run:
    """`run` with what was measured of the answers; it decides nothing."""
    whole = together(parts)
    return replace(
        run,
        estimates=(*run.estimates, *whole.estimates),
        findings=(*run.findings, *whole.findings),
        details={**run.details, **whole.details},
    )


def check_answers(rows: Sequence[dict[str, Any]]) -> Finding | None:
    """PB906 answers changed: the tuned model's answers have more, or less, of something than the base's.

    Means: counted by a fixed rule in answers to the same prompts, an attribute differs between the models by
    at least as much as PB251 asks for, by an exact test under Holm's correction
    over all attributes.
    Why: what training taught beside its purpose shows in the answers that the model writes, not in the
    margins.
    Do: nothing where it is the purpose; else look at what the pairs differ in (`probe effects`), match their
    sides on it, and train again.
    Source: the rules of `probe effects`; the tests are those of PB251.
    """
    if not rows:
        return None
    told = [f"{r['attribute']} (d {r['d']:+.2f})".replace("-", "−") for r in rows]
    return Finding(
        "PB906",
        "info",
        f"the tuned model's answers differ in {_listed(told)}",
        "Where that is not the purpose, see what the pairs differ in: probe effects PAIRS.",
    )


def check_traits(rows: Sequence[dict[str, Any]]) -> Finding | None:
    """PB907 answers moved: the tuned model's answers went towards a trait, or away from it.

    Means: to the base model, a system text that asks for the trait makes the tuned model's answers likelier
    (or less likely) than the base's own, beyond control texts, by a test that exchanges the two models'
    answers, under Holm's correction over all traits.
    Why: it is the outcome of which PB250 is the forecast.
    Do: read the answers; nothing where it is the purpose.
    Source: logit-linear selection, arXiv 2602.04863, applied to answers.
    """
    if not rows:
        return None
    told = [f"{'towards' if r['verdict'] == 'taught' else 'away from'} {r['trait']}" for r in rows]
    return Finding(
        "PB907",
        "warning",
        f"the tuned model's answers moved {_listed(told)}",
        "Read the answers of both models.",
    )


def _listed(told: Sequence[str]) -> str:
    more = f" and {len(told) - EFFECTS_NAMED} more" if len(told) > EFFECTS_NAMED else ""
    return f"{', '.join(told[:EFFECTS_NAMED])}{more}"
