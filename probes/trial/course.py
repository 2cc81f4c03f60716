"""The candidates of a trial on one bench: each trained once a fold, then measured on unseen pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ...progress import Advance
from ...scoring.model import LoadedModel
from ...scoring.rounding import Rounding
from ...stats.behaviour import Half
from ...training.behaviour import SHORTEST, Sampling, States, Written, asked, written
from ...training.data import Example, sides_of
from ...training.policy import trainable_model
from ...training.recipes import Recipe
from ...training.samples import Samples, halves_of
from .arithmetic import COMPARED, compared
from .bench import Bench, Tuned, joined
from .judge import Trial
from .options import TrialOptions, full_rate, recipes_of, run_cost, schedule
from .passes import Pass
from .race import RacedMethod


@dataclass
class Fold:
    """What one training half has led to: weights by stages, and what was measured on unseen pairs so far."""

    train: Sequence[Example]
    tuned: dict[tuple[tuple[Recipe, int], ...], Tuned] = field(default_factory=dict)
    unseen: list[Example] = field(default_factory=list)
    passes: dict[str, list[Pass]] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    early: dict[str, Pass] = field(default_factory=dict)


@dataclass
class Course:
    """Trains and measures; `seconds` by phase and by method are what it took.

    `everything`: pairs of the whole file, whose full run is forecast; `trained`: pairs of one training half;
    `half`: products with frozen weights may be made in bfloat16.
    """

    loaded: LoadedModel
    options: TrialOptions
    everything: int
    trained: int
    plain: bool = False
    half: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = self.options
        self.stages = {m: self._recipes(m, self.trained) for m in options.candidates}
        self.steps = {m: schedule(s, self.trained, options.steps) for m, s in self.stages.items()}
        self.how = Sampling(options.samples, options.tokens or SHORTEST, options.prompts, options.seed)
        start = next(iter(self.stages.values()))[0]
        self.bench = Bench(
            trainable_model(self.loaded.model, start, seed=options.seed),
            seed=options.seed, micro_tokens=options.micro_tokens, plain=self.plain,
        )  # fmt: skip
        self.tuned = replace(self.loaded, model=self.bench.model)
        self.folds: list[Fold] = []
        self.states: States = {}  # of the starting model: both halves ask for the same responses

    def _recipes(self, method: str, n: int) -> list[Recipe]:
        return recipes_of(self.loaded.facts.get("parameters"), method, self.options, n)

    def recipes(self) -> dict[str, list[dict[str, Any]]]:
        """The stages of the first candidate as they were trained, and as the run on the whole file has them:
        the batch, and with it the number of updates, is that of the number of pairs."""
        method = next(iter(self.stages))
        full = self._recipes(method, self.everything)
        return {"recipe": [one.facts() for one in self.stages[method]], "full_run": [r.facts() for r in full]}

    def put_away(self) -> None:
        """Give the model its own weights back."""
        self.bench.put_away(self.loaded.model)

    @property
    def updates(self) -> int:
        """Updates that one fold takes: a stage that two candidates begin with is trained once."""
        plans = {tuple(plan[:k]) for plan in map(self._plan, self.stages) for k in range(1, len(plan) + 1)}
        return sum(plan[-1][1] for plan in plans)

    def begin(
        self, train: Sequence[Example], scored: Callable[[Sequence[Example]], list[Example]]
    ) -> tuple[list[Example], Rounding | None]:
        """The training pairs with their scores, in the arithmetic that the trial goes on with: bfloat16
        products where they are allowed and change little. `scored` puts the session's scores to pairs."""
        if not self.half:
            return scored(train), None
        exact = scored(train[:COMPARED])  # before: the session scores with the layers of this model
        self.bench.compute(half=True)
        found = compared(exact, self.scored(exact)) if self.bench.half else None
        if found and found.taken:
            return self.scored(train), found
        self.bench.compute(half=False)
        return scored(train), found

    def scored(self, items: Sequence[Example]) -> list[Example]:
        """The items with the starting model's scores."""
        self.bench.put()
        return self.bench.rescored(items)

    def fold(self, train: Sequence[Example]) -> Fold:
        """A new training half; the first one's responses say how long a sample is."""
        if not self.folds and not self.options.tokens:
            self.how = self.how.fitted(sides_of(train))
        self.folds.append(Fold(train))
        return self.folds[-1]

    def measure(self, fold: Fold, unseen: Sequence[Example], advance: Advance) -> None:
        """Measure every candidate on pairs that it was not trained on, after those measured before."""
        room = self.how.prompts - len(fold.samples.before)
        ask = asked(unseen, replace(self.how, prompts=room)) if self.how.samples and room > 0 else []
        with self._clock("samples"):
            self.bench.put()
            fold.samples.ask(ask, self._written(ask))
        for method in self.stages:
            with self._clock(method):
                tuned = self._tuned(fold, method, advance)
                self.bench.put(tuned)
                fold.early[method] = tuned.early
                with self._clock("scoring"):
                    fold.passes.setdefault(method, []).append(self.bench.unseen(unseen, tuned.spent))
                with self._clock("samples"):
                    fold.samples.answer(method, self._written(ask))
        fold.unseen += unseen

    def _written(self, ask: Sequence[Example]) -> Written:
        return written(self.tuned, ask, self.how) if ask else []

    def trial(self) -> Trial:
        """What the first candidate showed, with its full run."""
        method = next(iter(self.stages))
        own = self.stages[method][-1]
        early = joined([fold.early[method] for fold in self.folds])
        with self._clock("noise"):
            noise = self.bench.noise(own, self.folds[0].train[: self.options.noise])
        full = sum(full_rate(one, self.everything) for one in self._recipes(method, self.everything))
        return Trial(early, self._pass(method), sum(self.steps[method]), own.batch, full, noise)

    def candidates(self) -> list[RacedMethod]:
        """All of them, with their samples and what the judge reads."""
        with self._clock("judge"):
            self.bench.put()
            halves = [
                halves_of(
                    self.tuned, fold.train, fold.unseen, fold.samples, self.how, self.plain, known=self.states
                )
                for fold in self.folds
                if self.how.samples
            ]
        return [
            RacedMethod(
                method, run_cost(self.stages[method], self.everything), self.steps[method],
                self._pass(method), _of(halves, method), self.seconds.get(method, 0.0),
            )
            for method in self.stages
        ]  # fmt: skip

    def _pass(self, method: str) -> Pass:
        return joined([one for fold in self.folds for one in fold.passes[method]], len(self.folds))

    def _plan(self, method: str) -> list[tuple[Recipe, int]]:
        return list(zip(self.stages[method], self.steps[method], strict=True))

    def _tuned(self, fold: Fold, method: str, advance: Advance) -> Tuned:
        """The weights after all stages of a method; a beginning that another method shares is made once."""
        plan, tuned = tuple(self._plan(method)), Tuned(self.bench.start)
        for k, (recipe, steps) in enumerate(plan, 1):
            if plan[:k] not in fold.tuned:
                with self._clock("training"):
                    fold.tuned[plan[:k]] = self.bench.stage(tuned, recipe, steps, fold.train, advance)
            tuned = fold.tuned[plan[:k]]
        return tuned

    @contextmanager
    def _clock(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - started

    def phases(self) -> str:
        """The seconds of each phase in words."""
        order = ("training", "scoring", "samples", "judge", "noise")
        told = [f"{name} {self.seconds[name]:.0f} s" for name in order if self.seconds.get(name, 0.0) >= 0.5]
        return ", ".join(told)


def _of(halves: Sequence[dict[str, Half]], method: str) -> list[Half]:
    return [half[method] for half in halves if half[method].before]
