"""One row of `forecast.py`: what the probes say of a set before training, or what a training run led to.

Both use the product as a user would: the probes and the training see the training file only, the training
splits its own validation pairs from it for the guard, and the outcome is measured on pairs that neither saw.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import forecast_sets as sets

from probe.errors import ProbeError
from probe.probes.bias import run as bias_run
from probe.probes.data.run import DataRequest
from probe.probes.data.run import check_data as measure_data
from probe.probes.negatives import run as negatives_run
from probe.probes.negatives.flip_budget import flip_budget
from probe.probes.negatives.work import NegativesOptions
from probe.probes.trial.options import TrialOptions
from probe.probes.trial.run import trial_in
from probe.records import Measured, Run, together
from probe.runs import environment, now
from probe.scoring.scores import PairScore
from probe.scoring.session import ModelOptions, Session, Source
from probe.training.plan import Options
from probe.training.recipes import recipe
from probe.training.run import TrainOptions, train_run

NEUTRAL = Path(__file__).with_name("neutral.txt")
SHORT = {"batch": 4, "epochs": 2}  # as many updates as a small set and one core allow
GRADIENTS, PERMUTATIONS, TRIAL_STEPS = 12, 99, 4
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One run of the grid; `probes` is the method of the row that holds what was known before."""

    model: str
    set: str
    method: str
    variant: str = "short"
    seed: int = 0

    @property
    def key(self) -> str:
        return "/".join((self.model, self.set, self.method, self.variant, str(self.seed)))


# What each variant changes; `hot` and `long` are there to fail, or there would be nothing to forecast.
HOT = 40.0
VARIANTS: dict[str, Mapping[str, Any]] = {
    "short": {},
    "early": {"epochs": 0.5},
    "long": {"epochs": 8},
    "hot": {},
    "float16": {},
}


def measure(cell: Cell, path: str | None) -> Row:
    """The row of a cell. `path` is the model's file, None the embedded one."""
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="forecast-") as made:
        work = Path(made)
        train, test = sets.SETS[cell.set].split()
        sets.write(train, work / "train.jsonl")
        sets.write(test, work / "test.jsonl")
        sets.write(sets.harder(cell.set, test), work / "elsewhere.jsonl")
        row = probed(train, work, path) if cell.method == "probes" else trained(cell, work, path)
    return {
        "key": cell.key, **asdict(cell), **row, "seconds": round(time.time() - started),
        "provenance": provenance(),
    }  # fmt: skip


def provenance() -> Row:
    """When, of which commit and with what versions a row was made."""
    found = environment()
    return {"created": now(), "git": found["git"], "python": found["python"], **found["packages"]}


# --- before ---------------------------------------------------------------------------------------------


def probed(train: Sequence[sets.Row], work: Path, model: str | None) -> Row:
    """Estimates and findings, from which the decision follows; beside them baselines that need no model."""
    run = measured(Source.of(work / "train.jsonl", None, None, False), ModelOptions(model, device="cpu"))
    return {
        "estimates": {
            e.name: [_short(v) for v in (e.value, e.low, e.high)] for e in run.estimates if e.group == "all"
        },
        "findings": [[f.code, f.severity] for f in run.findings],
        "bias": [row.verdict for row in run.bias if row.group == "all"],
        "baselines": baselines(train),
        "pairs": len(train),
        "model_facts": {k: run.inputs["model"][k] for k in ("weights_sha256", "parameters", "template")},
    }


def baselines(rows: Sequence[sets.Row]) -> Row:
    """What anybody can count: pairs, how much longer chosen is, how alike the sides are."""
    from difflib import SequenceMatcher

    longer = [len(r["chosen"]) - len(r["rejected"]) for r in rows]
    alike = [SequenceMatcher(None, r["chosen"].split(), r["rejected"].split()).ratio() for r in rows]
    return {
        "number of pairs": len(rows),
        "length gap": sum(longer) / len(rows),
        "similarity": sum(alike) / len(rows),
    }


def measured(source: Source, how: ModelOptions) -> Run:
    """The gate's probes on a small budget: fewer relabellings, gradients and trial steps, one template."""
    session = Session.open(source, how)
    bias = bias_run.measure_bias_in(session, bias_run.BiasOptions(templates="none", corrected=False))
    budget = flip_budget(list(bias.scores))
    options = NegativesOptions(plan=None, gradients=GRADIENTS, permutations=PERMUTATIONS)
    negatives = negatives_run.measure_negatives_in(session, options)
    trial = trial_in(session, TrialOptions(pairs=sets.TRAIN, steps=TRIAL_STEPS, changes=tuple(SHORT.items())))
    runs = [measure_data(DataRequest(source.path)), bias.run, trial]
    parts = [Measured(one.estimates, one.findings) for one in runs]
    whole = together([*parts, Measured(budget.estimates, budget.findings), *negatives.parts])
    return Run(
        "gate", now(), bias=bias.run.bias, estimates=whole.estimates, findings=whole.findings,
        inputs=session.inputs(),
    )  # fmt: skip


# --- after ----------------------------------------------------------------------------------------------


def trained(cell: Cell, work: Path, model: str | None) -> Row:
    """Train, then score held-out pairs, and harder ones where there are, with the weights that were kept."""
    how = ModelOptions(model, device="cpu", dtype="float16" if cell.variant == "float16" else None)
    try:
        done = train_run(
            Source.of(work / "train.jsonl", None, None, False), how, options_of(cell), work / "run"
        )
    except ProbeError as error:
        return {"refused": str(error).splitlines()[0][:120]}
    training = done.run.details["training"]
    adapted = ModelOptions(model, device="cpu", adapter=str(training["weights"]))
    pairs = {"held_out": work / "test.jsonl", "elsewhere": work / "elsewhere.jsonl"}
    return trajectory(training) | {k: compared(file, how, adapted) for k, file in pairs.items() if _has(file)}


def _has(file: Path) -> bool:
    return file.stat().st_size > 0


def compared(file: Path, before: ModelOptions, after: ModelOptions) -> list[list[float]]:
    """The outcomes of a file's pairs on two states of a model."""
    source = Source.of(file, None, None, False)
    first, last = (Session.open(source, how).scores("held out") for how in (before, after))
    return outcomes(first, list(last))


def options_of(cell: Cell) -> TrainOptions:
    """The shipped recipe of every stage on a small budget, changed by the variant."""
    changes: Row = {**SHORT, **VARIANTS[cell.variant]}
    if cell.variant == "hot":
        changes["learning_rate"] = HOT * recipe(cell.method, 135_000_000).learning_rate
    steps = max(1, round(changes["epochs"] * sets.TRAIN * 0.8 / changes["batch"]))
    return TrainOptions(
        method=cell.method,
        full=cell.variant == "float16",
        changes=changes,
        watch=NEUTRAL,
        loop=Options(seed=cell.seed, eval_every=max(1, steps // 2), log_every=1),
    )


def outcomes(before: Iterable[PairScore], after: Sequence[PairScore]) -> list[list[float]]:
    """A row per pair: Σ log p of chosen and rejected before, the same after; their tokens."""
    known = {score.line: score for score in before}
    return [[*_sums(known[score.line]), *_sums(score), *_tokens(score)] for score in after]


def _sums(score: PairScore) -> list[float]:
    return [round(side.logps, 3) for side in (score.chosen, score.rejected)]


def _tokens(score: PairScore) -> list[float]:
    return [score.chosen.tokens, score.rejected.tokens]


KEPT = ("step", "eval_loss", "eval_perplexity", "eval_repetition", "eval_top_mass", "eval_logps/chosen",
        "eval_logps/rejected", "eval_rewards/accuracies")  # fmt: skip


def trajectory(training: Mapping[str, Any]) -> Row:
    """The course of a run in short: evaluations, accuracy of the training batches, what the guard said."""
    rows = training["log_history"]
    evaluations = [
        {key.removeprefix("eval_"): _short(row[key]) for key in KEPT if key in row} | _stage(row)
        for row in rows
        if "eval_loss" in row
    ]
    return {
        "evaluations": evaluations,
        "accuracies": [_short(row["rewards/accuracies"]) for row in rows if "rewards/accuracies" in row],
        "guard": [[event["step"], event["event"]] for event in training["guard"]],
        "stages": [{k: stage[k] for k in ("method", "steps", "best_step")} for stage in training["stages"]],
    }


def _stage(row: Mapping[str, Any]) -> Row:
    return {"stage": row["stage"]} if "stage" in row else {}


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
