"""`probe compare`: did training make any group worse? Promote, roll back, or not yet known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ProbeError
from ..scoring.options import ModelOptions
from ..shared_limits import BOUND
from . import bundles, options

# Options that say how to judge and what to show; all others say how models are measured.
JUDGES = frozenset(
    (
        "base", "tuned", "scores", "allowance", "promote_to", "inconclusive", "alpha", "bound", "format",
        "out", "everything",
    )
)  # fmt: skip
NEEDS_BOTH = frozenset(("watch", "samples", "tokens", "traits"))  # what is measured on two models alone

if TYPE_CHECKING:
    from ..gate.promote.sides import ComparedModel
    from ..records import Run


def compare(
    base: Annotated[str, typer.Argument(help="Model now in use: run.json, model, adapter, embedded.")],
    tuned: Annotated[str, typer.Argument(help="The model that may take its place, likewise.")],
    pairs: Annotated[Path | None, typer.Argument(help="Held-out pairs; saved runs need none.")] = None,
    model: Annotated[str | None, typer.Option(help="The model below an adapter. Default: BASE's.")] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(help="Graded answers by id and group: one file, or two."),
    ] = None,
    allowance: Annotated[
        list[str] | None,
        typer.Option(help="How much worse may be: gap=0.1, grade:GROUP=0.5."),
    ] = None,
    watch: Annotated[Path | None, typer.Option(help="General texts whose perplexity must not rise.")] = None,
    samples: Annotated[int, typer.Option(help="Prompts both answer, for length and repetition.")] = 32,
    tokens: Annotated[int, typer.Option(help="Longest sampled answer in tokens.")] = 64,
    traits: Annotated[bool, typer.Option("--traits", help="Traits of the answers, by system texts.")] = False,
    promote_to: Annotated[
        Path | None, typer.Option(help="Where the model in use lives: replaced if all is well.")
    ] = None,
    inconclusive: Annotated[str, typer.Option(help="What an open question does: fail or warn.")] = "fail",
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    how: bundles.Comparing = ModelOptions(),
    alpha: options.Alpha = 0.05,
    bound: options.Bound = BOUND,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and pair.")] = False,
) -> int:
    """Compare a tuned model with its base, group by group. Exit code 0 (promote) or 1.

    Example: probe compare embedded RUN/adapter RUN/held-out.jsonl --watch notes.txt
    """
    from ..gate.promote.claims import allowances
    from ..gate.promote.judge import PromotionSettings
    from ..gate.promote.run import CompareRequest
    from ..gate.promote.run import compare_models as run_compare
    from ..gate.promote.sides import compared_models
    from ..gate.settings import one_of
    from ..pairs.grades import read_grades
    from ..reports.emit import check_emit, emit

    check_emit(format, out)
    one_of("--inconclusive", inconclusive, ("fail", "warn"))
    allowed = allowances(allowance or (), bound)
    settings = PromotionSettings(allowed, alpha, "warn" if inconclusive == "warn" else "fail")
    both = compared_models(base, tuned, model)
    _refuse_unused(both, measured=pairs is not None)
    grades = read_grades(scores, (str(base), str(tuned))) if scores else None

    request = None
    if pairs is not None:
        from ..scoring.session import Source

        source = Source.of(pairs, fields, sides, skip_bad)
        request = CompareRequest(source, how, watch, samples, tokens, seed, traits)
    elif not grades and not all(side.saved for side in both):
        raise ProbeError(
            "models are measured on pairs. Name the pair file as third argument, or give --scores."
        )
    run = run_compare(both, request, grades, settings)
    emit(run, format, out, everything=everything)
    if promote_to is not None:
        print(_promoted(run, both[1], promote_to), file=sys.stderr)
    return run.verdict.exit_code


def _refuse_unused(both: tuple[ComparedModel, ComparedModel], *, measured: bool) -> None:
    """Raises `ProbeError` for a typed option that says how to measure what is not measured here."""
    from ..gate.whole import refuse_measuring

    models = "name two models and a pair file"
    saved = [side.name for side in both if side.saved]
    graded = not measured and len(saved) < 2
    known = JUDGES - {"bound"} if graded else JUDGES  # the bound is the gap's
    names = ["PAIRS" if flag == "--pairs" else flag for flag in options.typed_beside(known)]
    if len(saved) == 2:
        told = "saved runs, which are compared as they were measured"
        refuse_measuring(" and ".join(saved), names, what=told, instead=models)
    if graded:
        told = "without a pair file nothing is measured"
        refuse_measuring("probe compare", names, what=told, instead="name the pair file as third argument")
    if saved:
        told = "a saved run, which has neither watched texts nor answers"
        only = [flag for flag in names if flag.removeprefix("--") in NEEDS_BOTH]
        refuse_measuring(saved[0], only, what=told, instead=models)


def _promoted(run: Run, tuned: ComparedModel, target: Path) -> str:
    """Put the tuned model in place where the verdict says so; what was done, in a line."""
    from ..gate.promote.deploy import promote
    from ..gate.promote.sides import measured_weights, weights_of

    if run.verdict.status != "pass":
        return f"{target}: unchanged ({run.details['promotion']['decision']})"
    note = {"created": run.created, "inputs": run.inputs}
    done = promote(weights_of(tuned, run), target, note, measured_weights(run))
    return f"{target}: now {done.now}; before: {done.before or 'nothing'}"
