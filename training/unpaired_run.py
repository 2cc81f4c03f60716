"""The run behind `probe train` on unpaired answers: KTO, or SFT on the wanted ones, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import config
from ..errors import ProbeError
from ..files import sha256_file
from ..pairs.fields import parse_sides
from ..pairs.unpaired import read_unpaired, refuse_for_answers
from ..records import Decision, Estimate, Run
from ..runs import check_gated_model, environment, now
from ..scoring.answers import AnswerReader
from ..scoring.identity import identity
from ..scoring.options import ModelOptions
from ..scoring.processes import exchange, rank
from ..scoring.service import Scorer
from ..scoring.source import Source
from ..stats.mean_change import before_after_row, mean_changes
from ..stats.two_groups import group_difference
from .checks import check_device, check_options
from .held_out import write_held_out
from .methods import stages_of
from .plan import Material
from .policy import adapter_values
from .recipes import Recipe
from .resumed import claim, run_directory
from .run import REMEDIES, TrainedRun, TrainOptions, as_run, guard_findings, recipes_for
from .stages import Trained, encoded_texts, train_stages
from .texts import read_texts
from .unpaired import balanced, split_answers
from .unpaired_stage import UnpairedExample, reference_of

# What else to do than after training on pairs, whose methods and probes do not take answers.
ANSWER_REMEDIES = {
    **REMEDIES,
    "PB803": "Train again with a smaller learning rate.",
    "PB806": "There is nothing more to learn from these answers.",
    "PB807": "The best state is in place; more answers would help, more steps would not.",
}
KTO_WEIGHTS = ("desirable_weight", "undesirable_weight")


def train_unpaired(
    source: Source, how: ModelOptions, options: TrainOptions, directory: Path | None = None,
    decision: Decision | None = None, gate: Run | None = None,
) -> TrainedRun:  # fmt: skip
    """Train on the file's answers and measure what changed on those held out by prompt.

    `decision` replaces `options.method`; `gate` is the run that it rests on. Raises as
    `training.run.train_run`. Behaviour is not looked at: no judge of single answers was validated.
    """
    created = now()
    if decision is not None:
        options = replace(options, method="+".join(decision.stages))
    _check(source, options)
    texts = [read_texts(path) if path else [] for path in (options.replay, options.watch)]
    path, read = source.path, read_unpaired(source.path, source.fields, skip_bad=source.skip_bad)
    answers = read.rows
    directory = run_directory(path, created, options.loop.resume, directory)
    reader = AnswerReader.open(answers, how)
    if gate is not None:
        check_gated_model(gate, reader.loaded.facts)
    check_device(options.loop.mixed_precision, reader.loaded.device.type)
    items, held_out = split_answers(answers, reader, options.held_out, options.loop.seed)
    if not any(item.wanted for item in items) or not any(item.wanted for item in held_out):
        raise ProbeError(
            f"{path}: no wanted answer on either side of the split. Give more, or another --seed."
        )
    recipes = _recipes(options, reader, items)
    replay, watch = (encoded_texts(given, reader.encoder) for given in texts)
    place = exchange(directory, cpu=reader.loaded.device.type == "cpu")[0]
    facts = read.facts()
    claimed = claim(
        place, path, recipes, options.loop, _fingerprint(options, reader, source, facts["sha256"])
    )
    if not rank():
        write_held_out(path, place, {item.line for item in held_out})
    trained = train_stages(
        reader.loaded, recipes, Material(items, held_out, replay, watch), options.loop, place,
        plain=reader.scorer.plain(), checkpointing=options.checkpointing,
        fingerprint=claimed,
    )  # fmt: skip
    estimates, rows = unpaired_changes(held_out, _after(trained, reader, held_out), options.alpha)
    run = Run(
        command="train",
        created=created,
        decision=as_run(decision, recipes),
        estimates=estimates,
        findings=tuple(guard_findings(trained, ANSWER_REMEDIES)),
        inputs={
            "pairs": facts,
            "model": {**reader.loaded.facts, "template": reader.encoder.template},
            "split": {"train": len(items), "held_out": len(held_out)},
        },
        config=config.current(),
        environment=environment(),
        details={"training": trained.details(), "before_after": rows},
    )
    return TrainedRun(run, (), place, rank() == 0)


def _check(source: Source, options: TrainOptions) -> None:
    """Raises `ProbeError` for a method that takes no answers, and for options that would do nothing."""
    given = {"sides": source.sides, "samples": options.samples or None}  # 0 samples are none, as here
    refuse_for_answers(source.path, given, {"sides": parse_sides(None), "samples": TrainOptions().samples})
    stages = stages_of(options.method, unpaired=True)
    if options.replay and "sft" not in stages:
        raise ProbeError(
            f"--replay: texts are mixed into SFT batches, and {options.method} has no SFT stage."
        )
    check_options(options.changes, options.loop, options.held_out)


def _fingerprint(
    options: TrainOptions, reader: AnswerReader, source: Source, sha: str | None
) -> dict[str, Any]:
    """What a resumed training must have in common with the one that it goes on from, beside its recipe."""
    return {
        "held_out": options.held_out,
        "pairs_sha256": sha,
        "reading": [dict(source.fields), source.skip_bad],
        "replay_sha256": sha256_file(options.replay) if options.replay else None,
        "watch_sha256": sha256_file(options.watch) if options.watch else None,
        "mixed_precision": options.loop.mixed_precision,
        **identity(reader.loaded, reader.encoder),
    }


def _after(trained: Trained, reader: AnswerReader, items: Sequence[UnpairedExample]) -> list[float]:
    """Σ log p of each answer under the tuned model, in nats."""
    trained.loaded.model.eval()
    tuned = Scorer(trained.loaded, reader.encoder, None, proof=reader.scorer.proof)
    logps = tuned.side_logps([item.codes.chosen for item in items], [item.line for item in items])
    return [float(values.sum(dtype=np.float64)) for values in logps]


def _recipes(options: TrainOptions, reader: AnswerReader, items: Sequence[UnpairedExample]) -> list[Recipe]:
    """The shipped recipes; the rarer label weighs more where nothing else is asked for."""
    made = recipes_for(
        options, reader.loaded.facts.get("parameters"), len(items),
        wanted=sum(item.wanted for item in items), adapter=adapter_values(reader.loaded.model),
    )  # fmt: skip
    weights = balanced(items)
    given = {name: getattr(weights, name) for name in KTO_WEIGHTS if options.changes.get(name) is None}
    return [one.with_values(given) if one.method == "kto" else one for one in made]


def unpaired_changes(
    items: Sequence[UnpairedExample], sums: Sequence[float], alpha: float
) -> tuple[tuple[Estimate, ...], list[dict[str, Any]]]:
    """What a change of Σ log p does to unseen answers, in nats/token with the end token, and rows for tables.

    `gap_change` is the change of wanted answers minus that of unwanted ones: what KTO is to widen.
    """
    tokens = np.array([item.tokens[0] for item in items], dtype=np.float64)
    before = np.array([reference_of(item)[0] for item in items]) / tokens
    after = np.array(sums, dtype=np.float64) / tokens
    wanted, keys = np.array([item.wanted for item in items]), np.array([item.prompt for item in items])
    gap = group_difference(
        after - before, wanted, list(keys), name="gap_change", units="nats/token", alpha=alpha
    )
    estimates, rows = [gap], []
    if gap.value is not None:
        both = (float(x[wanted].mean() - x[~wanted].mean()) for x in (before, after))
        rows.append(before_after_row("gap", gap, *both))
    for name, some in (("wanted logps", wanted), ("unwanted logps", ~wanted)):
        labels = list(keys[some])
        for found in mean_changes(
            before[some], after[some], [None] * len(labels), labels,
            name=f"{name.replace(' ', '_')}_change", units="nats/token", alpha=alpha,
        ):  # fmt: skip
            estimates.append(found.estimate)
            rows.append(before_after_row(name, found.estimate, found.before, found.after))
    return tuple(estimates), rows
