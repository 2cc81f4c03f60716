"""`probe` from Python: the same measurements as the commands, on files, lists or datasets and loaded models.

    import probe
    run = probe.gate(dataset, model, tokenizer)
    if run.verdict.status != "pass":
        print(run)

Every function returns a `Result`. Nothing is written to disk unless `out` names a directory; a model that is
handed in comes back as it was. Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from .errors import ProbeError
from .records import Run

if TYPE_CHECKING:
    from .scoring.model import LoadedModel
    from .scoring.session import ModelOptions, Session, Source

Pairs = Any  # a path, a list of dictionaries or a `datasets.Dataset`
Model = Any  # a name or path, a loaded `PreTrainedModel` or `PeftModel`, or None for the embedded model


class Reading(TypedDict, total=False):
    """How pairs are read, as the flags of the same names say: `fields`, `sides`, `skip_bad`."""

    fields: str | None
    sides: str | None
    skip_bad: bool


class Loading(Reading, total=False):
    """How a model is loaded and pairs become tokens, as the flags of the same names say."""

    device: str | None
    dtype: str | None
    revision: str | None
    adapter: str | None
    trust_remote_code: bool
    template: str
    max_length: int | None


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
    bound: float = 0.1,
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
    from .probes.bias.run import BiasOptions, measure_in

    options = BiasOptions(alpha, bound, templates, corrected, stop_early, seed)
    with _session(pairs, model, tokenizer, seed, how) as session:
        measured = measure_in(session, options)
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
    from .probes.data.run import Request, measure

    with pair_file(pairs) as path, ExitStack() as stack:
        other = stack.enter_context(pair_file(against)) if against is not None else None
        request = Request(path, fields, other, model, template, max_length, None, templates=True)
        return _result(measure(request), out, pairs)


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
    from .probes.show import ids_of, measure_show

    with pair_file(pairs) as path:
        run = measure_show(_source(path, how), _how(model, how), tuple(lines), first=False)
        return _result(run, out, pairs, tuple(ids_of(run)))


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
    from .probes.negatives.run import finished, measure_in
    from .probes.negatives.work import NegativesOptions
    from .runs import now

    created, chosen = now(), _options(NegativesOptions, {"seed": seed, **(options or {})})
    with _session(pairs, model, tokenizer, seed, how) as session:
        work = measure_in(session, chosen)
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

    chosen = _options(TrialOptions, {"seed": seed, **(options or {})})
    with _session(pairs, model, tokenizer, seed, how) as session:
        return _result(trial_in(session, chosen), out, pairs)


def gate(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    off: Iterable[str] = (),
    alpha: float = 0.05,
    bound: float = 0.1,
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
    from .gate.measure import measure
    from .gate.settings import GateOptions, judged
    from .probes.gated import Request

    with _session(pairs, model, tokenizer, seed, how) as session:
        request = Request(
            session.source, _how(model, how), how.get("fields"), frozenset(off), alpha, bound, beta, seed=seed
        )
        measured, rows = measure(request, session)
        judging = GateOptions(alpha=alpha, bound=bound, goal=goal, limits=limits or {})
        return _result(judged(measured, judging, date.today()), out, pairs, tuple(rows or ()))


def autopsy(log: str | Path | Sequence[Mapping[str, Any]], *, out: str | Path | None = None) -> Result:
    """What went wrong in a finished run; `probe autopsy`. `log` is a path or a trainer's `log_history`."""
    from .probes.autopsy.diagnose import diagnose, to_run
    from .probes.autopsy.read import read_log

    with _log_file(log) as path:
        read = read_log(path)
        return _result(to_run(read, diagnose(read)), out, None)


@contextmanager
def pair_file(pairs: Pairs) -> Iterator[Path]:
    """A file of the pairs: the path as it is, or rows in a temporary file that is gone after the block.

    Raises `ProbeError` for rows that are no dictionaries and values that JSON cannot hold.
    """
    if isinstance(pairs, str | Path):
        yield Path(pairs)
        return
    with tempfile.TemporaryDirectory(prefix="probe-") as place:
        path = Path(place) / "pairs.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for number, row in enumerate(pairs, 1):
                file.write(_line(row, number) + "\n")
        yield path


def _line(row: Any, number: int) -> str:
    if not isinstance(row, Mapping):
        raise ProbeError(
            f"pair {number} is a {type(row).__name__}. Give dictionaries with prompt, chosen and rejected."
        )
    try:
        return json.dumps(dict(row), ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ProbeError(f"pair {number}: {error}. Give text or lists of messages.") from error


@contextmanager
def _log_file(log: str | Path | Sequence[Mapping[str, Any]]) -> Iterator[Path]:
    if isinstance(log, str | Path):
        yield Path(log)
        return
    with tempfile.TemporaryDirectory(prefix="probe-") as place:
        path = Path(place) / "log_history.json"
        path.write_text(json.dumps(list(log), default=float), encoding="utf-8")
        yield path


@contextmanager
def _session(pairs: Pairs, model: Model, tokenizer: Any, seed: int, how: Loading) -> Iterator[Session]:
    """A session on these pairs and this model; a loaded model is as it was after the block."""
    from .scoring.session import Session

    with pair_file(pairs) as path, ExitStack() as stack:
        loaded = _given(model, tokenizer, how, stack)
        source = _source(path, how)
        yield Session.open(source, _how(model, how), seed, loaded)


def _source(path: Path, how: Loading) -> Source:
    from .scoring.session import Source

    return Source.of(path, how.get("fields"), how.get("sides"), how.get("skip_bad", False))


def _how(model: Model, how: Loading) -> ModelOptions:
    """The options of a model; nothing is stored, since nothing was asked to be written."""
    from .scoring.session import ModelOptions

    loading = {key: value for key, value in how.items() if key not in Reading.__annotations__}
    name = str(model) if isinstance(model, str | Path) else None
    return ModelOptions(model=name, no_cache=True, **loading)  # type: ignore[arg-type]


def _given(model: Model, tokenizer: Any, how: Loading, stack: ExitStack) -> LoadedModel | None:
    if model is None or isinstance(model, str | Path):
        return None
    from .scoring.given import as_loaded, untouched

    fixed = {"device", "dtype", "revision", "adapter", "trust_remote_code"}
    if named := sorted(fixed.intersection(how)):
        raise ProbeError(f"{named[0]}: a loaded model has its own. Leave it out, or give the model's name.")
    loaded = as_loaded(model, tokenizer)
    stack.enter_context(untouched(model))
    return loaded


def _options(kind: Any, given: Mapping[str, Any]) -> Any:
    """A dataclass of options. Raises `ProbeError` for a field that it does not have."""
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(given) - known):
        raise ProbeError(f"options: no {unknown[0]}. There are {', '.join(sorted(known))}.")
    return kind(**given)


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
