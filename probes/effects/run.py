"""The run behind `probe effects`: attributes by rules first, then one scoring pass a trait."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import config
from ...errors import ProbeError
from ...number_format import count
from ...pairs.record import Pair
from ...records import Measured, Run, together
from ...runs import environment, now
from ...scoring.flags import left_out, reasons_left_out, remedy_left_out
from ...scoring.scores import PairScore
from ...scoring.session import ModelOptions, Session, Source
from ...scoring.told import met_findings, misread_findings
from ...stats.statistics import Floats
from ..clusters import prompt_clusters
from ..contexts import place_of_system
from ..cost import added, clocked
from ..negatives.triviality import sample_of
from .attributes import ATTRIBUTE_NAMES
from .differ import count_attributes, judge_attributes
from .traits import Trait, check_intended, controls, traits_to_measure, words_of_trait
from .weights import judge_weights, measured_effects, trait_weights

CUT_FLAGS = frozenset({"truncated_chosen", "truncated_rejected"})


@dataclass(frozen=True, slots=True)
class EffectsOptions:
    """What is measured. `traits` empty: the attribute table alone, for which no model is loaded."""

    traits: tuple[Trait, ...] = ()
    intended: tuple[str, ...] = ()
    most: int = 128
    alpha: float = 0.05
    seed: int = 0

    @classmethod
    def of(
        cls, typed: Iterable[str], file: Path | None, intended: Sequence[str], *,
        builtin: bool = True, traits: bool = True, most: int = 128, alpha: float = 0.05, seed: int = 0,
    ) -> EffectsOptions:  # fmt: skip
        """Options as they were typed. Raises `ProbeError` for a trait or an intended effect that is none, and
        for traits beside the wish for none."""
        typed = list(typed)
        if not traits and (typed or file):
            given = "--trait" if typed else "--traits-file"
            raise ProbeError(f"--no-traits measures no trait, {given} names one. Leave out one of the two.")
        chosen = traits_to_measure(typed, file, builtin) if traits else ()
        check_intended(intended, {*ATTRIBUTE_NAMES, *(trait.name for trait in chosen)})
        return cls(chosen, tuple(intended), most, alpha, seed)


def measure_effects(source: Source, how: ModelOptions, options: EffectsOptions) -> Run:
    """Everything that the options ask for.

    Raises `ProbeError` for bad input, `CannotMeasure` for bad numbers.
    """
    created = now()
    if not options.traits:
        survey = source.survey(options.seed)
        whole = together([attribute_table(source, options), Measured(findings=misread_findings(survey))])
        return _run(
            created,
            whole,
            {"pairs": dict(survey.facts), "sides": list(source.sides)},
        )
    session = Session.open(source, how, options.seed)
    whole = together([attribute_table(source, options), traits_in(session, options)])
    whole = replace(whole, findings=(*whole.findings, *met_findings(session)))
    return _run(created, whole, session.inputs())


def attribute_table(source: Source, options: EffectsOptions) -> Measured:
    """The attribute table over the whole file; no model."""
    read, seconds = clocked(lambda: count_attributes(source.pairs()))
    what = f"{len(ATTRIBUTE_NAMES)} attributes of {count(len(read.lines), 'pair')}; no model"
    found = judge_attributes(read, options.intended, alpha=options.alpha, seed=options.seed)
    cost = {"probe": "attributes", "what": what, "seconds": round(seconds, 2)}
    return together([found, Measured(details={"costs": [cost]})])


def traits_in(session: Session, options: EffectsOptions) -> Measured:
    """The traits' weights on at most `options.most` pairs of an open session; the cost is said first."""
    pairs = list(sample_of(list(session.source.pairs()), options.most, options.seed))
    passes = {trait.text for trait in (*options.traits, *_controls(options.traits))}
    what = _announced(session, pairs, sorted(passes))
    scored, seconds = clocked(lambda: _scored(session, pairs, sorted(passes)))
    plain, under = scored
    cost = Measured(details={"costs": [{"probe": "traits", "what": what, "seconds": round(seconds, 2)}]})
    if not plain:
        raise none_whole(session, pairs, "under every trait", "shorten the traits")
    return together([_judged(pairs, plain, under, options), cost])


def _judged(
    pairs: Sequence[Pair], plain: list[PairScore], under: dict[str, list[PairScore]], options: EffectsOptions
) -> Measured:
    weights = {text: trait_weights(plain, scores) for text, scores in under.items()}
    lines = [score.line for score in plain]
    kept = set(lines)
    clusters = prompt_clusters(pair for pair in pairs if pair.line in kept)
    names = {trait.name: trait.text for trait in options.traits}
    effects = judge_weights(
        {name: weights[text] for name, text in names.items()},
        {name: _stacked(weights, text) for name, text in names.items()},
        names,
        lines,
        clusters,
        alpha=options.alpha,
        seed=options.seed,
    )
    found = measured_effects(effects, options.intended, len(lines))
    facts = {"read": len(lines), "left_out": len(pairs) - len(lines)}
    return together([found, Measured(details={"effects_on": facts})])


def _stacked(weights: dict[str, Floats], text: str) -> Floats:
    return np.stack([weights[control.text] for control in controls(words_of_trait(text))])


def _controls(traits: Iterable[Trait]) -> list[Trait]:
    lengths = sorted({words_of_trait(trait.text) for trait in traits})
    return [control for words in lengths for control in controls(words)]


def _announced(session: Session, pairs: Sequence[Pair], texts: Sequence[str]) -> str:
    """Say on stderr what the traits will cost, and how the system texts are given."""
    place, how = place_of_system(session.encoder, pairs)
    under = [place(pair, texts[0]) for pair in pairs]
    told = added(session, [pairs, *([under] * len(texts))])
    what = f"{count(len(texts), 'system text')} ({how}) over {count(len(pairs), 'pair')}: {told}"
    print(f"traits: {what}", file=sys.stderr)
    return what


def _scored(
    session: Session, pairs: Sequence[Pair], texts: Sequence[str]
) -> tuple[list[PairScore], dict[str, list[PairScore]]]:
    """Scores without and under each text, of the pairs that could be scored, uncut, under all of them."""
    place, _ = place_of_system(session.encoder, pairs)
    plain = session.scores_of(pairs, "pairs as they are")
    under = {
        text: session.scores_of(
            [place(pair, text) for pair in pairs], f"trait {i} of {len(texts)}", altered=True
        )
        for i, text in enumerate(texts, 1)
    }
    whole = whole_everywhere([plain, *under.values()])
    keep = [[score for score in scores if score.line in whole] for scores in (plain, *under.values())]
    return keep[0], dict(zip(under, keep[1:], strict=True))


def whole_everywhere(conditions: Iterable[Sequence[PairScore]]) -> set[int]:
    """Lines of the pairs that have a score, with no side cut, under every condition."""
    lines = [{s.line for s in scores if not CUT_FLAGS.intersection(s.flags)} for scores in conditions]
    return set.intersection(*lines) if lines else set()


def none_whole(session: Session, pairs: Sequence[Pair], where: str, otherwise: str) -> ProbeError:
    """The error where no pair has a score everywhere: the pairs themselves have none, or texts are too long.

    Where more than half of the pairs have none as they stand, longer inputs or shorter texts help little.
    """
    codes = session.encoded(list(pairs))
    why = [left_out(code.flags) for code in codes]
    if 2 * sum(one is not None for one in why) > len(codes):
        told = f"{count(len(pairs), 'pair')} as they stand: {reasons_left_out(codes)}"
        return ProbeError(f"no pair could be scored of {told}. {remedy_left_out(why)}.")
    return ProbeError(f"no pair could be scored, uncut, {where}. Raise --max-length, or {otherwise}.")


def _run(created: str, whole: Measured, inputs: dict[str, Any]) -> Run:
    return Run(
        command="effects",
        created=created,
        estimates=whole.estimates,
        findings=whole.findings,
        inputs=inputs,
        config=config.current(),
        environment=environment(),
        details=whole.details,
    )
