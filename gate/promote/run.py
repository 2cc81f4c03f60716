"""The run behind `probe compare`. Only a side that is a model loads torch; saved runs and grades do not."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import config
from ...errors import ProbeError
from ...pairs.grades import Grades
from ...pairs.identity import prompt_identity
from ...pairs.record import Pair
from ...probes.clusters import prompt_clusters
from ...records import Measured, Run
from ...runs import environment, now
from .effects import Spoken, attributes_moved, traits_moved, with_effects
from .judge import PromotionSettings, with_comparison
from .moved import heard, with_behaviour
from .sides import ComparedModel, SideMeasurement, by_id, named_weights, saved
from .trained_on import pairs_of, trained_on

if TYPE_CHECKING:
    from ...scoring.session import ModelOptions, Session, Source


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """What models are measured on, and how: the pairs, texts to be watched, answers to so many prompts.
    `traits`: those of the answers too, by the base model.

    The model and adapter of `how` are those of each side.
    """

    source: Source
    how: ModelOptions
    watch: Path | None = None
    samples: int = 0
    tokens: int = 64
    seed: int = 0
    traits: bool = False


def compare_models(
    sides: tuple[ComparedModel, ComparedModel],
    request: CompareRequest | None,
    grades: Grades | None,
    settings: PromotionSettings,
) -> Run:
    """The judged run of a comparison. `request` None: saved runs, or models of which only grades are known.

    Raises `ProbeError` for sides that cannot be compared, `CannotMeasure` for numbers that are not finite.
    """
    created = now()
    only_graded = request is None and not all(side.saved for side in sides)
    if only_graded:
        _tell_unused(sides)
    request = _of_both(sides, request)
    settings.allowed.check(_measurable(request, grades, only_graded))
    both = None if only_graded else _both(sides, request)
    prompts = _prompts(both[1].run) if both else {}
    run = Run(
        command="compare",
        created=created,
        inputs=_inputs(sides, both, grades),
        config=config.current(),
        environment=environment(),
    )
    judged = with_comparison(run, both, grades, prompts, settings)
    if both and (seen := trained_on(named_weights(sides[1], both[1].run), both[1].run)):
        judged = replace(judged, findings=(seen, *judged.findings))
    if both is None or request is None:
        return judged
    moved = with_behaviour(
        judged, both[0].heard, both[1].heard, alpha=settings.alpha, seed=request.seed
    )  # fmt: skip
    return with_effects(moved, _effects(sides[0], both, request, settings.alpha))


def _effects(
    base: ComparedModel, both: tuple[SideMeasurement, SideMeasurement], request: CompareRequest, alpha: float
) -> list[Measured]:
    """Attributes of both models' answers, and their traits if asked for. Raises `ProbeError` without any."""
    first, second = both[0].spoken, both[1].spoken
    if request.traits and (first is None or second is None):
        raise ProbeError("--traits: needs the answers of two models. Name models, and --samples above 0.")
    if first is None or second is None:
        return []
    parts = [attributes_moved(first, second, alpha=alpha, seed=request.seed)]
    if request.traits:
        from ...scoring.session import Session

        how = replace(request.how, model=base.model, adapter=base.adapter)
        session = Session.open(request.source, how, request.seed)
        parts.append(traits_moved(session, first, second, alpha=alpha, seed=request.seed))
    return parts


def _both(
    sides: tuple[ComparedModel, ComparedModel], request: CompareRequest | None
) -> tuple[SideMeasurement, SideMeasurement]:
    """Both measured, one after the other, so that one model is held at a time."""
    first, second = (_measured(side, request) for side in sides)
    if bool(first.watched) != bool(second.watched) or len(first.answers) != len(second.answers):
        first, second = (replace(side, watched=(), answers=()) for side in (first, second))
        print(
            "a model that reads fewer tokens answered fewer prompts, or has no watched text left; watched "
            "texts and answers are not compared.",
            file=sys.stderr,
        )
    return first, second


def _of_both(
    sides: tuple[ComparedModel, ComparedModel], request: CompareRequest | None
) -> CompareRequest | None:
    """The request without what a saved run does not hold, where a side is one."""
    if request is None or not any(side.saved for side in sides) or not (request.watch or request.samples):
        return request
    print("a saved run has neither watched texts nor answers; they are not compared.", file=sys.stderr)
    return replace(request, watch=None, samples=0)


def _tell_unused(sides: tuple[ComparedModel, ComparedModel]) -> None:
    """Say that the scores of a saved run are not compared, where the other side has none."""
    for side, other in (sides, sides[::-1]):
        if side.saved:
            print(
                f"{side.name}: its scores are not compared, since {other.name} has none; the grades alone "
                "decide. Name the pair file as third argument to compare both.",
                file=sys.stderr,
            )


def _measurable(request: CompareRequest | None, grades: Grades | None, only_graded: bool) -> frozenset[str]:
    """The quantities that can be measured: so that one that cannot is told before an hour is spent."""
    names = {"grade"} if grades else set()
    if not only_graded:
        names |= {"gap", "accuracy", "chosen"}
    if request and request.watch:
        names.add("watched")
    if request and request.samples:
        names.add("repetition")
    return frozenset(names)


def _measured(side: ComparedModel, request: CompareRequest | None) -> SideMeasurement:
    """A saved run as it stands; a model by running it."""
    if side.saved is not None:
        return saved(side.saved)
    if request is None:
        raise ProbeError(f"{side.name}: a model is measured on pairs. Name the pair file as third argument.")
    return _measure_model(side, request)


def _measure_model(side: ComparedModel, request: CompareRequest) -> SideMeasurement:
    """Score the pairs and the watched texts, and sample answers. Raises as `probe bias` does."""
    from ...probes.bias.run import BiasOptions, measure_bias_in
    from ...scoring.session import Session
    from ...training.stages import encoded_texts
    from ...training.texts import read_texts

    how = replace(request.how, model=side.model, adapter=side.adapter)
    session = Session.open(request.source, how, request.seed)
    plain = BiasOptions(templates="none", corrected=False, seed=request.seed)
    found = measure_bias_in(session, plain)
    texts = encoded_texts(read_texts(request.watch), session.encoder) if request.watch else []
    watched = [logps.astype(np.float64) for logps in session.scorer.side_logps(texts)]
    rows = by_id(found.rows)
    asked, answers = _answers(session, request)
    if not answers:
        return SideMeasurement(found.run, rows, watched)
    spoken = _spoken(session, asked, answers)
    judged = heard(session, [prompt_identity(pair) for pair in asked], answers, request.tokens)
    return SideMeasurement(found.run, rows, watched, answers, judged, spoken)


def _spoken(session: Session, asked: list[Pair], answers: list[tuple[int, ...]]) -> Spoken:
    decode = session.loaded.tokenizer.decode
    words = [decode(ids, skip_special_tokens=True) for ids in answers]
    return Spoken([pair.prompt or "" for pair in asked], words)


def _answers(session: Session, request: CompareRequest) -> tuple[list[Pair], list[tuple[int, ...]]]:
    """The first pairs of different prompts, and an answer at temperature 1 to each, by the same numbers."""
    from ...progress import progress
    from ...scoring.generate import answers, with_room
    from ...scoring.sampling import Draw

    prompts = {prompt_identity(pair): pair for pair in session.survey.first if pair.prompt}
    some = list(prompts.values())[: request.samples]
    codes = [encoded.chosen for encoded in session.encoder.many(some)]
    contexts = [code.ids[: code.start] for code in codes]
    left = with_room(session.loaded, contexts)
    some = [some[i] for i in left]
    draws = [Draw(contexts[i], 1.0, request.seed + i) for i in left]
    with progress("sampling", len(draws), "answers") as advance:
        found = answers(session.loaded, draws, tokens=request.tokens, advance=advance)
    return some, [answer.ids for answer in found]


def _prompts(run: Run) -> dict[str, int]:
    """A label of the prompt of each pair by id; empty where the run's pair file is not as it was."""
    if not (pairs := pairs_of(run)):
        return {}
    labels = prompt_clusters(pairs)
    return {pair.id: int(label) for pair, label in zip(pairs, labels, strict=True)}


def _inputs(
    sides: tuple[ComparedModel, ComparedModel],
    both: tuple[SideMeasurement, SideMeasurement] | None,
    grades: Grades | None,
) -> dict[str, Any]:
    names = [side.name for side in sides]
    models = [m.run.inputs.get("model") or {} for m in both] if both else [{}, {}]
    graded = {}
    if grades:
        alone = sum(grades.ungraded.values())
        graded = {"grades": {**grades.facts, "n": len(grades.items), "left_out": alone}}
    pairs = both[1].run.inputs.get("pairs") or {} if both else {}
    return {"pairs": pairs, "base": models[0], "model": models[1], "compared": names, **graded}
