"""What a model makes of unpaired answers: the kind it finds likelier, and if its states tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...pairs.unpaired import UnpairedAnswer
from ...progress import progress
from ...records import Estimate
from ...scoring.answers import AnswerReader, has_words
from ...scoring.model import LoadedModel
from ...scoring.readout import depths
from ...scoring.scores import EncodedSide
from ...scoring.service import Scorer
from ...scoring.session import ModelOptions
from ...stats.two_groups import group_difference
from ..negatives.read import read_sides
from .told import UnpairedOptions, folds_of, label_accuracy
from .trial import trial_changes

INVERSE_PENALTY = 1e-2  # of the penalty's inverse: hundreds of states, some dozens of answers


def read_by_model(
    answers: Sequence[UnpairedAnswer], how: ModelOptions, options: UnpairedOptions,
    loaded: LoadedModel | None = None,
) -> tuple[list[Estimate], Mapping[str, Any]]:  # fmt: skip
    """`gap` and `signal_accuracy` of the answers, and the facts of the model.

    `gap`: mean log-prob a token of wanted minus unwanted answers under their prompts, nats/token, end tokens
    left out. `signal_accuracy`: balanced accuracy of a linear classifier of the frozen model's states over
    the answer, prompt included, in folds that share no prompt. Where steps are asked for, what a short KTO
    run changes on unseen prompts. Answers without a token are left out of both.
    """
    reader = AnswerReader.open(answers, how, loaded)
    sides = reader.sides(answers)
    kept = [i for i, side in enumerate(sides) if has_words(side)]
    scorer, encoder = reader.scorer, reader.encoder
    read, some = [sides[i] for i in kept], [answers[i] for i in kept]
    gap = _gap(scorer, read, some, options)
    signal = _signal(scorer, read, some, options)
    both = len({answer.wanted for answer in some}) == 2
    trial = trial_changes(some, reader, options) if options.trial_steps and both else ()
    facts = {**reader.loaded.facts, "template": encoder.template, "read": len(kept)}
    return [gap, signal, *trial], facts


def _gap(
    scorer: Scorer, sides: Sequence[EncodedSide], answers: Sequence[UnpairedAnswer], options: UnpairedOptions
) -> Estimate:
    scored = scorer.side_logps(sides, [answer.line for answer in answers])
    words = [logps[: len(logps) - side.ends] for side, logps in zip(sides, scored, strict=True)]
    return group_difference(
        [float(logps.mean()) for logps in words],
        [answer.wanted for answer in answers],
        [answer.key for answer in answers],
        name="gap", units="nats/token", alpha=options.alpha,
    )  # fmt: skip


def _signal(
    scorer: Scorer, sides: Sequence[EncodedSide], answers: Sequence[UnpairedAnswer], options: UnpairedOptions
) -> Estimate:
    plain = scorer.plain()

    def hits_of(wanted: Any, keys: Any) -> Any:
        middle = 2 * max(len(depths(scorer.loaded.model)) // 2 - 1, 0)  # the mean state, half of the way up
        states = np.stack([r.pooled[middle] for r in read_sides(scorer, sides, "states", plain=plain)])
        return _by_states(states.astype(np.float64), wanted, keys, options.seed)

    return label_accuracy("signal_accuracy", answers, hits_of, options)


def _by_states(states: Any, wanted: Any, keys: Any, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    hits = np.zeros(len(wanted), dtype=bool)
    with progress("telling the labels", 1, "classifiers") as advance:
        for train, test in folds_of(wanted, keys, seed):
            center, scale = states[train].mean(0), states[train].std(0) + 1e-8
            model = LogisticRegression(class_weight="balanced", C=INVERSE_PENALTY, max_iter=1000)
            model.fit((states[train] - center) / scale, wanted[train])
            hits[test] = model.predict((states[test] - center) / scale) == wanted[test]
        advance(1)
    return hits
