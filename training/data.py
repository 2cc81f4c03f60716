"""What is trained on: encoded pairs with their reference log-probs, split by prompt, in a seeded order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import numpy as np

from ..errors import ProbeError
from ..pairs.identity import cluster_key, prompt_identity
from ..pairs.record import Pair
from ..scoring.encode import Encoder
from ..scoring.flags import EXCLUDING
from ..scoring.scores import EncodedPair, EncodedSide, PairScore, SideScore
from ..scoring.tree import common_prefix


@dataclass(frozen=True, slots=True)
class Example:
    """A pair ready for training. `prompt` names its prompt: pairs that share one are never split.

    `reference` holds Σ log p of chosen and rejected under the reference, in nats, end token included.
    """

    id: str
    line: int
    prompt: str
    codes: EncodedPair
    group: str | None = None
    reference: tuple[float, float] | None = None
    compares: ClassVar[bool] = True  # chosen and rejected are answers to one prompt

    @property
    def tokens(self) -> tuple[int, int]:
        """Scored tokens of chosen and rejected, end token included."""
        sides = self.codes.chosen, self.codes.rejected
        return len(sides[0].ids) - sides[0].start, len(sides[1].ids) - sides[1].start


class UnderPrompt(Protocol):
    """What stands under a prompt: a pair, an answer."""

    @property
    def prompt(self) -> str:
        """The name of the prompt, as `prompt_names` makes it."""


E = TypeVar("E", bound=UnderPrompt)


def sides_of(items: Iterable[Example]) -> list[EncodedSide]:
    """Chosen and rejected of each item in turn."""
    return [side for item in items for side in (item.codes.chosen, item.codes.rejected)]


def examples(
    pairs: Iterable[Pair],
    encoder: Encoder,
    scores: Iterable[PairScore] = (),
    codes: Sequence[EncodedPair] | None = None,
) -> list[Example]:
    """The pairs that can be trained on, with the reference log-probs of those that were scored.

    `codes`: the pairs as the encoder made them, where that is done. Pairs without a scored token, or whose
    sides are the same tokens, teach nothing and are left out.
    """
    known = {score.line: (total(score.chosen), total(score.rejected)) for score in scores}
    kept = list(pairs)
    coded = encoder.many(kept) if codes is None else codes
    return [
        Example(pair.id, pair.line, prompt, codes, pair.group, known.get(pair.line))
        for pair, prompt, codes in zip(kept, prompt_names(kept), coded, strict=True)
        if not EXCLUDING.intersection(codes.flags)
    ]


def total(side: SideScore) -> float:
    """Σ log p of a response with its end token, in nats."""
    return side.logps + (side.end_logp or 0.0)


def prompt_key(pair: Pair) -> str:
    """A short name of the prompt; pairs without one share it where they have the same two texts."""
    return _short(cluster_key(pair))


def prompt_names(pairs: Iterable[Pair]) -> list[str]:
    """A short name of each pair's prompt, by which these pairs are split. Those without a prompt are named by
    the line of the first with the same two texts: a file of minimal pairs keeps the split that it had."""
    first: dict[str, int] = {}
    return [
        _short(prompt_identity(pair) or f"\0line {first.setdefault(cluster_key(pair), pair.line)}")
        for pair in pairs
    ]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def split_by_prompt(items: Sequence[E], share: float, seed: int) -> tuple[list[E], list[E]]:
    """Training and held-out pairs; all pairs of a prompt go to one side.

    The prompts are drawn by `seed`, `share` of them. Raises `ProbeError` when a side would be empty.
    """
    prompts = sorted({item.prompt for item in items})
    count = round(share * len(prompts))
    if not prompts:
        raise ProbeError(
            "None of the rows can be trained on: their prompts fill --max-length, or their sides are empty "
            "or the same tokens. Look at the file with `probe data`."
        )
    if len(prompts) < 2:
        raise ProbeError(
            "All rows that can be trained on share one prompt, so none can be held out. "
            "Give rows of two prompts or more."
        )
    if not 0 < count < len(prompts):
        raise ProbeError(
            f"{len(prompts)} different prompts cannot be split with --held-out {share:g}: a side would be "
            "empty. Give more prompts or another share."
        )
    drawn = set(np.random.default_rng(seed).permutation(prompts)[:count].tolist())
    return [i for i in items if i.prompt not in drawn], [i for i in items if i.prompt in drawn]


def order(n: int, seed: int, epoch: int) -> list[int]:
    """The order of n items in an epoch: a function of seed and epoch alone, so that a run can be resumed."""
    permuted: list[int] = np.random.default_rng([seed, epoch]).permutation(n).tolist()
    return permuted


def batches(n: int, size: int, seed: int, steps: int, start: int = 0) -> Iterator[tuple[float, list[int]]]:
    """(epoch, indices) of the optimizer steps start … steps − 1; the last batch of an epoch may be small."""
    each = -(-n // size)
    for step in range(start, steps):
        epoch, place = divmod(step, each)
        indices = order(n, seed, epoch)[place * size : (place + 1) * size]
        yield epoch + min(1.0, (place + 1) * size / n), indices


def replayed(
    texts: Sequence[EncodedSide], share: float, size: int, seed: int, step: int
) -> list[EncodedSide]:
    """General texts for one SFT step, so many that they make `share` of a batch with `size` responses."""
    count = round(size * share / (1 - share)) if texts else 0
    draw = np.random.default_rng([seed, step, 1])
    return [texts[int(i)] for i in draw.integers(0, len(texts), count)] if count else []


def pair_cost(item: Example) -> int:
    """Distinct tokens of a pair in a packed row: the prompt counts once."""
    one, other = item.codes.chosen.ids, item.codes.rejected.ids
    return len(one) + len(other) - common_prefix(np.array(one), np.array(other))


def micro_batches(costs: Sequence[int], budget: int) -> list[list[int]]:
    """Indices cut, in order, into runs of at most `budget` tokens; a longer single item goes alone."""
    parts: list[list[int]] = []
    left = 0
    for i, cost in enumerate(costs):
        if not parts or cost > left:
            parts.append([])
            left = budget
        parts[-1].append(i)
        left -= cost
    return parts
