"""The short runs behind `probe trial`: each from the starting model, in LoRA, leaving it as it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from transformers import get_scheduler

from ... import config
from ...errors import ProbeError
from ...progress import Advance, progress
from ...records import Run
from ...runs import environment, now
from ...scoring.model import LoadedModel
from ...scoring.session import ModelOptions, Session, Source
from ...training.checkpoint import put_weights, trainable_weights
from ...training.data import Example, batches, examples, split_by_prompt
from ...training.evaluate import side_sums
from ...training.objective import PairLogps, sides_of
from ...training.policy import Policy, trainable_model
from ...training.recipes import Recipe, recipe
from ...training.shape import WITHOUT_REFERENCE
from ...training.step import Stepper
from .judge import Noise, Pass, Trial
from .judge import trial as judged

NOISE_PAIRS = 16


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """How long the trial is. `pairs` are drawn by prompt; `steps` updates are made on each half."""

    method: str = "dpo"
    pairs: int = 128
    steps: int = 16
    changes: tuple[tuple[str, Any], ...] = ()
    micro_tokens: int = 1024
    alpha: float = 0.05
    seed: int = 0


def trial_run(source: Source, how: ModelOptions, options: TrialOptions) -> Run:
    """Score the pairs, make the short runs, forecast the full one.

    Raises `ProbeError` for a method without a reference and for too few prompts.
    """
    if options.method in WITHOUT_REFERENCE:
        raise ProbeError(
            f"--method {options.method}: a trial needs a method that compares with a reference: dpo."
        )
    return trial_in(Session.open(source, how, options.seed), options)


def trial_in(session: Session, options: TrialOptions) -> Run:
    """The same in an open session, whose model has its own weights again afterwards."""
    created, started, source = now(), time.monotonic(), session.source
    pairs = list(source.pairs())
    everything = len(pairs)
    drawn = sample_by_prompt(examples(pairs, session.encoder), options.pairs, options.seed)
    lines = {item.line for item in drawn}
    chosen = [pair for pair in pairs if pair.line in lines]
    items = examples(chosen, session.encoder, session.scores_of(chosen, "scoring"))
    full = recipe(options.method, session.loaded.facts.get("parameters"), n=everything)
    full = full.with_values(dict(options.changes))
    plain = session.scorer.proof is not None and session.scorer.proof.plain
    measured = judged(run_trial(session.loaded, items, full, options, everything, plain=plain), options.alpha)
    cost = {"probe": "trial", "what": f"{len(items)} pairs", "seconds": time.monotonic() - started}
    return Run(
        command="trial",
        created=created,
        estimates=measured.estimates,
        findings=measured.findings,
        inputs={**session.inputs(), "trial": {"pairs": len(items), "of": everything, "recipe": full.facts()}},
        config=config.current(),
        environment=environment(),
        details={**measured.details, "costs": [cost]},
    )


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
    loaded: LoadedModel, items: Sequence[Example], full: Recipe, options: TrialOptions, everything: int,
    *, plain: bool = False,
) -> Trial:  # fmt: skip
    """One prequential pass over all pairs, then each half trained and scored on the other.

    The model has its own weights again afterwards. `everything`: pairs of the whole file, whose full run is
    to be forecast.
    """
    one, other = split_by_prompt(items, 0.5, options.seed)
    bench = Bench(
        trainable_model(loaded.model, replace(full, full=False), seed=options.seed), full, options, plain
    )
    total = -(-len(items) // full.batch) + 2 * options.steps
    try:
        with progress("trial", total, "steps") as advance:
            prequential = bench.prequential(items, advance)
            halves = [bench.half(a, b, advance) for a, b in ((one, other), (other, one))]
            noise = bench.noise(items[:NOISE_PAIRS])
    finally:
        bench.put_away(loaded.model)
    steps = full.epochs * -(-everything // full.batch)
    rate = full.learning_rate * steps * (0.5 + 0.5 * full.warmup if full.schedule == "cosine" else 1.0)
    return Trial(prequential, _joined(halves), options.steps, full.batch, rate, noise)


class Bench:
    """A LoRA model that can be put back to its start, to make one short run after the other."""

    def __init__(self, model: torch.nn.Module, full: Recipe, options: TrialOptions, plain: bool) -> None:
        self.model, self.recipe, self.options = model, full, options
        self.accelerator = Accelerator(cpu=next(model.parameters()).device.type == "cpu")
        self.policy = self.accelerator.prepare(Policy(model, plain=plain))
        self.start = {name: weight.clone() for name, weight in trainable_weights(model).items()}
        self.seen: list[Moved] = []  # before the pair's update

    def put_away(self, model: torch.nn.Module) -> None:
        """Give `model` its own weights back; an adapter that it came with stays on it."""
        mine: Any = self.model
        if mine is not model and hasattr(mine, "unload"):
            mine.unload()
        else:
            put_weights(mine, self.start)

    def prequential(self, items: Sequence[Example], advance: Advance) -> Pass:
        """One pass: each batch's own forward scores it before its update."""
        self.seen = []
        stepper, rates = self._stepper(-(-len(items) // self.recipe.batch)), []
        spent = 0.0
        for _, indices in batches(len(items), self.recipe.batch, self.options.seed, stepper.total):
            before = len(self.seen)
            rate = stepper.step.scheduler.get_last_lr()[0]
            stepper.step([items[i] for i in indices])
            rates += [spent] * (len(self.seen) - before)
            spent += rate
            advance(1)
        # Nothing had been learned when the first batch was scored: its margins are 0 by construction.
        learned = [row for row, rate in zip(self.seen, rates, strict=True) if rate > 0]
        return _pass(learned, [rate for rate in rates if rate > 0])

    def half(self, train: Sequence[Example], unseen: Sequence[Example], advance: Advance) -> Pass:
        """Some steps on one half, then the other half's scores."""
        stepper, spent = self._stepper(self.options.steps), 0.0
        for _, indices in batches(len(train), self.recipe.batch, self.options.seed, stepper.total):
            spent += stepper.step.scheduler.get_last_lr()[0]
            stepper.step([train[i] for i in indices])
            advance(1)
        sums = side_sums(self.policy, self.accelerator, sides_of(unseen), self.options.micro_tokens)
        rows = [
            _moved(item, chosen, rejected)
            for item, chosen, rejected in zip(unseen, sums[::2], sums[1::2], strict=True)
        ]
        return _pass(rows, [spent] * len(rows))

    def noise(self, items: Sequence[Example]) -> Noise | None:
        """Gradients of single pairs at the start of training."""
        if len(items) < 2:
            return None
        stepper = self._stepper(1)
        total: list[torch.Tensor] | None = None
        singles = []
        parameters = [p for p in self.policy.parameters() if p.requires_grad]
        for item in items:
            stepper.step.gradients([item])
            gradient = [
                torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in parameters
            ]
            stepper.step.optimizer.zero_grad()
            singles.append(sum(float(g.double().square().sum()) for g in gradient))
            total = gradient if total is None else [a + b for a, b in zip(total, gradient, strict=True)]
        mean = sum(float((g.double() / len(items)).square().sum()) for g in total or ())
        return Noise(np.array(singles), mean)

    def _stepper(self, steps: int) -> _Counted:
        put_weights(self.model, self.start)
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        optimizer = self.accelerator.prepare(
            torch.optim.AdamW(trained, lr=self.recipe.learning_rate, weight_decay=0.0)
        )
        scheduler = get_scheduler("constant", optimizer)  # a warm-up starts at 0: no step to waste
        step = Stepper(
            self.accelerator,
            self.policy,
            optimizer,
            scheduler,
            self.recipe,
            self.options.micro_tokens,
            self._see,
        )
        return _Counted(step, steps)

    def _see(self, items: Sequence[Example], batch: PairLogps) -> None:
        chosen, rejected = batch.policy.chosen.tolist(), batch.policy.rejected.tolist()
        for item, c, r in zip(items, chosen, rejected, strict=True):
            self.seen.append(_moved(item, c, r))


@dataclass(frozen=True, slots=True)
class _Counted:
    step: Stepper
    total: int


class Moved(NamedTuple):
    """A pair, its margin in nats and in nats/token, and its chosen side's change in nats/token."""

    item: Example
    margin: float
    token_margin: float
    change: float


def _moved(item: Example, chosen: float, rejected: float) -> Moved:
    """How far summed log-probs have gone from the reference."""
    assert item.reference is not None
    moved = chosen - item.reference[0], rejected - item.reference[1]
    per_token = moved[0] / item.tokens[0], moved[1] / item.tokens[1]
    return Moved(item, moved[0] - moved[1], per_token[0] - per_token[1], per_token[0])


def _pass(rows: Sequence[Moved], rates: Sequence[float]) -> Pass:
    return Pass(
        np.array([row.margin for row in rows]),
        np.array([row.token_margin for row in rows]),
        np.array([row.change for row in rows]),
        np.array(rates, dtype=np.float64),
        [row.item.prompt for row in rows],
        [row.item.line for row in rows],
    )


def _joined(passes: Sequence[Pass]) -> Pass:
    return Pass(
        np.concatenate([one.margins for one in passes]),
        np.concatenate([one.token_margins for one in passes]),
        np.concatenate([one.changes for one in passes]),
        np.concatenate([one.rates for one in passes]),
        [prompt for one in passes for prompt in one.prompts],
        [line for one in passes for line in one.lines],
    )
