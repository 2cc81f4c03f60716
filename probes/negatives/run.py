"""The run behind `probe negatives`: text first, then one reading of the model's states, then gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ... import config
from ...errors import ProbeError
from ...pairs.record import Content, Pair
from ...progress import progress
from ...records import Measured, Run, together
from ...runs import environment, now
from ...scoring.flags import EXCLUDING, reasons_left_out
from ...scoring.model import LoadedModel
from ...scoring.scores import EncodedPair
from ...scoring.session import ModelOptions, Session, Source
from ...scoring.told import met_findings, misread_findings
from ..clusters import prompt_clusters
from ..cost import about_time, clocked
from ..numerics.judge import Plan, judge_numerics, judge_plan
from ..order import drawn
from .displacement import Gradients, judge_gradients
from .read import must_be_plain, reading_pace
from .states import Usable, read_states
from .suspects import judge_suspects
from .triviality import judge_surface, surface
from .work import NegativesOptions, NegativesWork, token_count

PASSES = 4  # forward passes that a step takes as long as: forward, backward (two), forward


@dataclass(frozen=True, slots=True)
class NegativesRun:
    """A finished run, and the scores by name and line that `--export-trimmed` can trim by."""

    run: Run
    scores: Mapping[str, Mapping[int, float]]


def measure_negatives(
    source: Source, how: ModelOptions, options: NegativesOptions, loaded: LoadedModel | None = None
) -> NegativesRun:
    """Everything that the options ask for; no model is loaded where only the text is measured.

    `loaded` is a model at hand.

    Raises `ProbeError` for bad input, `CannotMeasure` for bad numbers.
    """
    created = now()
    if not (options.states or options.gradients or options.plan):
        survey = source.survey(options.seed)
        work = measure_texts(source, options)
        if work.parts:
            work.parts.append(Measured(findings=misread_findings(survey)))
        return finished(work, created, {"pairs": dict(survey.facts), "sides": list(source.sides)})
    session = Session.open(source, how, options.seed, loaded)
    work = measure_negatives_in(session, options)
    return finished(work, created, session.inputs())


def measure_texts(source: Source, options: NegativesOptions) -> NegativesWork:
    """The probes that need no model."""
    work = NegativesWork(options, stripped(source.pairs(), options.strip), source.sides)
    if options.surface:
        _surface(work)
    return work


def measure_negatives_in(session: Session, options: NegativesOptions) -> NegativesWork:
    """The probes in an open session; `together(work.parts)` is what they found."""
    work = measure_texts(session.source, options)
    sample = drawn(work.pairs, options.most, options.seed)
    coded = list(zip(sample, session.encoded(sample), strict=True))
    work.parts.append(Measured(findings=met_findings(session)))
    some = [(pair, codes) for pair, codes in coded if not EXCLUDING.intersection(codes.flags)]
    if options.plan is not None:
        _numerics(work, session, options.plan, [codes for _, codes in coded])
    if options.states:
        read_states(work, session, some, reasons_left_out(codes for _, codes in coded))
    if options.gradients:
        _gradients(work, session, some[: options.gradients])
    return work


def stripped(pairs: Iterable[Pair], strip: bool) -> list[Pair]:
    """All pairs in memory; with `strip` without white space around either side."""

    def bare(content: Content) -> Content:
        if isinstance(content, str):
            return content.strip()
        return tuple(
            {**m, "content": said.strip()} if isinstance(said := m.get("content"), str) else m
            for m in content
        )  # calls and content parts stay as they are

    if not strip:
        return list(pairs)
    return [replace(pair, chosen=bare(pair.chosen), rejected=bare(pair.rejected)) for pair in pairs]


def _surface(work: NegativesWork) -> None:
    options = work.options

    def measure() -> Measured:
        found = surface(
            work.pairs,
            sides=work.sides,
            alpha=options.alpha,
            permutations=options.permutations,
            seed=options.seed,
        )
        work.score("surface", found.pairs, found.separations["surface"].margins)
        labels, wrong = judge_suspects(
            found.separations["surface"], found.pairs, options.alpha, options.seed
        )  # fmt: skip
        work.score("suspect", found.pairs, wrong)
        return together([judge_surface(found, alpha=options.alpha), labels])

    what = (
        f"the text of {len(work.pairs):,} pairs, 6 classifiers, {options.permutations} relabellings; no model"
    )
    work.timed("surface", what, measure)


def _numerics(work: NegativesWork, session: Session, plan: Plan, codes: Sequence[EncodedPair]) -> None:
    from ..numerics.first_step import first_step
    from ..numerics.judge import STEP_PAIRS

    def measure() -> Measured:
        if not codes or any(f.code == "PB005" for f in judge_plan(plan)):
            return Measured(findings=judge_plan(plan))
        return judge_numerics(plan, first_step(session.loaded.model, codes, plan))

    kind = "all weights" if plan.lora_rank is None else f"LoRA r{plan.lora_rank}"
    what = f"{STEP_PAIRS} pairs forward, backward, one {plan.method} step ({plan.dtype}, {kind}), forward"
    if codes and plan.dtype == session.loaded.facts.get("dtype"):  # another dtype has another pace
        what += f", {about_time(PASSES * reading_pace(session, codes) * token_count(codes[:STEP_PAIRS]))}"
    work.timed("numerics", what, measure)


def _gradients(work: NegativesWork, session: Session, some: Usable) -> None:
    """The first pair is the warm-up that the forecast of seconds comes from."""
    from ...scoring.gradients import gradient_products

    pairs, codes = [pair for pair, _ in some], [codes for _, codes in some]
    if not codes:
        return
    loaded, plain = session.loaded, must_be_plain(session, codes)
    first, taken = clocked(lambda: gradient_products(loaded, codes[:1], plain=plain))

    def measure() -> Measured:
        with progress("gradients", len(codes)) as advance:
            advance(1)
            rest = gradient_products(loaded, codes[1:], plain=plain, advance=advance)
        found = Gradients(*np.array([*first, *rest], dtype=np.float64).T)
        return judge_gradients(pairs, found, prompt_clusters(pairs), alpha=work.options.alpha)

    expected = about_time(taken / token_count(codes[:1]) * token_count(codes[1:]))
    what = f"{2 * len(codes)} backward passes on LoRA weights of {len(codes)} pairs, {expected}"
    work.timed("gradients", what, measure)


def finished(work: NegativesWork, created: str, inputs: Mapping[str, Any]) -> NegativesRun:
    """The run of all that was measured. Raises `ProbeError` where every probe is switched off."""
    whole = together(work.parts)
    if not work.parts:
        raise ProbeError("every probe is switched off, so there is nothing to measure. Leave one on.")
    run = Run(
        command="negatives",
        created=created,
        estimates=whole.estimates,
        findings=whole.findings,
        inputs=inputs,
        config=config.current(),
        environment=environment(),
        details={**whole.details, "negatives": _rows(work)},
    )
    return NegativesRun(run, work.scores)


def _rows(work: NegativesWork) -> list[dict[str, Any]]:
    """A row per pair that has a score: what was measured of it."""
    known = set().union(*work.scores.values()) if work.scores else set()
    return [
        {
            "id": pair.id,
            "line": pair.line,
            "group": pair.group,
            **{name: column[pair.line] for name, column in work.scores.items() if pair.line in column},
        }
        for pair in work.pairs
        if pair.line in known
    ]
