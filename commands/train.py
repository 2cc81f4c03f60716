"""`probe train`: SFT and preference training under the guard."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Exit, ProbeError
from ..records import Decision, Finding, Run
from ..scoring.options import ModelOptions
from . import bundles, options

if TYPE_CHECKING:
    from ..scoring.session import Source
    from ..training.run import TrainedRun, TrainOptions


def train(
    pairs: Annotated[Path | None, typer.Argument(help="Preference pairs. With auto: the gated file.")] = None,
    method: Annotated[str, typer.Option(help="auto (the gate's), a method, or as sft+dpo.")] = "dpo",
    force: Annotated[bool, typer.Option("--force", help="With auto: train against the gate.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why --force; saved with the run.")] = None,
    how: bundles.LoadingOptions = ModelOptions(),
    full: Annotated[
        bool, typer.Option("--full", help="Train all weights instead of a LoRA adapter.")
    ] = False,
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak rate. Default: by method and size.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training pairs.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps; overrides --epochs.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs of an optimizer step, over all processes.")] = None,
    beta: Annotated[float | None, typer.Option(help="β of DPO, its relatives and SimPO.")] = None,
    smoothing: Annotated[
        float | None, typer.Option(help="Share of flipped labels for cdpo and robust.")
    ] = None,
    penalty: Annotated[float | None, typer.Option(help="λ of dpop.")] = None,
    nll_weight: Annotated[float | None, typer.Option(help="α of dpo_nll.")] = None,
    odds_weight: Annotated[float | None, typer.Option(help="λ of orpo.")] = None,
    gamma: Annotated[float | None, typer.Option(help="γ of simpo.")] = None,
    desirable_weight: Annotated[float | None, typer.Option(help="Weight of wanted answers in kto.")] = None,
    undesirable_weight: Annotated[
        float | None, typer.Option(help="Weight of unwanted answers in kto.")
    ] = None,
    lora_rank: Annotated[int | None, typer.Option(help="Rank of the LoRA adapter.")] = None,
    lora_alpha: Annotated[int | None, typer.Option(help="Scale of the LoRA adapter.")] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine, linear, constant_with_warmup, …")] = None,
    warmup: Annotated[float | None, typer.Option(help="Share of the steps that warm up.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's weight decay.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest gradient norm.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of the prompts kept for measuring.")] = 0.2,
    eval_every: Annotated[
        int | None, typer.Option(help="Steps between evaluations. Default: a tenth.")
    ] = None,
    patience: Annotated[int, typer.Option(help="Evaluations without a new best, then stop.")] = 3,
    guard: Annotated[bool, typer.Option(help="The guard only warns and never stops the run.")] = True,
    replay: Annotated[Path | None, typer.Option(help="General texts mixed into SFT batches.")] = None,
    replay_share: Annotated[float, typer.Option(help="Their share of a batch.")] = 0.25,
    watch: Annotated[Path | None, typer.Option(help="Texts whose perplexity is watched.")] = None,
    samples: Annotated[int, typer.Option(help="Samples per held-out prompt, before and after.")] = 2,
    micro_tokens: Annotated[int, typer.Option(help="Tokens of one pass; fewer need less memory.")] = 1024,
    mixed_precision: Annotated[str, typer.Option(help="no, bf16, fp16; weights stay float32.")] = "no",
    checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute layers again instead of keeping them.")
    ] = False,
    tracker: Annotated[list[str] | None, typer.Option(help="tensorboard, wandb, mlflow. Repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
) -> int:
    """Train under the guard, then measure what changed. Measured on prompts that were held out.

    Example: probe train pairs/listing_taste.jsonl --method sft+dpo
    """
    from ..reports.emit import emit, parse_formats, show_run
    from ..scoring.session import Source
    from ..training.guard_records import GuardLimits
    from ..training.plan import Options
    from ..training.run import TrainOptions

    targets = parse_formats(format)
    gate, decision = None, None
    notes: tuple[Finding, ...] = ()
    if method == "auto":
        from ..gate.auto import gated, refusal, training_decision
        from ..gate.last import taken
        from ..probes.gated import GateRequest

        gate = gated(
            pairs,
            lambda p: GateRequest(Source.of(p, fields, sides, skip_bad), how, fields, full=full, seed=seed),
        )
        decision, notes = training_decision(gate, force, reason)
        if decision is None:
            show_run(gate, targets, everything=everything)
            print(f"probe: {refusal(gate)}", file=sys.stderr)
            return Exit.FAILED
        pairs = Path(gate.inputs["pairs"]["path"]) if pairs is None else pairs
        same = taken(gate)  # typed once, for the gate
        how = replace(how, **{key: same[key] for key in same.keys() & asdict(how).keys()})
        fields, sides, skip_bad, full = same["fields"], same["sides"], same["skip_bad"], same["full"]
    elif pairs is None:
        raise ProbeError("train: PAIRS is missing. Only --method auto knows which file was gated.")
    loop = Options(
        seed=seed, steps=steps, eval_every=eval_every, micro_tokens=micro_tokens,
        mixed_precision=mixed_precision, resume=resume, limits=GuardLimits(patience=patience), guard=guard,
        replay_share=replay_share, trackers=tuple(tracker or ()),
    )  # fmt: skip
    changes = {
        "learning_rate": learning_rate, "epochs": epochs, "batch": batch, "beta": beta,
        "smoothing": smoothing, "penalty": penalty, "nll_weight": nll_weight,
        "odds_weight": odds_weight, "gamma": gamma,
        "desirable_weight": desirable_weight, "undesirable_weight": undesirable_weight,
        "lora_rank": lora_rank, "lora_alpha": lora_alpha, "schedule": schedule, "warmup": warmup,
        "weight_decay": weight_decay, "clip": clip,
    }  # fmt: skip
    chosen = TrainOptions(
        method, full, changes, held_out, replay, watch, checkpointing, samples=samples, loop=loop
    )
    done = _trained(Source.of(pairs, fields, sides, skip_bad), how, chosen, out, decision, gate)
    if done.main:
        run = replace(done.run, findings=(*notes, *done.run.findings))
        emit(run, format, done.directory, rows=done.rows, everything=everything)
    return Exit.OK


def _trained(
    source: Source, how: ModelOptions, chosen: TrainOptions, out: Path | None, decision: Decision | None,
    gate: Run | None,
) -> TrainedRun:  # fmt: skip
    """Train on pairs or, as the file's first row says, on unpaired answers."""
    from ..pairs.unpaired import is_unpaired
    from ..training.run import train_run
    from ..training.unpaired_run import train_unpaired

    if is_unpaired(source.path, source.fields):
        return train_unpaired(source, how, chosen, out, decision, gate)
    return train_run(source, how, chosen, out, decision, gate)
