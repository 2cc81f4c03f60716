"""`probe` from Python: the same measurements as the commands, on files, lists or datasets and loaded models.

    import probe
    run = probe.gate(dataset, model, tokenizer)
    if run.verdict.status != "pass":
        print(run)

Every function returns a `Result`. Nothing is written to disk unless `out` names a directory; a model that is
handed in comes back as it was. Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from .api_inputs import (
    Loading,
    Model,
    Pairs,
    log_file,
    model_options,
    options_of,
    pair_file,
    pair_source,
    session_on,
)
from .errors import ProbeError
from .records import Run
from .shared_limits import BOUND

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Result(Run):
    """A `Run` in Python: `verdict`, `decision`, `estimates`, `findings` as in `run.json`.

    `rows` are those of `scores.jsonl`, one per scored pair; empty where no pair was scored one by one.
    """

    rows: tuple[Mapping[str, Any], ...] = ()

    def __str__(self) -> str:
        """The text report, 80 columns wide."""
        from .reports import text

        return text.render(self, width=80, color=False, ascii_only=False)

    def _repr_html_(self) -> str:
        """The HTML report in a frame of its own, for notebooks."""
        from html import escape

        page = escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" sandbox style="width: 100%; height: 40em; border: 0"></iframe>'

    def to_html(self) -> str:
        """`report.html` as a string."""
        from .reports import html

        return html.render(self)

    def to_pandas(self, what: str = "estimates") -> Any:
        """A `pandas.DataFrame`: `estimates`, `findings`, `conditions`, or `pairs` (the scored pairs).

        Raises `ProbeError` for another name, and where pandas is not installed.
        """
        tables: dict[str, Iterable[Any]] = {
            "estimates": self.estimates,
            "findings": self.findings,
            "conditions": self.verdict.conditions,
            "pairs": self.rows,
        }
        if what not in tables:
            raise ProbeError(f'to_pandas("{what}"): no such table. Use {", ".join(tables)}.')
        try:
            import pandas
        except ImportError as error:
            raise ProbeError("to_pandas needs pandas. Install it: `pip install pandas`.") from error
        from .records import to_json

        return pandas.json_normalize([to_json(row) for row in tables[what]])

    def save(self, directory: str | Path) -> Path:
        """Write run.json, report.html and, where pairs were scored, scores.jsonl; returns the directory."""
        from .files import write_text
        from .runs import save_rows, save_run

        place = Path(directory)
        save_run(self, place)
        write_text(place / "report.html", self.to_html())
        if self.rows:
            save_rows(self.rows, place / "scores.jsonl")
        return place


def bias(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    alpha: float = 0.05,
    bound: float = BOUND,
    templates: str = "auto",
    corrected: bool = True,
    stop_early: bool = False,
    seed: int = 0,
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """Which side of each pair `model` already prefers; `probe bias`. Gaps in nats/token.

    Raises `ProbeError` for bad input and `CannotMeasure` for numbers that are not finite.
    """
    from .probes.bias.run import BiasOptions, measure_bias_in

    options = BiasOptions(alpha, bound, templates, corrected, stop_early, seed)
    with session_on(pairs, model, tokenizer, seed, how, served=True) as session:
        measured = measure_bias_in(session, options)
        return _result(measured.run, out, pairs, tuple(measured.rows))


def data(
    pairs: Pairs,
    model: str | None = None,
    *,
    against: Pairs = None,
    template: str = "auto",
    max_length: int | None = None,
    fields: str | None = None,
    out: str | Path | None = None,
) -> Result:
    """Whether the pairs themselves are sound; `probe data`. `model` names a tokenizer; no weights load."""
    from .probes.data.run import DataRequest, check_data

    with pair_file(pairs) as path, ExitStack() as stack:
        other = stack.enter_context(pair_file(against)) if against is not None else None
        request = DataRequest(path, fields, other, model, template, max_length, None, templates=True)
        return _result(check_data(request), out, pairs)


def show(
    pairs: Pairs,
    model: str | None = None,
    *,
    lines: Iterable[int] = (),
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """What `model` reads of each pair, token by token; `probe show`. `model` names one; no weights load.

    `lines` are lines of a file, or numbers from 1 of pairs in memory; without them all pairs are shown.
    `rows` are those of `--format json`: context, scored ids, end token, flags.
    """
    from .probes.show import measure_show, shown_ids

    with pair_file(pairs) as path:
        run = measure_show(pair_source(path, how), model_options(model, how), tuple(lines), first=False)
        return _result(run, out, pairs, tuple(shown_ids(run)))


def negatives(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """How trivial the rejected side is, what can be learnt from it and who wrote it; `probe negatives`.

    `options` sets fields of `probes.negatives.work.NegativesOptions`, such as `{"gradients": 0}`.
    """
    from .probes.negatives.run import finished, measure_negatives_in
    from .probes.negatives.work import NegativesOptions
    from .runs import now

    created, chosen = now(), options_of(NegativesOptions, {"seed": seed, **(options or {})})
    with session_on(pairs, model, tokenizer, seed, how) as session:
        work = measure_negatives_in(session, chosen)
        return _result(finished(work, created, session.inputs()).run, out, pairs)


def trial(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """Whether a few LoRA steps learn something that holds on unseen pairs; `probe trial`.

    `options` sets fields of `probes.trial.options.TrialOptions`, such as `{"steps": 8}`. The model has its
    own weights again afterwards.
    """
    from .probes.trial.options import TrialOptions
    from .probes.trial.run import trial_in

    chosen = options_of(TrialOptions, {"seed": seed, **(options or {})})
    with session_on(pairs, model, tokenizer, seed, how) as session:
        return _result(trial_in(session, chosen), out, pairs)


def gate(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    off: Iterable[str] = (),
    alpha: float = 0.05,
    bound: float = BOUND,
    beta: float = 0.1,
    goal: str = "auto",
    limits: Mapping[str, float | bool] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """Every probe, one verdict and one recommendation; `probe gate`. `off` names probes not to run.

    `limits` replaces limits of conditions, as `[gate.limits]` of a config file does.
    """
    from .gate.measure import run_probes
    from .gate.settings import GateOptions, judged
    from .probes.gated import GateRequest

    with session_on(pairs, model, tokenizer, seed, how, served=True) as session:
        request = GateRequest(
            session.source,
            model_options(model, how, tokenizer),
            how.get("fields"),
            frozenset(off),
            alpha,
            bound,
            beta,
            seed=seed,
            limits=limits or {},
        )
        measured, rows = run_probes(request, session)
        judging = GateOptions(alpha=alpha, bound=bound, goal=goal, limits=limits or {})
        return _result(judged(measured, judging, date.today()), out, pairs, tuple(rows or ()))


def autopsy(log: str | Path | Sequence[Mapping[str, Any]], *, out: str | Path | None = None) -> Result:
    """What went wrong in a finished run; `probe autopsy`. `log` is a path or a trainer's `log_history`."""
    from .probes.autopsy.diagnose import diagnose, to_run
    from .probes.autopsy.read import read_log

    with log_file(log) as path:
        read = read_log(path)
        return _result(to_run(read, diagnose(read)), out, None)


def _result(
    run: Run, out: str | Path | None, pairs: Pairs, rows: tuple[Mapping[str, Any], ...] = ()
) -> Result:
    """The run with its rows, saved where `out` says; pairs that were no file are named as such."""
    from .reports.answer import answered

    inputs = dict(run.inputs)
    if not isinstance(pairs, str | Path) and "pairs" in inputs:
        inputs["pairs"] = {**inputs["pairs"], "path": f"{type(pairs).__name__} in memory"}
    parts = {field.name: getattr(run, field.name) for field in fields(run)}
    made = answered(replace(Result(**parts, rows=rows), inputs=inputs))
    if not isinstance(pairs, str | Path):
        made = replace(made, next=None)  # a command takes a file
    if out is not None:
        made.save(out)
    return made
