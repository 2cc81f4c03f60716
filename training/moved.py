"""What a training did to what the model writes: the same prompts and random numbers before and after it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from ..records import Estimate
from ..scoring.encode import Encoder
from ..scoring.engine import token_logps
from ..scoring.model import LoadedModel
from ..stats.behaviour import Behaviour, behaviour
from .behaviour import Sampling, asked, written
from .data import Example, sides_of
from .neutral import neutral_pairs
from .samples import Samples, halves_of

JUDGED = 256  # training pairs that the judge is fitted on at most


@dataclass
class Watch:
    """Samples on held-out prompts and neutral perplexity, taken before a training and again after it.

    `loaded` is the starting model; `plain`: it is read one sequence at a time.
    """

    loaded: LoadedModel
    encoder: Encoder
    held_out: Sequence[Example]
    how: Sampling
    plain: bool = False
    samples: Samples = field(default_factory=Samples)
    neutral: list[float] = field(default_factory=list)
    seconds: float = 0.0
    fresh: bool = True  # no adapter of its own: the one put on it can be switched off

    def before(self) -> None:
        """To be called while the weights are those of the start."""
        started = time.monotonic()
        self.how = self.how.fitted(sides_of(self.held_out))
        questions = asked(self.held_out, self.how)
        self.fresh = not hasattr(self.loaded.model, "peft_config")
        self.samples.ask(questions, written(self.loaded, questions, self.how))
        self.neutral.append(self._neutral(self.loaded))
        self.seconds += time.monotonic() - started

    def after(self, tuned: LoadedModel, train: Sequence[Example], alpha: float) -> Behaviour | None:
        """What moved, by a judge of at most `JUDGED` training pairs; None where no prompt could be asked."""
        started = time.monotonic()
        self.samples.answer("after", written(tuned, self.samples.questions, self.how))
        self.neutral.append(self._neutral(tuned))
        if not self.samples.questions:
            return None
        some = list(train)[:: -(-len(train) // JUDGED)]
        with self._starting(tuned) as there:
            half = halves_of(
                tuned, some, self.held_out, self.samples, self.how, self.plain, states=there
            )["after"]  # fmt: skip
        found = behaviour([half], alpha=alpha)
        self.seconds += time.monotonic() - started
        told = f"{self.how.samples} samples of {self.how.tokens} tokens on {found.row['prompts']} prompts"
        print(f"behaviour: {told}, before and after, took {self.seconds:.0f} s", file=sys.stderr)
        return found

    @contextmanager
    def _starting(self, tuned: LoadedModel) -> Iterator[bool]:
        """Whether the starting model is there: under a fresh adapter, which is off inside."""
        model: Any = tuned.model
        if self.fresh and hasattr(model, "disable_adapter"):
            with model.disable_adapter():
                yield True
        else:
            yield False

    @torch.no_grad()
    def _neutral(self, loaded: LoadedModel) -> float:
        """Perplexity of a few neutral answers."""
        sides = [
            side for c in self.encoder.many(neutral_pairs(self.encoder)) for side in (c.chosen, c.rejected)
        ]
        logps = torch.cat(token_logps(loaded.model, sides, plain=self.plain))
        return math.exp(-float(logps.cpu().double().mean()))

    def row(self, found: Behaviour, method: str, ranking: Estimate | None) -> dict[str, Any]:
        """A row of the report's table of candidates, as the trial has them."""
        return {
            "method": method, "won": True, "eligible": True, "accuracy": None, "accuracy_low": None,
            "ranking": ranking.value if ranking else None, "ranking_low": ranking.low if ranking else None,
            "before_neutral": self.neutral[0], "after_neutral": self.neutral[-1],
            "seconds": round(self.seconds, 1), **found.row,
        }  # fmt: skip
