"""What the judge of a stored cell would have said of the chosen sides themselves, from the samples of before.

`bench/validity.py --recheck` asks it of rows that were measured before the product did: nothing is trained,
the starting model writes on the cell's own prompts with the cell's own random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

Counts = dict[str, int]


def outcome_control(whole: Path, model: str | None, seed: int, share: float) -> Counts:
    """Of a full run: its judge is fitted on the training pairs and asked of the held-out prompts."""
    from probe.training.behaviour import Sampling, asked, written
    from probe.training.data import examples, sides_of, split_by_prompt
    from probe.training.moved import JUDGED
    from probe.training.samples import Samples, halves_of

    session, plain = _session(whole, model, seed)
    pairs = list(session.source.pairs())
    items = examples(pairs, session.encoder, codes=session.encoded(pairs))
    train, held_out = split_by_prompt(items, share, seed)
    how = Sampling(seed=seed).fitted(sides_of(held_out))
    questions = asked(held_out, how)
    before = written(session.loaded, questions, how)
    samples = Samples(questions, before, {"": before})
    some = list(train)[:: -(-len(train) // JUDGED)]
    return _counts([halves_of(session.loaded, some, held_out, samples, how, plain)[""]])


def gate_control(train: Path, model: str | None, seed: int, prompts: int) -> Counts:
    """Of a gate whose race asked so many prompts: in one look, or in two."""
    from probe.probes.gated import GateRequest
    from probe.probes.trial.course import Course
    from probe.probes.trial.gated import MOST_PROMPTS
    from probe.probes.trial.options import TrialOptions
    from probe.probes.trial.run import designed
    from probe.scoring.rounding import allowed

    session, plain = _session(train, model, seed)
    drawn = next(f.default for f in fields(GateRequest) if f.name == "trial_pairs")
    options = TrialOptions(
        methods=("dpo", "sft", "sft+dpo"), pairs=drawn, most=4 * drawn, prompts=MOST_PROMPTS, seed=seed,
        noise=0,
    )  # fmt: skip
    pairs = list(session.source.pairs())
    design = designed(pairs, session, options)
    course = Course(session.loaded, options, len(pairs), len(design.train), plain, allowed(session))
    try:
        train_items, _ = course.begin(design.train, design.scored)
        _write(course, train_items, design.first)
        if prompts > len(course.folds[0].samples.before):
            _write(course, design.first, train_items)
        return _counts(list(_halves(course)))
    finally:
        course.put_away()


def _write(course: Any, train: Sequence[Any], unseen: Sequence[Any]) -> None:
    from probe.training.behaviour import asked

    fold = course.fold(train)
    questions = asked(unseen, course.how)
    course.bench.put()
    before = course._written(questions)
    fold.samples.ask(questions, before)
    fold.samples.answer("", before)
    fold.unseen += unseen


def _halves(course: Any) -> Iterator[Any]:
    from probe.training.samples import halves_of

    course.bench.put()
    for fold in course.folds:
        yield halves_of(
            course.tuned, fold.train, fold.unseen, fold.samples, course.how, course.plain, known=course.states
        )[""]


def _session(path: Path, model: str | None, seed: int) -> tuple[Any, bool]:
    from probe.scoring.session import ModelOptions, Session, Source

    session = Session.open(Source.of(path, None, None, False), ModelOptions(model), seed)
    return session, session.scorer.proof is not None and session.scorer.proof.plain


def _counts(halves: Sequence[Any]) -> Counts:
    from probe.stats.behaviour import behaviour

    row = behaviour(halves).row
    names = ("prompts", "chosen_up", "chosen_down", "rejected_up", "rejected_down")
    return {name: int(row[name]) for name in names}
