"""The short runs behind `probe trial`: each from the starting model, in LoRA, leaving it as it was."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ... import config
from ...errors import ProbeError
from ...progress import Advance, progress
from ...records import Measured, Run, together
from ...runs import environment, now
from ...scoring.model import LoadedModel
from ...scoring.session import ModelOptions, Session, Source
from ...training.behaviour import (
    PROMPTS,
    SAMPLES,
    TOKENS,
    Sampling,
    Written,
    asked,
    written,
)
from ...training.data import Example, examples, split_by_prompt
from ...training.methods import METHODS
from ...training.policy import trainable_model
from ...training.recipes import Recipe, recipe, stages_of
from .bench import SIDES, Bench, joined, schedule
from .judge import Pass, Trial
from .judge import trial as judged
from .material import Material
from .race import Candidate, race

NOISE_PAIRS = 16


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """How long the trial is. `pairs` are drawn by prompt; `steps` updates are made on each half.

    `methods`: candidates of a race, on the same halves under one budget; empty: `method` alone. `most`: where
    the first draw settles nothing, one more of at most so many pairs is made, and both are judged at half of
    `alpha`; None: one draw. `samples` a prompt (0: behaviour is not looked at) of `tokens` tokens on
    at most `prompts` prompts.
    """

    method: str = "dpo"
    pairs: int = 128
    steps: int = 24
    changes: tuple[tuple[str, Any], ...] = ()
    micro_tokens: int = 1024
    alpha: float = 0.05
    seed: int = 0
    methods: tuple[str, ...] = ()
    most: int | None = None
    samples: int = SAMPLES
    tokens: int = TOKENS
    prompts: int = PROMPTS

    @property
    def candidates(self) -> tuple[str, ...]:
        """The methods that are tried, once each; the first is the one that is forecast."""
        return tuple(dict.fromkeys(self.methods or (self.method,)))


def trial_run(source: Source, how: ModelOptions, options: TrialOptions) -> Run:
    """Score the pairs, make the short runs, forecast the full one.

    Raises `ProbeError` for a method that is none, or that a trial cannot judge, and for too few prompts.
    """
    check_methods(options.candidates)
    return trial_in(Session.open(source, how, options.seed), options)


def check_methods(methods: Sequence[str]) -> None:
    """Raises `ProbeError` unless every method can be raced: margins need a loss with a reference, or SFT."""
    for method in methods:
        for stage in stages_of(method):
            if not METHODS[stage].reference and stage != "sft":
                raise ProbeError(
                    f"--methods {method}: a trial compares with the starting model, and {stage} is tried by "
                    "none of its measures at a trial's length. Use dpo, sft, sft+dpo or another loss with a "
                    "reference."
                )


def trial_in(session: Session, options: TrialOptions) -> Run:
    """The same in an open session, whose model has its own weights again afterwards."""
    created, started = now(), time.monotonic()
    pairs = list(session.source.pairs())
    everything = len(pairs)
    most = min(options.most or options.pairs, everything)
    looks = [options.pairs, *([most] if most > 1.25 * options.pairs else [])]
    measured, n = Measured(), 0
    for look, asked_for in enumerate(looks, 1):
        own = replace(
            options, pairs=asked_for, steps=round(options.steps * asked_for / options.pairs),
            alpha=options.alpha / len(looks),
        )  # fmt: skip
        measured, n = _look(session, pairs, own)
        if settled(measured) or look == len(looks):
            break
        print(f"trial: {n} pairs settle nothing; {looks[look]} are tried.", file=sys.stderr)
    cost = {"probe": "trial", "what": f"{n} pairs", "seconds": time.monotonic() - started}
    facts = [one.facts() for one in recipes_of(session.loaded, options.candidates[0], options, everything)]
    return Run(
        command="trial",
        created=created,
        estimates=measured.estimates,
        findings=measured.findings,
        inputs={
            **session.inputs(),
            "trial": {"pairs": n, "of": everything, "recipe": facts[-1], "methods": list(options.candidates)},
        },
        config=config.current(),
        environment=environment(),
        details={**measured.details, "costs": [cost]},
    )


def settled(measured: Measured) -> bool:
    """Whether something was shown: pairs ranked better than chance or samples moved, either way."""
    told = [e for e in measured.estimates if e.name in ("trial_accuracy", "behaviour_up")]
    return any(e.low is not None and e.high is not None and not e.low <= 0.5 <= e.high for e in told)


def _look(session: Session, pairs: Sequence[Any], options: TrialOptions) -> tuple[Measured, int]:
    """One draw of pairs, tried and judged; with its number of pairs."""
    drawn = sample_by_prompt(examples(pairs, session.encoder), options.pairs, options.seed)
    lines = {item.line for item in drawn}
    chosen = [pair for pair in pairs if pair.line in lines]
    items = examples(chosen, session.encoder, session.scores_of(chosen, "scoring"))
    plain = session.scorer.proof is not None and session.scorer.proof.plain
    first, candidates = run_trial(session.loaded, items, options.candidates, options, len(pairs), plain=plain)
    return together([judged(first, options.alpha), race(candidates, options.alpha)]), len(items)


def sample_by_prompt(items: Sequence[Example], most: int, seed: int) -> list[Example]:
    """At most `most` pairs: whole prompts, drawn by seed, in the file's order."""
    by_prompt: dict[str, list[Example]] = {}
    for item in items:
        by_prompt.setdefault(item.prompt, []).append(item)
    kept: set[str] = set()
    room = most
    for prompt in np.random.default_rng(seed).permutation(sorted(by_prompt)).tolist():
        if len(by_prompt[prompt]) <= room:
            kept.add(prompt)
            room -= len(by_prompt[prompt])
    return [item for item in items if item.prompt in kept]


def run_trial(
    loaded: LoadedModel, items: Sequence[Example], methods: Sequence[str], options: TrialOptions,
    everything: int, *, plain: bool = False,
) -> tuple[Trial, list[Candidate]]:  # fmt: skip
    """Each method trained on either half and measured on the other; the first one is `Trial`.

    The model has its own weights again afterwards. `everything`: pairs of the whole file, whose full run is
    to be forecast.
    """
    halves = split_by_prompt(items, 0.5, options.seed)
    stages = {method: recipes_of(loaded, method, options, min(map(len, halves))) for method in methods}
    steps = {m: schedule(s, min(map(len, halves)), options.steps) for m, s in stages.items()}
    how = Sampling(options.samples, options.tokens, options.prompts, options.seed)
    questions = [asked(half, replace(how, prompts=-(-how.prompts // 2))) for half in halves]
    before = [written(loaded, some, how) if how.samples else [] for some in questions]
    bench = Bench(
        trainable_model(loaded.model, next(iter(stages.values()))[0], seed=options.seed),
        seed=options.seed, micro_tokens=options.micro_tokens, plain=plain,
    )  # fmt: skip
    tuned = replace(loaded, model=bench.model)
    done: dict[str, Tried] = {}
    try:
        with progress("trial", 2 * sum(map(sum, steps.values())), "steps") as advance:
            for method, recipes in stages.items():
                turn = Turn(bench, tuned, recipes, steps[method], how, advance)
                done[method] = turn.both(halves, questions)
            noise = bench.noise(stages[methods[0]][-1], items[:NOISE_PAIRS])
    finally:
        bench.put_away(loaded.model)
    first, own = done[methods[0]], stages[methods[0]][-1]
    trial = Trial(
        first.early, first.unseen, steps[methods[0]][-1], own.batch, full_rate(own, everything), noise
    )
    material = Material(loaded, halves, questions, before, how, plain)
    judged_halves = material.halves({m: tried.after for m, tried in done.items()}) if how.samples else {}
    return trial, [
        Candidate(
            m,
            run_cost(stages[m], everything),
            steps[m],
            tried.unseen,
            judged_halves.get(m, ()),
            tried.seconds,
        )
        for m, tried in done.items()
    ]


def recipes_of(loaded: LoadedModel, method: str, options: TrialOptions, n: int) -> list[Recipe]:
    """The shipped recipe of each stage for a run on `n` pairs, in LoRA, with the options' changes."""
    parameters = loaded.facts.get("parameters")
    made = [recipe(stage, parameters, n=n) for stage in stages_of(method)]
    # A learning rate that is asked for is that of the method under trial, not of a stage before it.
    own, shared = dict(options.changes), {k: v for k, v in options.changes if k == "batch"}
    asked_for = method == options.candidates[0]
    last = len(made) - 1
    return [one.with_values(own if i == last and asked_for else shared) for i, one in enumerate(made)]


def full_rate(one: Recipe, n: int) -> float:
    """Σ of the learning rates of the full run on `n` pairs."""
    steps = one.epochs * -(-n // one.batch)
    return one.learning_rate * steps * (0.5 + 0.5 * one.warmup if one.schedule == "cosine" else 1.0)


def run_cost(stages: Sequence[Recipe], n: int) -> float:
    """Responses that the full run of these stages reads."""
    return sum(one.epochs * n * SIDES.get(one.method, 2) for one in stages)


@dataclass(frozen=True, slots=True)
class Tried:
    """One method's halves: pairs before their first update, unseen pairs and samples after training."""

    early: Pass
    unseen: Pass
    after: list[Written]
    seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One method's turn on the bench."""

    bench: Bench
    tuned: LoadedModel
    recipes: Sequence[Recipe]
    steps: Sequence[int]
    how: Sampling
    advance: Advance

    def both(self, halves: Sequence[Sequence[Example]], questions: Sequence[Sequence[Example]]) -> Tried:
        """Train on either half, score and sample the other."""
        started, early, unseen, after = time.monotonic(), [], [], []
        for train, other, ask in zip(halves, halves[::-1], questions[::-1], strict=True):
            first, spent = self.bench.train(self.recipes, self.steps, train, self.advance)
            early.append(first)
            unseen.append(self.bench.unseen(other, spent))
            self.tuned.model.eval()
            after.append(written(self.tuned, ask, self.how) if self.how.samples else [])
        return Tried(joined(early), joined(unseen), after, time.monotonic() - started)
