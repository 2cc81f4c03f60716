"""Unpaired answers as examples: encoded, split by prompt, each with another prompt's answer for KTO's z₀."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ProbeError
from ..pairs.identity import prompt_identity
from ..pairs.unpaired import UnpairedAnswer, as_pair
from ..progress import progress
from ..scoring.answers import AnswerReader, has_words
from ..scoring.scores import EncodedPair
from .data import prompt_key, split_by_prompt
from .methods import LossConstants
from .unpaired_stage import UnpairedExample


def split_answers(
    answers: Sequence[UnpairedAnswer], reader: AnswerReader, share: float, seed: int
) -> tuple[list[UnpairedExample], list[UnpairedExample]]:
    """Training and held-out answers with their reference log-probs; all answers to a prompt go to one side.

    Answers without a token are left out. Raises `ProbeError` when a side would be empty, or holds one prompt.
    """
    made = [
        UnpairedExample(a.id, a.line, prompt_key(as_pair(a)), EncodedPair(a.id, side, side), a.group,
                        wanted=a.wanted)
        for a, side in zip(answers, reader.sides(answers), strict=True)
        if has_words(side)
    ]  # fmt: skip
    by_line = {answer.line: answer for answer in answers}
    return tuple(  # type: ignore[return-value]
        _with_reference([by_line[item.line] for item in items], items, reader, seed)
        for items in split_by_prompt(made, share, seed)
    )


def mismatched(answers: Sequence[UnpairedAnswer], seed: int) -> list[UnpairedAnswer]:
    """For each answer one to another prompt: the next in a seeded order, so that nearly all are taken once.

    TRL takes the one before within a batch; drawn over the whole set it is the same for the whole run, so
    that the reference scores it once. Raises `ProbeError` where there is one prompt.
    """
    order = np.random.default_rng([seed, 2]).permutation(len(answers)).tolist()
    found: dict[int, UnpairedAnswer] = {}
    asked = {answer.line: prompt_identity(as_pair(answer)) for answer in answers}
    for k, i in enumerate(order):
        later = (answers[j] for j in (*order[k + 1 :], *order[:k]))
        other = next((answer for answer in later if asked[answer.line] != asked[answers[i].line]), None)
        if other is None:
            raise ProbeError("KTO needs answers to several prompts on either side of the split. Give more.")
        found[i] = other
    return [found[i] for i in range(len(answers))]


def _with_reference(
    answers: Sequence[UnpairedAnswer], items: Sequence[UnpairedExample], reader: AnswerReader, seed: int
) -> list[UnpairedExample]:
    others = reader.sides(answers, mismatched(answers, seed))
    sides = [side for item, other in zip(items, others, strict=True) for side in (item.codes.chosen, other)]
    with progress("reference", len(sides), "answers") as advance:
        logps = reader.scorer.side_logps(sides, [a.line for a in answers for _ in range(2)], advance)
    sums = [float(values.sum(dtype=np.float64)) for values in logps]
    return [
        UnpairedExample(
            item.id, item.line, item.prompt, EncodedPair(item.id, item.codes.chosen, other), item.group,
            (mine, its), item.wanted,
        )
        for item, other, mine, its in zip(items, others, sums[::2], sums[1::2], strict=True)
    ]  # fmt: skip


def balanced(items: Sequence[UnpairedExample]) -> LossConstants:
    """KTO's weights where none are asked for: λ_D · wanted = λ_U · unwanted, the larger label's being 1.

    Ethayarajh et al. 2024, eq. 8, asks for a ratio from 1 to 4/3. With one label both stay 1.
    """
    wanted = sum(item.wanted for item in items)
    unwanted = len(items) - wanted
    if not wanted or not unwanted:
        return LossConstants()
    return LossConstants(
        desirable_weight=max(1.0, unwanted / wanted), undesirable_weight=max(1.0, wanted / unwanted)
    )
