"""How much each pair would teach a trait: the weight w of logit-linear selection, from four log-probs.

w = {[log p(c|s,x) − log p(c|x)] − [log p(r|s,x) − log p(r|x)]} / (|c| + |r|), nats/token, where s is the
trait as a system text, c and r the sides, |·| their tokens. Source: arXiv 2602.04863.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...number_format import interval, number
from ...records import NATS_PER_TOKEN, Estimate, Finding, Measured
from ...scoring.scores import PairScore
from ...stats.resampling import sign_flip
from ...stats.several import holm
from ...stats.statistics import Floats, mean_estimate
from .attributes import estimate_name

RESPONSIBLE = 10  # pairs named per trait


def trait_weights(plain: Sequence[PairScore], under: Sequence[PairScore]) -> Floats:
    """w of each pair, shape [pairs]; both hold the same pairs in the same order."""
    return np.array([_weight(a, b) for a, b in zip(plain, under, strict=True)])


def _weight(plain: PairScore, under: PairScore) -> float:
    chosen = under.chosen.logps - plain.chosen.logps
    rejected = under.rejected.logps - plain.rejected.logps
    return (chosen - rejected) / (plain.chosen.tokens + plain.rejected.tokens)


@dataclass(frozen=True, slots=True)
class Effect:
    """What the pairs would teach of one trait.

    `excess` is the mean of w beyond the mean over the control texts; `p` that of exchanging the sides, the
    larger of w's and of the excess's, after Holm over all traits. `share`: pairs whose excess is above 0.
    `counts`: 1 taught, −1 its contrary taught, 0 not shown. `lines`: the pairs with the most excess.
    """

    trait: str
    text: str
    mean: Estimate
    excess: Estimate
    control: float
    p: float
    share: float
    counts: int
    lines: tuple[int, ...]


def judge_weights(
    weights: Mapping[str, Floats],
    controls: Mapping[str, Floats],
    texts: Mapping[str, str],
    lines: Sequence[int],
    clusters: npt.NDArray[np.int64],
    *,
    alpha: float = 0.05,
    seed: int = 0,
) -> list[Effect]:
    """Each trait against its controls [controls, pairs]; those with the largest excess first.

    A trait counts when both w and its excess differ from 0 by exchanging the sides of whole prompts (Holm
    over the traits), with one sign, and |mean w| is above every control's. All of it changes its sign, and
    nothing else, when the two sides are exchanged.
    """
    raw, names = [], list(weights)
    for name in names:
        tests = (weights[name], weights[name] - controls[name].mean(axis=0))
        raw.append(max(sign_flip(values, clusters, seed=seed).p for values in tests))
    adjusted = holm(raw)
    effects = [
        _effect(name, texts[name], weights[name], controls[name], lines, clusters, float(p), alpha)
        for name, p in zip(names, adjusted, strict=True)
    ]
    return sorted(effects, key=lambda effect: -(effect.excess.value or 0.0))


def _effect(
    name: str, text: str, w: Floats, controls: Floats, lines: Sequence[int],
    clusters: npt.NDArray[np.int64], p: float, alpha: float,
) -> Effect:  # fmt: skip
    excess = w - controls.mean(axis=0)
    method = f"system text against {len(controls)} controls"
    weight, effect = (estimate_name(kind, name) for kind in ("weight", "effect"))
    mean = mean_estimate(w, name=weight, units=NATS_PER_TOKEN, clusters=clusters, alpha=alpha)
    mean = replace(mean, p=p, method=f"{mean.method}; sides exchanged, Holm; {method}")
    beyond = mean_estimate(excess, name=effect, units=NATS_PER_TOKEN, clusters=clusters, alpha=alpha)
    beyond = replace(beyond, p=p, method=mean.method)
    largest = float(np.abs(controls.mean(axis=1)).max())
    signs = {float(np.sign(w.mean())), float(np.sign(excess.mean()))}
    shown = p <= alpha and len(signs) == 1 and abs(float(w.mean())) > largest
    sign = int(signs.pop()) if shown else 0
    order = np.argsort(-excess if sign >= 0 else excess, kind="stable")[:RESPONSIBLE]
    told = tuple(int(lines[i]) for i in order if excess[i] * (sign or 1) > 0)
    return Effect(name, text, mean, beyond, largest, p, float((excess > 0).mean()), sign, told)


def measured_effects(effects: Sequence[Effect], intended: Sequence[str], n: int) -> Measured:
    """Estimates, findings and table rows of the traits."""
    findings = [check_trait(effect, n) for effect in effects if effect.trait not in intended]
    rows = [{**_row(effect), "intended": effect.trait in intended} for effect in effects]
    estimates = [e for effect in effects for e in (effect.mean, effect.excess)]
    return Measured(tuple(estimates), tuple(f for f in findings if f), {"effects": rows})


def _row(effect: Effect) -> dict[str, object]:
    verdict = {1: "taught", -1: "its contrary", 0: "not shown"}[effect.counts]
    return {
        "trait": effect.trait,
        "text": effect.text,
        "w": effect.mean.value,
        "excess": effect.excess.value,
        "low": effect.excess.low,
        "high": effect.excess.high,
        "control": effect.control,
        "share": effect.share,
        "p": effect.p,
        "verdict": verdict,
        "lines": list(effect.lines),
    }


def check_trait(effect: Effect, n: int) -> Finding | None:
    """PB250 trait taught: the pairs favour a trait that a system text asks for and that nobody asked for.

    Means: under a system text that asks for the trait, the chosen sides gain more log-prob than the rejected
    ones, per token of both, beyond what control texts of the same length do, by a test that exchanges the
    sides of whole prompts, under Holm's correction over all traits measured.
    Why: to first order, preference training moves the model as a system text does whose weights w are
    positive; published runs on the pairs with the highest w taught a 1B model the trait.
    Do: read the named pairs; rewrite or drop those that carry the trait, or accept it with `--intended NAME`.
    Source: logit-linear selection, arXiv 2602.04863. As a forecast: docs/effects-and-levers.md.
    """
    if effect.counts <= 0:
        return None
    bounds = interval(effect.excess.low, effect.excess.high, NATS_PER_TOKEN)
    return Finding(
        "PB250",
        "warning",
        f"the pairs teach {effect.trait}: its mean weight w is {number(effect.excess.value, NATS_PER_TOKEN)} "
        f"{bounds} {NATS_PER_TOKEN} beyond the controls, and positive in {effect.share:.0%} of {n} pairs",
        f'Read the named pairs; accept it with --intended "{effect.trait}".',
        lines=effect.lines,
        estimate=effect.excess,
    )
