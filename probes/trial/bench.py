"""Short runs of one LoRA model, each from its start: steps on some pairs, then what it makes of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from transformers import get_scheduler

from ...progress import Advance
from ...scoring.processes import exchange
from ...training.adapted import adapted_products
from ...training.checkpoint import put_weights, trainable_weights
from ...training.data import Example, batches, sides_of
from ...training.evaluate import side_sums
from ...training.methods import METHODS
from ...training.objective import PairLogps
from ...training.policy import Policy
from ...training.recipes import Recipe
from ...training.step import Stepper
from .passes import Noise, Pass


@dataclass(frozen=True, slots=True)
class Tuned:
    """Where training has come to after so many `stages`: trainable weights by name, Σ of all learning rates,
    and what the pairs of the first stage were worth before their first update."""

    weights: Mapping[str, torch.Tensor]
    spent: float = 0.0
    early: Pass = field(default_factory=Pass.empty)
    stages: int = 0


class Bench:
    """A LoRA model that can be put back to its start, to make one short run after the other."""

    def __init__(
        self, model: torch.nn.Module, *, seed: int = 0, micro_tokens: int = 1024, plain: bool = False
    ) -> None:
        self.model, self.seed, self.micro_tokens = model, seed, micro_tokens
        self.half = False  # whether frozen products are made in bfloat16
        self._products = ExitStack()
        self.compute(half=False)
        self.accelerator = Accelerator(cpu=next(model.parameters()).device.type == "cpu")
        self.policy = self.accelerator.prepare(Policy(model, plain=plain))
        self.start = {name: weight.clone() for name, weight in trainable_weights(model).items()}
        self._seen: list[Moved] = []

    def compute(self, *, half: bool) -> None:
        """Frozen products in bfloat16 from now on, or in float32; `self.half` says whether any layer is."""
        self._products.close()
        self.half = bool(self._products.enter_context(adapted_products(self.model, half=half))) and half

    def put_away(self, model: torch.nn.Module) -> None:
        """Give `model` its own weights back; an adapter that it came with stays on it."""
        self._products.close()
        mine: Any = self.model
        if mine is not model and hasattr(mine, "unload"):
            mine.unload()
        else:
            put_weights(mine, self.start)

    def stage(
        self, begun: Tuned, recipe: Recipe, steps: int, items: Sequence[Example], advance: Advance
    ) -> Tuned:
        """One stage from where another one ended, or from the start (`Tuned(bench.start)`)."""
        self.put(begun)
        later = begun.stages > 0
        if later and METHODS[recipe.method].reference:
            items = self.rescored(items)
        rows, rates = self._steps(recipe, steps, items, advance)
        weights = {name: weight.clone() for name, weight in trainable_weights(self.model).items()}
        early = begun.early if later else passed(rows, rates)
        return Tuned(weights, begun.spent + recipe.learning_rate * steps, early, begun.stages + 1)

    def put(self, tuned: Tuned | None = None) -> None:
        """Give the model these weights; None: those of the start, which are the model's own."""
        put_weights(self.model, dict(tuned.weights if tuned else self.start))
        self.model.eval()

    def _steps(
        self, recipe: Recipe, steps: int, items: Sequence[Example], advance: Advance
    ) -> tuple[list[Moved], list[float]]:
        """The updates of a stage. Nothing was learned when its first batch was scored: that is left out."""
        stepper, self._seen = self._stepper(recipe), []
        rates: list[float] = []
        epoch = -(-len(items) // recipe.batch)
        for step, (_, indices) in enumerate(batches(len(items), recipe.batch, self.seed, steps)):
            stepper([items[i] for i in indices])
            if step < epoch:
                rates += [recipe.learning_rate * step] * (len(self._seen) - len(rates))
            advance(1)
        mine = [(rate, row) for rate, row in zip(rates, self._seen, strict=False) if rate > 0]
        shares = exchange(mine, cpu=self.accelerator.device.type == "cpu")
        # A process without a pair of its own in a step has seen one of another's, so a line counts once.
        seen = {row.item.line: (rate, row) for share in reversed(shares) for rate, row in share}
        found = sorted(seen.values(), key=lambda pair: (pair[0], pair[1].item.codes.chosen.ids))
        return [row for _, row in found], [rate for rate, _ in found]

    def unseen(self, items: Sequence[Example], spent: float) -> Pass:
        """What the model as it now is makes of pairs that it was not trained on."""
        sums = self._sums(items)
        rows = [_moved(item, *both) for item, both in zip(items, sums, strict=True)]
        return passed(rows, [spent] * len(rows))

    def noise(self, recipe: Recipe, items: Sequence[Example]) -> Noise | None:
        """Gradients of single pairs at the start of training."""
        if len(items) < 2:
            return None
        put_weights(self.model, self.start)
        singles, total = [], None
        for gradient in self._gradients(self._stepper(recipe), items):
            singles.append(sum(float(g.cpu().double().square().sum()) for g in gradient))
            total = gradient if total is None else [a + b for a, b in zip(total, gradient, strict=True)]
        mean = sum(float((g.cpu().double() / len(items)).square().sum()) for g in total or ())
        return Noise(np.array(singles), mean)

    def _gradients(self, stepper: Stepper, items: Sequence[Example]) -> Iterator[list[torch.Tensor]]:
        parameters = [p for p in self.policy.parameters() if p.requires_grad]
        for item in items:
            stepper.gradients([item])
            yield [torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in parameters]
            stepper.optimizer.zero_grad()

    def rescored(self, items: Sequence[Example]) -> list[Example]:
        """The items with the present model as their reference."""
        sums = self._sums(items)
        return [replace(item, reference=both) for item, both in zip(items, sums, strict=True)]

    def _sums(self, items: Sequence[Example]) -> list[tuple[float, float]]:
        sums = side_sums(self.policy, self.accelerator, sides_of(items), self.micro_tokens)
        return list(zip(sums[::2], sums[1::2], strict=True))

    def _stepper(self, recipe: Recipe) -> Stepper:
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        made = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        optimizer = self.accelerator.prepare(made)
        scheduler = get_scheduler("constant", optimizer)  # a warm-up starts at 0: no step to waste
        return Stepper(
            self.accelerator, self.policy, optimizer, scheduler, recipe, self.micro_tokens, self._see
        )

    def _see(self, items: Sequence[Example], batch: PairLogps) -> None:
        chosen, rejected = batch.policy.chosen.tolist(), batch.policy.rejected.tolist()
        self._seen += [_moved(item, c, r) for item, c, r in zip(items, chosen, rejected, strict=True)]


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


def passed(rows: Sequence[Moved], rates: Sequence[float]) -> Pass:
    """The rows as arrays; `rates`: Σ of the learning rates of the updates before each was scored."""
    return Pass(
        np.array([row.margin for row in rows]),
        np.array([row.token_margin for row in rows]),
        np.array([row.change for row in rows]),
        np.array(rates, dtype=np.float64),
        [row.item.prompt for row in rows],
        [row.item.line for row in rows],
        np.array([_start_gap(row.item) for row in rows], dtype=np.float64),
    )


def _start_gap(item: Example) -> float:
    """Mean log p per token of chosen less rejected under the starting model."""
    assert item.reference is not None
    return item.reference[0] / item.tokens[0] - item.reference[1] / item.tokens[1]


def joined(passes: Sequence[Pass], folds: int = 1) -> Pass:
    """All passes as one, in order; `folds`: how many trainings they are measured by."""
    return Pass(
        np.concatenate([one.margins for one in passes]),
        np.concatenate([one.token_margins for one in passes]),
        np.concatenate([one.changes for one in passes]),
        np.concatenate([one.rates for one in passes]),
        [prompt for one in passes for prompt in one.prompts],
        [line for one in passes for line in one.lines],
        np.concatenate([one.gaps for one in passes]),
        folds,
    )
