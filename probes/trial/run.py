"""`probe trial`: short LoRA runs from the starting model, which has its own weights again afterwards.

A first look trains the candidates on one half and measures them on unseen pairs. Where that settles nothing
and is not hopeless, a second look adds unseen pairs, or where there are none left the other half; both looks
are judged at half of alpha, so that the second does not raise the error.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ... import config
from ...errors import ProbeError
from ...pairs.record import Pair
from ...progress import Advance, progress
from ...records import Measured, Run, together
from ...runs import environment, now
from ...scoring.flags import reasons_left_out
from ...scoring.model import LoadedModel
from ...scoring.rounding import Rounding, allowed
from ...scoring.session import ModelOptions, Session, Source
from ...scoring.told import met_findings
from ...training.data import Example, examples, prompt_key, split_by_prompt
from ...training.methods import METHODS
from ...training.shipped import BATCHES
from .arithmetic import stated
from .course import Course
from .difficulty import difficulty
from .judge import Trial, judge_trial
from .options import TrialOptions
from .race import RacedMethod, race

SPLIT = 1.25  # up to so many first draws, a file is cut into halves that can judge each other
LOOKS = 2
LEAST = 20  # `--minimum-n` of the gate, as shipped


def trial_run(source: Source, how: ModelOptions, options: TrialOptions) -> Run:
    """Score the pairs, make the short runs, forecast the full one.

    Raises `ProbeError` for too few prompts.
    """
    return trial_in(Session.open(source, how, options.seed), options)


def trial_in(session: Session, options: TrialOptions) -> Run:
    """The same in an open session, whose model has its own weights again afterwards."""
    created, started = now(), time.monotonic()
    pairs = list(session.source.pairs())
    design = designed(pairs, session, options)
    plain = session.scorer.proof is not None and session.scorer.proof.plain
    course = Course(session.loaded, options, len(pairs), len(design.train), plain, allowed(session))
    try:
        measured, n, arithmetic = _looks(course, design, options)
    finally:
        course.put_away()
    what = f"{n} pairs: {course.phases()}"
    cost = {"probe": "trial", "what": what, "seconds": time.monotonic() - started}
    return Run(
        command="trial",
        created=created,
        estimates=measured.estimates,
        findings=(*measured.findings, *filter(None, [stated(arithmetic)]), *met_findings(session)),
        inputs={
            **session.inputs(),
            "trial": {
                "pairs": n,
                "of": len(pairs),
                **course.recipes(),
                "methods": list(options.candidates),
                "arithmetic": arithmetic.facts()
                if arithmetic
                else {"products": str(session.loaded.dtype).removeprefix("torch.")},
            },
        },
        config=config.current(),
        environment=environment(),
        details={**measured.details, "costs": [cost]},
    )


@dataclass(frozen=True, slots=True)
class Design:
    """Pairs that are trained on, those of the first look, and those of the second.

    `cross`: the second look trains on the first's unseen pairs and measures those trained on. `scored`: puts
    the starting model's scores to pairs, when they are needed.
    """

    train: list[Example]
    first: list[Example]
    second: list[Example]
    cross: bool
    scored: Callable[[Sequence[Example]], list[Example]]


def designed(pairs: Sequence[Pair], session: Session, options: TrialOptions) -> Design:
    """Draw by prompt. Up to `SPLIT` times `pairs` the file is halved; of a larger one new pairs are left."""
    lines = {pair.line: pair for pair in pairs}

    def scored(items: Sequence[Example]) -> list[Example]:
        some = [lines[item.line] for item in items]
        return examples(some, session.encoder, session.scores_of(some, "scoring"))

    halved = len(pairs) <= SPLIT * options.pairs or (options.most or 0) <= options.pairs
    room = (len(pairs) if len(pairs) <= SPLIT * options.pairs else options.pairs) if halved else options.most
    sample = sample_by_prompt(pairs, room or 0, options.seed)
    codes = session.encoded(sample)
    drawn = examples(sample, session.encoder, codes=codes)
    if len({item.prompt for item in drawn}) < 2:
        raise ProbeError(_too_few(pairs, sample, room or 0, reasons_left_out(codes)))
    if halved:
        train, first = split_by_prompt(drawn, 0.5, options.seed)
        return Design(train, first, train, True, scored)
    unseen, train = _parted(drawn, pairs_trained(options) / len(drawn), options.seed)
    if len({item.prompt for item in unseen}) < 2:
        return Design(train, unseen, [], False, scored)
    second, first = _parted(unseen, options.pairs / 2 / len(unseen), options.seed)
    return Design(train, first, second, False, scored)


def _parted(items: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Split by prompt: a share of up to a half, of one prompt at the least."""
    least = 1 / len({item.prompt for item in items})
    return split_by_prompt(items, max(least, min(0.5, share)), seed)


def _too_few(pairs: Sequence[Pair], sample: Sequence[Pair], room: int, left_out: str) -> str:
    """Why fewer than two prompts are left of those drawn, and what helps."""
    sizes = sorted(Counter(map(prompt_key, pairs)).values())
    drawn = len(set(map(prompt_key, sample)))
    if len(sizes) > 1 and drawn < 2:
        return (
            f"{drawn} of {len(sizes)} prompts drawn: a trial needs two, draws whole prompts, and of these no "
            f"two fitted into {room:,} pairs. Draw more: --pairs {sum(sizes[-2:])}, in a gate --trial-pairs."
        )
    if left_out:
        return (
            f"a trial needs pairs of two prompts that can be trained on; of {len(sample):,} pairs were left "
            f"out: {left_out}. Look at the file with `probe data`."
        )
    return "all pairs share one prompt, so none can be held out. Give pairs of two prompts or more."


def pairs_trained(options: TrialOptions) -> int:
    """Pairs of a large file that are trained on; of the others drawn, all that are measured are unseen."""
    return max(options.pairs // 2, options.steps * BATCHES[0])


def sample_by_prompt(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    """At most `most` pairs: whole prompts, drawn by seed, in the file's order."""
    by_prompt: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        by_prompt.setdefault(prompt_key(pair), []).append(i)
    kept: list[int] = []
    for prompt in np.random.default_rng(seed).permutation(sorted(by_prompt)).tolist():
        if len(by_prompt[prompt]) <= most - len(kept):
            kept += by_prompt[prompt]
    return [pairs[i] for i in sorted(kept)]


def _looks(course: Course, design: Design, options: TrialOptions) -> tuple[Measured, int, Rounding | None]:
    """One look, or two; with the number of pairs that were trained on or measured, and the arithmetic."""
    train, arithmetic = course.begin(design.train, design.scored)
    scored = course.scored if arithmetic and arithmetic.taken else design.scored
    first = scored(design.first)
    own = replace(options, alpha=options.alpha / LOOKS)
    with progress("trial", 2 * course.updates, "steps") as advance:
        fold = course.fold(train)
        course.measure(fold, first, advance)
        measured, n = _judged(course, own), len(train) + len(first)
        enough = not options.every and (settled(measured, own) or hopeless(measured))
        if enough or not design.second:
            return measured, n, arithmetic
        why = "every drawn pair is asked for" if options.every else "unseen pairs settle nothing yet"
        print(f"trial: {why}; more are measured.", file=sys.stderr)
        if design.cross:
            course.measure(course.fold(first), train, advance)
        else:
            course.measure(fold, scored(design.second), advance)
            n += len(design.second)
    return _judged(course, own), n, arithmetic


def _judged(course: Course, options: TrialOptions) -> Measured:
    first = course.trial()
    parts = [judge_trial(first, options.alpha), race(course.candidates(), options.alpha)]
    own = course.stages[options.candidates[0]][-1]
    if METHODS[own.method].reference:  # a loss that compares sides: what SFT does to margins is no ranking
        rows = difficulty(first.halves, first.prequential, own.constants.beta)
        parts.append(Measured(details={"difficulty": rows}))
    return together(parts)


def settled(measured: Measured, options: TrialOptions) -> bool:
    """Whether the gate's condition is decided, either way: by samples, or by ranking where none are taken.

    Where a judge is not heard yet, more pairs may let it be: margins alone end no look. Samples are those of
    the best of all candidates, so they are tested at the look's alpha over the number of candidates. Fewer
    than `LEAST` settle nothing, however one-sided.
    """
    told = {e.name: e for e in measured.estimates}
    moved, tests = told.get("behaviour_up"), len(options.candidates)
    if moved is None:
        moved, tests = told["trial_accuracy"], 1
    return moved.p is not None and moved.n >= LEAST and moved.p <= options.alpha / tests


def hopeless(measured: Measured) -> bool:
    """Whether no candidate looks better than chance, by samples where they are judged, else by ranking.

    A second look is then not paid for: futility, not a test.
    """
    moved, ranked = (_values(measured, name) for name in ("behaviour_up", "trial_accuracy"))
    return not any(value > 0.5 for value in moved or ranked)


def _values(measured: Measured, name: str) -> list[float]:
    """The values of an estimate, of the whole and of each candidate of a race."""
    told = [e.value for e in measured.estimates if e.name.partition("@")[0] == name]
    return [value for value in told if value is not None]


def run_trial(
    loaded: LoadedModel, items: Sequence[Example], methods: Sequence[str], options: TrialOptions,
    everything: int, *, plain: bool = False,
) -> tuple[Trial, list[RacedMethod]]:  # fmt: skip
    """Each method trained on either half of the scored `items` and measured on the other.

    The model has its own weights again afterwards.
    """
    halves = split_by_prompt(items, 0.5, options.seed)
    course = Course(
        loaded, replace(options, methods=tuple(methods)), everything, min(map(len, halves)), plain
    )
    try:
        with progress("trial", 2 * course.updates, "steps") as advance:
            _both(course, halves, advance)
        return course.trial(), course.candidates()
    finally:
        course.put_away()


def _both(course: Course, halves: Sequence[Sequence[Example]], advance: Advance) -> None:
    for train, unseen in (halves, halves[::-1]):
        course.measure(course.fold(list(train)), list(unseen), advance)
