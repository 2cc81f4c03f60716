"""Run the probes of a gate over one pair file, in one session with the model, and put their results together.

The probes load torch when they run; importing this module does not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import config
from ..errors import ProbeError
from ..records import BiasRow, Measured, Run, together
from ..runs import environment, now
from ..training.shipped import recipe
from . import cache as kept
from . import plan
from .conditions import RULES
from .judge import DONE

NUMERICS_SAMPLE = 16  # looked at; the step itself takes the first four that can be scored

if TYPE_CHECKING:
    from ..scoring.session import ModelOptions, Session, Source
    from ..scoring.table import ScoreTable


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure: a file, a model, and how. `off` names probes not to run."""

    source: Source
    how: ModelOptions
    fields: str | None = None
    off: frozenset[str] = frozenset()
    alpha: float = 0.05
    bound: float = 0.1
    beta: float = 0.1
    full: bool = False
    seed: int = 0
    trial_pairs: int = 128


@dataclass
class Work:
    """One gate under way."""

    request: Request
    inputs: dict[str, Any] = field(default_factory=dict)
    bias: tuple[BiasRow, ...] = ()
    scores: ScoreTable | None = None
    rows: Iterable[Mapping[str, Any]] | None = None
    _session: Session | None = None

    @property
    def session(self) -> Session:
        """The loaded model with its encoder and store; the first use surveys the file and loads it."""
        if self._session is None:
            from ..scoring.session import Session

            self._session = Session.open(self.request.source, self.request.how, self.request.seed)
        return self._session

    @property
    def loaded(self) -> bool:
        """Whether any probe of this gate needs the model."""
        return self._session is not None

    @property
    def planned(self) -> tuple[plan.Cost, ...]:
        """What each probe costs on this file; without a model there is nothing to count."""
        return plan.costs(self.session.survey.n if self.loaded else 0, self.request.trial_pairs)

    def facts(self) -> dict[str, Any]:
        """The `inputs` of `run.json`: the session's where there is one, else the data check's."""
        return {**self.inputs, **(self._session.inputs() if self._session else {})}

    def depends(self) -> dict[str, Any]:
        """All that a probe's result depends on: file, model, encoding and the options that reach it."""
        asked, session = self.request, self.session
        names = ("weights_sha256", "adapter_sha256", "tokenizer_sha256", "template_sha256", "dtype", "device")
        return {
            "pairs": session.survey.facts["sha256"],
            "reading": [dict(asked.source.fields), asked.source.sides, asked.source.skip_bad],
            "model": {name: session.loaded.facts.get(name) for name in names},
            "encoding": [session.encoder.template, session.encoder.max_length],
            "options": [asked.alpha, asked.beta, asked.full, asked.seed, asked.trial_pairs],
        }


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of the gate: its name and the function that measures."""

    name: str
    run: Callable[[Work], Measured]
    model: bool = True
    needed: bool = True  # False: what the file cannot carry is noted, and the gate goes on
    keeps: bool = True  # False: cheap, or kept pair by pair in the store of scores


def measure(
    request: Request, session: Session | None = None
) -> tuple[Run, Iterable[Mapping[str, Any]] | None]:
    """Run every probe that is not off; returns the run, not yet judged, and the rows of its `scores.jsonl`.

    `session` is one at hand already; without it the model of `request.how` is loaded. After an error of the
    numerics nothing else runs on the same broken arithmetic. Raises `ProbeError` for bad input and
    `CannotMeasure` for numbers that are not finite.
    """
    created, work = now(), Work(request, _session=session)
    states = {probe.name: "off" if probe.name in request.off else DONE for probe in PROBES}
    if any(probe.model and states[probe.name] == DONE for probe in PROBES):
        work.inputs |= work.session.inputs()  # first of all: a wrong file or model is told at once
        print("\n".join(plan.lines(work.planned, request.off)), file=sys.stderr)
    parts: list[Measured] = []
    for probe in PROBES:
        if states[probe.name] == DONE:
            part, states[probe.name] = _tried(probe, work, parts)
            parts.append(part)
    if DONE not in states.values():
        raise ProbeError("every probe is switched off, so there is nothing to measure. Leave one on.")
    whole = together(parts)
    run = Run(
        command="gate",
        created=created,
        bias=work.bias,
        estimates=whole.estimates,
        findings=whole.findings,
        inputs=work.facts(),
        config=config.current(),
        environment=environment(),
        details={**whole.details, "probes": states},
    )
    return run, work.rows


def _tried(probe: Probe, work: Work, before: Iterable[Measured]) -> tuple[Measured, str]:
    """What one probe found and its state. What this file cannot carry leaves an open condition, no crash."""
    if any(f.severity == "error" and f.code.startswith("PB0") for part in before for f in part.findings):
        return Measured(), "not run, since the numerics failed"
    try:
        return _timed(probe, work), DONE
    except ProbeError as error:
        if probe.needed:
            raise
        print(f"{probe.name}: {error}", file=sys.stderr)
        return Measured(), f"could not measure: {error}"


def _timed(probe: Probe, work: Work) -> Measured:
    """A probe's part, measured or kept, with what it cost this time."""
    start = time.perf_counter()
    keep = probe.keeps and not work.request.how.no_cache
    name = kept.name_of(probe.name, work.depends()) if keep else ""
    known = kept.read(name) if keep else None
    planned = next(cost.what for cost in work.planned if cost.probe == probe.name)
    what = f"kept since {known[1]}" if known else planned
    print(f"{probe.name}: {what}", file=sys.stderr)
    part = probe.run(work) if known is None else known[0]
    if keep and known is None:
        kept.write(name, part)
    sections = {section: rows for section, rows in part.details.items() if section != "costs"}
    cost = {"probe": probe.name, "what": what, "seconds": round(time.perf_counter() - start, 2)}
    return Measured(part.estimates, part.findings, {**sections, "costs": [cost]})


def _part(run: Run) -> Measured:
    return Measured(run.estimates, run.findings, run.details)


def _data(work: Work) -> Measured:
    """The file's own checks, with those that count tokens where a model is loaded, and what people said."""
    from ..probes.data.run import Request as DataRequest
    from ..probes.data.run import measure as measure_data

    asked = work.request
    encoder = work.session.encoder if work.loaded else None
    run = measure_data(DataRequest(asked.source.path, asked.fields, template=asked.how.template), encoder)
    work.inputs |= run.inputs
    return together([_part(run), _labelled(asked)])


def _labelled(asked: Request) -> Measured:
    """The answers of `probe label` to this file, where a whole sample has them; they cost no model."""
    from ..probes.label.file import measure_labelled

    limit = config.section("gate.limits").get("agreement", RULES["agreement"].limit)
    if limit is False:
        return Measured()
    source = asked.source
    return measure_labelled(source.path, source.pairs, limit=limit, alpha=asked.alpha, seed=asked.seed)


def _numerics(work: Work) -> Measured:
    """One step of DPO as the recipe for this model would take it, in the dtype that is asked for."""
    from ..probes.numerics.first_step import first_step
    from ..probes.numerics.judge import Plan, judge_numerics

    request, session = work.request, work.session
    values = recipe(
        "dpo",
        parameters=session.loaded.facts.get("parameters"),
        n=session.survey.n,
        tuning="full" if request.full else "lora",
    )
    planned = Plan(
        learning_rate=values["learning_rate"],
        beta=request.beta,
        dtype=session.loaded.facts["dtype"],
        lora_rank=None if request.full else values["lora_rank"],
    )
    encoded = [session.encoder(pair) for pair in session.survey.first[:NUMERICS_SAMPLE]]
    return judge_numerics(planned, first_step(session.loaded.model, encoded, planned))


def _bias(work: Work) -> Measured:
    """Both sides scored in several templates, and the flip budget from the same scores."""
    from ..probes.bias.run import BiasOptions, measure_in
    from ..probes.clusters import prompt_clusters
    from ..probes.negatives.flip_budget import flip_budget

    request = work.request
    measured = measure_in(work.session, BiasOptions(request.alpha, request.bound, seed=request.seed))
    work.bias, work.scores, work.rows = measured.run.bias, measured.scores, measured.rows
    lines = set(measured.scores.lines)
    clusters = prompt_clusters(pair.prompt for pair in request.source.pairs() if pair.line in lines)
    budget = flip_budget(
        measured.scores, beta=request.beta, alpha=request.alpha, clusters=clusters, seed=request.seed
    )
    return together([_part(measured.run), Measured(budget.estimates, budget.findings)])


def _negatives(work: Work) -> Measured:
    """What the rejected side gives away, what can be learnt from it, who wrote it."""
    return _negatives_in(work, gradients=0)


def _displacement(work: Work) -> Measured:
    """Whether a DPO step on a pair would lower its own chosen response."""
    return _negatives_in(work, gradients=plan.GRADIENT_PAIRS, surface=False, states=False)


def _negatives_in(work: Work, **chosen: Any) -> Measured:
    from ..probes.negatives.run import measure_in
    from ..probes.negatives.work import NegativesOptions

    request = work.request
    options = NegativesOptions(alpha=request.alpha, seed=request.seed, plan=None, **chosen)
    return together(measure_in(work.session, options).parts)


def _trial(work: Work) -> Measured:
    """Short LoRA runs in which every pair is scored before it is trained on."""
    from ..probes.trial.run import TrialOptions, trial_in

    request = work.request
    options = TrialOptions(
        methods=("dpo", "sft", "sft+dpo"),
        pairs=request.trial_pairs,
        most=4 * request.trial_pairs,
        changes=(("beta", request.beta),),
        alpha=request.alpha,
        seed=request.seed,
    )
    return _part(trial_in(work.session, options))


PROBES: tuple[Probe, ...] = (
    Probe("data", _data, model=False, keeps=False),
    Probe("numerics", _numerics),
    Probe("bias", _bias, keeps=False),
    Probe("negatives", _negatives, needed=False),
    Probe("displacement", _displacement, needed=False),
    Probe("trial", _trial, needed=False),
)
