"""Did what a model writes move to the chosen kind? A judge of responses, and the test of its answers.

The judge is a classifier of chosen against rejected, fitted on the pairs that the model was trained on. What
it cannot tell apart on unseen pairs it cannot see in samples either: its accuracy there bounds the answer. At
chance there is none. Samples may be of neither kind, and a judge of two kinds says something of them all the
same: where the chosen sides themselves would not be moves up from the samples, it is not heard. Before and
after are drawn with the same random numbers: a sample that training did not touch is the same sample. Form
(length, lists, first words) has a judge of its own, since a move that is all form teaches no content. No
model and no torch here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from ..records import Estimate
from .answers import repeated_share
from .scripts import Parting, length_in_words, parting
from .statistics import Floats, share, share_clustered

LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
OPENING = 3  # words that `form` sees of the beginning
CROSS_FIT = 2.0  # two halves that judge each other make the same errors: at worst they are one half


@dataclass(frozen=True, slots=True)
class CutResponse:
    """A response cut to the length of a sample: its text, whether it had ended by then, its token ids.

    `states` [features]: the base model's hidden states over it, or None where they were not read.
    """

    text: str
    ended: bool
    ids: tuple[int, ...]
    states: Floats | None = None


class Judge:
    """A classifier of chosen against rejected writing; a score above another is nearer to the chosen kind.

    `kind`: `content` sees words, word pairs and states where both have them; `form` sees length, lists,
    punctuation and the first words.
    """

    def __init__(
        self, chosen: Sequence[CutResponse], rejected: Sequence[CutResponse], kind: str = "content"
    ) -> None:
        from sklearn.linear_model import LogisticRegression

        self._blocks = _blocks([*chosen, *rejected], kind)
        features = self._features([*chosen, *rejected])
        labels = np.repeat([1, 0], [len(chosen), len(rejected)])
        self._model = LogisticRegression(C=1.0, max_iter=300).fit(features, labels)

    def scores(self, written: Sequence[CutResponse]) -> Floats:
        """Log-odds [writings] of the chosen kind."""
        return np.asarray(self._model.decision_function(self._features(written)), dtype=np.float64)

    def _features(self, written: Sequence[CutResponse]) -> Any:
        return sparse.hstack([block(written) for block in self._blocks]).tocsr()


def _blocks(written: Sequence[CutResponse], kind: str) -> list[Any]:
    parted = parting(one.text for one in written)
    if kind == "form":
        return [_Vector(partial(_form_words, parted), written), _Dense(_form_numbers, written)]
    blocks: list[Any] = [_Vector(partial(_content_words, parted), written)]
    if all(one.states is not None for one in written):
        blocks.append(_Dense(_states, written))
    return blocks


class _Vector:
    """Counts of what `words` finds, tf-idf weighted."""

    def __init__(self, words: Any, written: Sequence[CutResponse]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(analyzer=lambda text: list(words(text)), sublinear_tf=True)
        self._vectorizer.fit([*(one.text for one in written), "a"])  # never an empty vocabulary

    def __call__(self, written: Sequence[CutResponse]) -> Any:
        """Rows [writings, features] of length 1."""
        return self._vectorizer.transform([one.text for one in written])


class _Dense:
    """Numbers, each centred and scaled by the fitted writings, so that a row has length about 1."""

    def __init__(self, numbers: Any, written: Sequence[CutResponse]) -> None:
        self._numbers = numbers
        values = np.stack([numbers(one) for one in written])
        self._centre, spread = values.mean(0), values.std(0)
        self._scale = np.where(spread > 0, spread, np.inf) * math.sqrt(values.shape[1])

    def __call__(self, written: Sequence[CutResponse]) -> Any:
        """Rows [writings, features]."""
        return sparse.csr_matrix(
            (np.stack([self._numbers(one) for one in written]) - self._centre) / self._scale
        )


def _content_words(parted: Parting, text: str) -> Iterator[str]:
    words = parted(text.lower())
    yield from words
    yield from (f"{a} {b}" for a, b in pairwise(words))


def _form_words(parted: Parting, text: str) -> Iterator[str]:
    words = parted(text)[:OPENING]
    yield from (" ".join(words[:k]) for k in range(1, len(words) + 1))


def _form_numbers(one: CutResponse) -> Floats:
    text = one.text
    marks = sum(not c.isalnum() and not c.isspace() for c in text) / max(len(text), 1)
    lists, lines = len(LIST.findall(text)), text.count("\n")
    return np.array([math.log1p(len(one.ids)), one.ended, math.log1p(lists), math.log1p(lines), marks])


def _states(one: CutResponse) -> Floats:
    assert one.states is not None
    return one.states


@dataclass(frozen=True, slots=True)
class Half:
    """What is measured on one set of unseen prompts by a judge of the pairs that were trained on.

    `chosen`, `rejected`: the unseen pairs, for the judge's own accuracy, and `pair_prompts` their prompts.
    `before`, `after` [prompts][samples]: what was written on `prompts` with the same random numbers.
    """

    train_chosen: Sequence[CutResponse]
    train_rejected: Sequence[CutResponse]
    chosen: Sequence[CutResponse]
    rejected: Sequence[CutResponse]
    pair_prompts: Sequence[str]
    before: Sequence[Sequence[CutResponse]]
    after: Sequence[Sequence[CutResponse]]
    prompts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Moves:
    """Prompts by what their samples did under one judge: towards the chosen kind, away, or nothing."""

    up: int
    down: int
    unchanged: int

    @property
    def prompts(self) -> int:
        """All prompts."""
        return self.up + self.down + self.unchanged


def moves(judge: Judge, half: Half) -> Moves:
    """By each prompt's mean change of score; a prompt whose samples are all the same is unchanged."""
    up = down = same = 0
    for before, after in zip(half.before, half.after, strict=True):
        change = 0.0
        if [one.ids for one in before] != [one.ids for one in after]:
            change = float(judge.scores(after).sum() - judge.scores(before).sum())
        up, down, same = up + (change > 0), down + (change < 0), same + (change == 0)
    return Moves(up, down, same)


def ideal_moves(judge: Judge, half: Half, sides: Sequence[CutResponse]) -> Moves:
    """What `moves` would find of a model that wrote `sides` of the unseen pairs, the first of each prompt."""
    own = dict(zip(reversed(half.pair_prompts), reversed(sides), strict=True))
    changes = [
        np.sign(float(judge.scores([own[prompt]])[0] - judge.scores(before).mean()))
        for prompt, before in zip(half.prompts, half.before, strict=True)
        if prompt in own
    ]
    return Moves(changes.count(1), changes.count(-1), changes.count(0))


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the samples of one training show: estimates, and the row of numbers that a report prints."""

    estimates: tuple[Estimate, ...]
    row: dict[str, Any]
    judged: bool

    def named(self, method: str) -> tuple[Estimate, ...]:
        """The estimates under `NAME@METHOD`."""
        return tuple(replace(e, name=f"{e.name}@{method}") for e in self.estimates)


def behaviour(halves: Sequence[Half], *, alpha: float = 0.05, tests: int = 1) -> Behaviour:
    """The judge's accuracy on unseen pairs, and which way the prompts moved, over all `halves`.

    `tests`: candidates that share `alpha`; the judge is the same for all, so its accuracy is tested once.
    `behaviour_up` has no value where the judge is not shown to tell unseen pairs apart, or where it would
    not count the chosen sides themselves as moves up more often than down. A prompt has one say however often
    it was sampled, so the sign test over moved prompts is exact. Raises `ValueError` without any prompt.
    """
    if not any(half.before for half in halves):
        raise ValueError("no prompt was sampled")
    judges = [Judge(half.train_chosen, half.train_rejected) for half in halves]
    forms = [Judge(half.train_chosen, half.train_rejected, "form") for half in halves]
    accuracy = judge_accuracy(judges, halves, alpha)
    ideal = _summed(ideal_moves(j, half, half.chosen) for j, half in zip(judges, halves, strict=True))
    worst = _summed(ideal_moves(j, half, half.rejected) for j, half in zip(judges, halves, strict=True))
    why = _unheard(accuracy, ideal)
    content, form = (_summed(map(moves, some, halves)) for some in (judges, forms))
    level = alpha / tests
    estimates = (accuracy, _up(content, why, level), _unchanged(content, halves, level))
    row = {
        "judged": not why, "judge": accuracy.value, "judge_low": accuracy.low, "prompts": content.prompts,
        "up": content.up, "down": content.down, "unchanged": content.unchanged,
        "form_up": form.up, "form_down": form.down, "chosen_up": ideal.up, "chosen_down": ideal.down,
        "rejected_up": worst.up, "rejected_down": worst.down, **_form(halves),
    }  # fmt: skip
    return Behaviour(estimates, row, not why)


def _unheard(accuracy: Estimate, ideal: Moves) -> str:
    """Why the judge is not heard; "" where it is."""
    if accuracy.low is None or accuracy.low <= 0.5:
        return "the judge does not tell unseen pairs apart"
    if ideal.up <= ideal.down:
        return f"to the judge the chosen sides themselves are {ideal.up} moves up and {ideal.down} down"
    return ""


def judge_accuracy(judges: Sequence[Judge], halves: Sequence[Half], alpha: float) -> Estimate:
    """The share of unseen pairs whose chosen side has the higher score, ties as half."""
    hits, prompts = [], []
    for judge, half in zip(judges, halves, strict=True):
        gaps = judge.scores(half.chosen) - judge.scores(half.rejected)
        hits += ((np.sign(gaps) + 1) / 2).tolist()
        prompts += list(half.pair_prompts)
    spread = CROSS_FIT if len(halves) > 1 else 1.0
    made = share_clustered(hits, prompts, name="behaviour_judge", alpha=alpha, spread=spread)
    return replace(made, method=f"{made.method}; a classifier of the trained pairs on unseen ones")


def _summed(parts: Iterator[Moves]) -> Moves:
    all_ = list(parts)
    return Moves(sum(m.up for m in all_), sum(m.down for m in all_), sum(m.unchanged for m in all_))


def _up(found: Moves, unheard: str, alpha: float) -> Estimate:
    moved = found.up + found.down
    if unheard:
        return Estimate("behaviour_up", None, None, None, moved, None, f"not judged: {unheard}", "share")
    if not moved:
        return Estimate("behaviour_up", None, None, None, 0, None, "no prompt moved", "share")
    return share(found.up, moved, name="behaviour_up", alpha=alpha)


def _unchanged(found: Moves, halves: Sequence[Half], alpha: float) -> Estimate:
    """The share of prompts whose samples are the same, token for token, as before."""
    same = sum(
        [a.ids for a in x] == [b.ids for b in y]
        for half in halves
        for x, y in zip(half.before, half.after, strict=True)
    )
    return share(same, found.prompts, name="behaviour_unchanged", alpha=alpha)


def _form(halves: Sequence[Half]) -> dict[str, float]:
    """Length, ends, lists, the commonest opening and repetition of samples before and after."""
    found: dict[str, float] = {}
    for name in ("before", "after"):
        written = [one for half in halves for some in getattr(half, name) for one in some]
        found |= {f"{name}_{key}": value for key, value in form_of(written).items()}
    chosen = [one for half in halves for one in half.chosen]
    return found | {f"chosen_{key}": value for key, value in form_of(chosen).items()}


def form_of(written: Sequence[CutResponse]) -> dict[str, float]:
    """Means over writings: words, share that ended, share with a list, share of the commonest first word."""
    n = max(len(written), 1)
    parted = parting(one.text for one in written)
    first = [words[0] if (words := parted(one.text)) else "" for one in written]
    return {
        "words": sum(length_in_words(one.text) for one in written) / n,
        "ended": sum(one.ended for one in written) / n,
        "lists": sum(bool(LIST.search(one.text)) for one in written) / n,
        "first_word": max((first.count(word) for word in set(first)), default=0) / n,
        "repetition": repeated_share([one.ids for one in written]),
    }
