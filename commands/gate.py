"""`probe gate`: every probe, one verdict, one recommendation, one exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..scoring.options import ModelOptions
from ..shared_limits import BOUND
from . import bundles, options

# Options that say how to judge and what to show; all others say how to measure.
JUDGES_SAVED = frozenset(
    (
        "path", "inconclusive", "minimum_n", "goal", "one_stage", "full", "baseline", "levers", "alpha",
        "bound", "format", "out", "everything",
    )
)  # fmt: skip

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
    quick: Annotated[bool, typer.Option("--quick", help="No trial: the same as --no-trial.")] = False,
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
    from ..gate.beforehand import check_asked
    from ..gate.settings import from_config, is_run
    from ..gate.whole import gate_answers, gate_pairs, refuse_measuring
    from ..pairs.fields import parse_fields
    from ..pairs.read import read_pairs
    from ..pairs.unpaired import is_unpaired
    from ..probes.gated import GateRequest, extent
    from ..reports.emit import check_emit, emit, parse_formats
    from ..scoring.source import Source

    parse_formats(format)
    off, effort = extent(off, thorough=thorough, quick=quick)
    judging = from_config(
        alpha=alpha, bound=bound, minimum_n=minimum_n, inconclusive=inconclusive, goal=goal,
        one_stage=one_stage, full=full, baseline=baseline,
    )  # fmt: skip
    if is_run(path):
        refuse_measuring(str(path), options.typed_beside(JUDGES_SAVED))
        return _judged_again(path, judging, levers, format, out, everything)
    if not plan:
        check_emit(format, out)
    if is_unpaired(path, parse_fields(fields)):
        given = {
            "sides": sides, "plan": plan, "levers": levers,
            "baseline": baseline, "budget": budget, "device_memory": device_memory, "goal": goal,
            "one_stage": one_stage, "full": full, "bound": bound, "beta": beta, "trial_pairs": trial_pairs,
            "thorough": thorough,
        }  # fmt: skip
        run = gate_answers(Source.of(path, fields, sides, skip_bad), how, judging, given, seed=seed, off=off)
        emit(run, format, out, everything=everything)
        return run.verdict.exit_code
    # A path that leads nowhere is told here, before seconds go into loading torch.
    next(iter(read_pairs(path, fields=parse_fields(fields), skip_bad=skip_bad)), None)
    check_asked(budget, device_memory, how.model)
    source = Source.of(path, fields, sides, skip_bad)
    request = GateRequest(
        source, how, fields, off, alpha, bound, beta, full, seed, trial_pairs, effort, judging.limits
    )
    if plan:
        if format or out:
            print("probe: a plan is text: --format and --out are not used.", file=sys.stderr)
        return _planned(request, budget, device_memory)
    run, rows = gate_pairs(request, judging, budget=budget, device_memory=device_memory, levers=levers)
    emit(run, format, out, rows=rows, everything=everything)
    return run.verdict.exit_code


def _judged_again(
    path: Path, judging: GateOptions, levers: Path | None, format: list[str] | None, out: Path | None,
    everything: bool,
) -> int:  # fmt: skip
    """Judge a saved run, without the model; returns the exit code."""
    from ..gate.whole import gate_saved
    from ..reports.emit import emit, parse_formats, show_run
    from ..runs import read_from

    run = gate_saved(path, judging, levers)
    with read_from(path):
        if out is None:
            show_run(run, parse_formats(format), everything=everything)
        else:
            emit(run, format, out, everything=everything)
    return run.verdict.exit_code


def _planned(request: GateRequest, budget: str | None, device_memory: str | None) -> int:
    """Print what would be run, what it costs on this machine, and whether the training would fit."""
    from ..gate.beforehand import planned
    from ..gate.plan import not_run, planned_lines, to_width
    from ..gate.registry import PROBES

    n = sum(1 for _ in request.source.pairs())
    if budget is None:  # else what would be run is known once the machine is
        print(to_width(planned_lines(n, request)))
    if budget or any(probe.model and probe.name not in not_run(request) for probe in PROBES):
        cut, told, findings = planned(request, budget, device_memory)
        if budget is not None:
            print(to_width(planned_lines(n, cut)))
        found = [f"{finding.code} {finding.message}. {finding.remedy}" for finding in findings]
        print(to_width([*told, *found], indent=4))
    return 0
