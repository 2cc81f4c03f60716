"""A short KTO run from the starting model on half of the prompts, measured on the other half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import get_scheduler

from ...errors import ProbeError
from ...pairs.unpaired import UnpairedAnswer
from ...progress import progress
from ...records import Estimate
from ...scoring.answers import AnswerReader
from ...training.checkpoint import put_weights, trainable_weights
from ...training.data import batches
from ...training.evaluate import side_sums
from ...training.policy import Policy, trainable_model
from ...training.recipes import MICRO_TOKENS, Recipe, recipe
from ...training.unpaired import balanced, split_answers
from ...training.unpaired_run import unpaired_changes
from ...training.unpaired_stage import KtoStepper, UnpairedExample
from .told import UnpairedOptions

MOST_ANSWERS = 128  # answers trained on, and as many measured
TRIAL_NAMES = {"gap_change": "trial_gap_change", "wanted_logps_change": "trial_wanted_change",
         "unwanted_logps_change": "trial_unwanted_change"}  # fmt: skip


def trial_changes(
    answers: Sequence[UnpairedAnswer], reader: AnswerReader, options: UnpairedOptions
) -> tuple[Estimate, ...]:
    """`trial_gap_change` and the change of either kind on unseen prompts, nats/token with the end token.

    The model has its own weights again afterwards. An estimate without a value says why there is none.
    """
    try:
        train, unseen = split_answers(_some(answers, options.seed), reader, 0.5, options.seed)
    except ProbeError as error:
        why = f"not measured: {error}"
        return (Estimate("trial_gap_change", None, None, None, len(answers), None, why, "nats/token"),)
    weights = balanced(train)
    chosen = recipe("kto", reader.loaded.facts.get("parameters"), n=len(train)).with_values(
        {"desirable_weight": weights.desirable_weight, "undesirable_weight": weights.undesirable_weight}
    )
    sums = _trained(reader, chosen, train, unseen, options)
    found, _ = unpaired_changes(unseen, sums, options.alpha)
    return tuple(replace(e, name=TRIAL_NAMES[e.name]) for e in found)


def _some(answers: Sequence[UnpairedAnswer], seed: int) -> list[UnpairedAnswer]:
    """At most twice `MOST_ANSWERS` answers, whole prompts drawn by seed, in the file's order."""
    by_prompt: dict[str, list[int]] = {}
    for i, answer in enumerate(answers):
        by_prompt.setdefault(answer.key, []).append(i)
    kept: list[int] = []
    for key in np.random.default_rng(seed).permutation(sorted(by_prompt)).tolist():
        if len(kept) + len(by_prompt[key]) <= 2 * MOST_ANSWERS:
            kept += by_prompt[key]
    return [answers[i] for i in sorted(kept)]


def _trained(
    reader: AnswerReader, chosen: Recipe, train: Sequence[UnpairedExample], unseen: Sequence[UnpairedExample],
    options: UnpairedOptions,
) -> list[float]:  # fmt: skip
    """Σ log p of the unseen answers after the steps; the model is as it was afterwards."""
    loaded = reader.loaded
    model: Any = trainable_model(loaded.model, chosen, seed=options.seed)
    start = {name: weight.clone() for name, weight in trainable_weights(model).items()}
    try:
        accelerator = Accelerator(cpu=loaded.device.type == "cpu")
        policy = accelerator.prepare(Policy(model, plain=reader.scorer.plain()))
        trained = [p for p in policy.parameters() if p.requires_grad]
        optimizer = accelerator.prepare(torch.optim.AdamW(trained, lr=chosen.learning_rate))
        scheduler = get_scheduler("constant", optimizer)  # a warm-up starts at 0: no step to waste
        step = KtoStepper(accelerator, policy, optimizer, scheduler, chosen, MICRO_TOKENS)
        with progress("trial", options.trial_steps, "steps") as advance:
            for _, indices in batches(len(train), chosen.batch, options.seed, options.trial_steps):
                step([train[i] for i in indices])
                advance(1)
        model.eval()
        return side_sums(policy, accelerator, [item.codes.chosen for item in unseen], MICRO_TOKENS)
    finally:
        put_weights(model, start)
        if model is not loaded.model:
            model.unload()
