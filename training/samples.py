"""What the judge of behaviour reads: sides of pairs and samples, with the starting model's states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..scoring.model import LoadedModel
from ..stats.behaviour import CutResponse, Half
from .behaviour import Sampling, States, Written, as_writing, context, with_states
from .data import Example, sides_of


@dataclass
class Samples:
    """What was written on unseen prompts: by the starting model, and by method after training."""

    questions: list[Example] = field(default_factory=list)
    before: Written = field(default_factory=list)
    after: dict[str, Written] = field(default_factory=dict)

    def ask(self, questions: Sequence[Example], before: Written) -> None:
        """More prompts, with what the starting model wrote on them."""
        self.questions += questions
        self.before += before

    def answer(self, method: str, after: Written) -> None:
        """What a candidate wrote on the prompts asked last."""
        self.after.setdefault(method, []).extend(after)


def halves_of(
    loaded: LoadedModel, train: Sequence[Example], unseen: Sequence[Example], samples: Samples, how: Sampling,
    plain: bool, states: bool = True, known: States | None = None,
) -> dict[str, Half]:  # fmt: skip
    """By method what the judge is fitted on and asked. `loaded` has its starting weights.

    All texts are read together, so that a prompt is read once for its sides and all its samples. Without
    `states` (where the starting model is gone) the judge has the texts alone; `known` as in `with_states`.
    """
    pairs = [*train, *unseen]
    sides = sides_of(pairs)
    contexts: list[Sequence[int]] = [side.ids[: side.start] for side in sides]
    texts = [as_writing(loaded, side, how) for side in sides]
    for written in (samples.before, *samples.after.values()):
        for item, some in zip(samples.questions, written, strict=True):
            contexts += [context(item)] * len(some)
            texts += some
    read = iter(with_states(loaded, contexts, texts, plain=plain, known=known) if states else texts)
    responses = [next(read) for _ in sides]
    chosen, rejected, n = responses[::2], responses[1::2], len(train)
    before, *after = (_shaped(read, some) for some in (samples.before, *samples.after.values()))
    return {
        method: Half(
            chosen[:n],
            rejected[:n],
            chosen[n:],
            rejected[n:],
            [item.prompt for item in unseen],
            before,
            mine,
            [item.prompt for item in samples.questions],
        )
        for method, mine in zip(samples.after, after, strict=True)
    }


def _shaped(read: Iterator[CutResponse], like: Written) -> Written:
    return [[next(read) for _ in some] for some in like]
