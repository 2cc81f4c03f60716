"""`probe gate`: every probe, one verdict, one recommendation, one exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ProbeError
from ..scoring.options import ModelOptions
from ..shared_limits import BOUND
from . import bundles, options

TRIAL_STEPS = 12  # of KTO, on unpaired answers

if TYPE_CHECKING:
    from ..gate.settings import GateOptions
    from ..probes.gated import GateRequest


def gate(
    path: Annotated[Path, typer.Argument(help="A pair file to measure, or a run.json to judge again.")],
    how: bundles.Serving = ModelOptions(),
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    off: bundles.Switches = frozenset(),
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Every pair scored, more states read, a larger trial.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="No training steps: the same as --no-trial.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print what would run, its seconds, and memory."),
    ] = False,
    budget: Annotated[
        str | None, typer.Option(help="Time allowed, as 5m; the most that fits is run.")
    ] = None,
    device_memory: Annotated[
        str | None, typer.Option(help="Memory to train in, as 24GiB. Default: this one's.")
    ] = None,
    inconclusive: Annotated[str, typer.Option(help="What an open condition does: fail or warn.")] = "fail",
    minimum_n: Annotated[int, typer.Option(help="Fewest pairs that a condition is judged on.")] = 20,
    goal: Annotated[str, typer.Option(help="What is taught: auto, taste, fact, correctness.")] = "auto",
    one_stage: Annotated[bool, typer.Option("--one-stage", help="No separate SFT stage is wanted.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Recipe for all weights instead of LoRA.")] = False,
    baseline: Annotated[
        Path | None, typer.Option(help="Earlier run.json: no group of it may get worse.")
    ] = None,
    levers: Annotated[
        Path | None, typer.Option(help="Run of probe levers, named where not to train.")
    ] = None,
    alpha: options.Alpha = 0.05,
    bound: options.Bound = BOUND,
    beta: Annotated[float, typer.Option(help="DPO's beta, for flip budget, numerics and trial.")] = 0.1,
    trial_pairs: Annotated[int, typer.Option(help="Most pairs of the trial; more is surer.")] = 128,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and pair.")] = False,
) -> int:
    """Judge pairs for training this model; exit code 0 (pass) or 1. A verdict and a recommended method.

    Example: probe gate pairs/listing_taste.jsonl
    """
    from datetime import date

    from ..gate.beforehand import check_asked, prepared
    from ..gate.levers import with_levers
    from ..gate.measure import run_probes
    from ..gate.settings import from_config, is_run, judged
    from ..pairs.fields import parse_fields
    from ..pairs.read import read_pairs
    from ..pairs.unpaired import is_unpaired
    from ..probes.gated import GateRequest, extent
    from ..reports.emit import emit, parse_formats

    parse_formats(format)
    off, effort = extent(off, thorough=thorough, quick=quick)
    judging = from_config(
        alpha=alpha, bound=bound, minimum_n=minimum_n, inconclusive=inconclusive, goal=goal,
        one_stage=one_stage, full=full, baseline=baseline,
    )  # fmt: skip
    if is_run(path):
        return _judged_again(path, judging, levers, format, out, everything)
    if is_unpaired(path):
        _check_unpaired(
            path, fields=fields, sides=sides, skip_bad=skip_bad, plan=plan, levers=levers, baseline=baseline,
            budget=budget, device_memory=device_memory, off=off - {"trial"}, goal=goal != "auto",
            one_stage=one_stage, full=full, bound=bound != 0.1, beta=beta != 0.1,
            trial_pairs=trial_pairs != 128,
            thorough=thorough,
        )  # fmt: skip
        return _unpaired(path, how, judging, seed, 0 if "trial" in off else TRIAL_STEPS, format, out)
    # A path that leads nowhere is told here, before seconds go into loading torch.
    next(iter(read_pairs(path, fields=parse_fields(fields), skip_bad=skip_bad)), None)
    check_asked(budget, device_memory)
    from ..scoring.session import Source

    source = Source.of(path, fields, sides, skip_bad)
    request = GateRequest(
        source, how, fields, off, alpha, bound, beta, full, seed, trial_pairs, effort, judging.limits
    )
    if plan:
        return _planned(request, device_memory)
    known = prepared(request, budget, device_memory)
    measured, rows = run_probes(known.request, known.session, known.seconds)
    measured = replace(measured, findings=(*measured.findings, *known.findings))
    run = judged(with_levers(measured, levers) if levers else measured, judging, date.today())
    emit(run, format, out, rows=rows, everything=everything)
    return run.verdict.exit_code


def _check_unpaired(path: Path, **given: object) -> None:
    """Raises `ProbeError` for an option that a gate of unpaired answers would not follow."""
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if named:
        told = "--no-PROBE but --no-trial" if named[0] == "--off" else named[0]
        raise ProbeError(f"{path}: answers with a label each, for which {told} does nothing. Leave it out.")


def _unpaired(
    path: Path, how: ModelOptions, judging: GateOptions, seed: int, steps: int, format: list[str] | None,
    out: Path | None,
) -> int:  # fmt: skip
    """Gate answers with a label each; returns the exit code."""
    from ..gate.unpaired import judged_unpaired
    from ..probes.unpaired.run import measure_unpaired
    from ..probes.unpaired.told import UnpairedOptions
    from ..reports.emit import emit

    measured = measure_unpaired(path, how, UnpairedOptions(alpha=judging.alpha, seed=seed, trial_steps=steps))
    run = judged_unpaired(measured, judging.inconclusive, judging.limits, judging.minimum_n)
    emit(run, format, out)
    return run.verdict.exit_code


def _judged_again(
    path: Path, judging: GateOptions, levers: Path | None, format: list[str] | None, out: Path | None,
    everything: bool,
) -> int:  # fmt: skip
    """Judge a saved run, without the model; returns the exit code."""
    from datetime import date

    from ..gate.levers import with_levers
    from ..gate.settings import judged
    from ..gate.unpaired import judged_unpaired
    from ..reports.emit import emit, parse_formats, show_run
    from ..runs import read_from
    from ..training.saved import saved_run

    saved = saved_run(path)
    with read_from(path):
        if saved.command == "unpaired":
            run = judged_unpaired(saved, judging.inconclusive, judging.limits, judging.minimum_n)
        else:
            run = judged(with_levers(saved, levers) if levers else saved, judging, date.today())
        if out is None:
            show_run(run, parse_formats(format), everything=everything)
        else:
            emit(run, format, out, everything=everything)
    return run.verdict.exit_code


def _planned(request: GateRequest, device_memory: str | None) -> int:
    """Print what would be run, what it costs on this machine, and whether the training would fit."""
    from ..gate.bill import bill
    from ..gate.plan import costs, plan_lines
    from ..gate.registry import PROBES
    from ..scoring.session import Session

    n = sum(1 for _ in request.source.pairs())
    print("\n".join(plan_lines(costs(n, request.trial_pairs, request.effort), request.off)))
    if any(probe.model and probe.name not in request.off for probe in PROBES):
        session = Session.open(request.source, request.how, request.seed)
        told, finding = bill(session, request, device_memory)
        print(
            "\n".join([*told, *([f"{finding.code} {finding.message}. {finding.remedy}"] if finding else [])])
        )
    return 0
