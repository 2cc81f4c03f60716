"""What the Python interface is given, turned into what the commands take: files, sessions, options."""

from __future__ import annotations

import functools
import inspect
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar, get_type_hints

from . import config, ranges
from .errors import ProbeError
from .kinds import check_argument
from .plain import plain_json
from .surroundings import as_before

if TYPE_CHECKING:
    from .scoring.model import LoadedModel
    from .scoring.session import ModelOptions, Session, Source

Pairs = Any  # a path, a list of dictionaries or a `datasets.Dataset`
Model = Any  # a name or path, a loaded `PreTrainedModel` or `PeftModel`, or None for the embedded model
_P = ParamSpec("_P")
_R = TypeVar("_R")


def under_settings(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """`function` with its keyword arguments as the settings of the run: what a command has of its flags.

    Each is in its range, else `ProbeError` names it, and `Run.config` holds it with its origin. The process
    is afterwards as it was.
    """
    own = inspect.signature(function)
    keywords = {name for name, p in own.parameters.items() if p.kind is p.KEYWORD_ONLY} - {"out"}

    @functools.wraps(function)
    def call(*given: _P.args, **named: _P.kwargs) -> _R:
        bound = own.bind(*given, **named)
        bound.apply_defaults()
        values = {name: bound.arguments[name] for name in keywords} | bound.arguments.get("how", {})
        hints = _hints(function)
        for name, value in values.items():
            check_argument(name, value, hints.get(name))
            ranges.check(name, value, f"{name}={value}")
        origins = {name: config.ARGUMENT if name in named else config.DEFAULT for name in values}
        # A name is a setting of the run, as a command's --model is; a loaded model is none.
        texts = {name: bound.arguments.get(name) for name in ("model", "tokenizer")}
        for name, value in texts.items():
            if isinstance(value, str | Path):
                values[name], origins[name] = str(value), config.ARGUMENT
        settings = {name: (value, origins[name]) for name, value in values.items()}
        with as_before(), config.using(settings):
            return function(*given, **named)

    return call


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's arguments, those of how a model is loaded among them."""
    return {**get_type_hints(Loading), **get_type_hints(function)}


class ReadOptions(TypedDict, total=False):
    """How pairs are read, as the flags of the same names say: `fields`, `sides`, `skip_bad`."""

    fields: str | None
    sides: str | None
    skip_bad: bool


class Loading(ReadOptions, total=False):
    """How a model is loaded and pairs become tokens, as the flags of the same names say."""

    device: str | None
    dtype: str | None
    revision: str | None
    adapter: str | None
    trust_remote_code: bool
    template: str
    max_length: int | None
    quantize: str | None


@contextmanager
def pair_file(pairs: Pairs) -> Iterator[Path]:
    """A file of the pairs: the path as it is, or rows in a temporary file that is gone after the block.

    Raises `ProbeError` for rows that are no dictionaries and values that hold themselves.
    """
    if isinstance(pairs, str | Path):
        yield Path(pairs)
        return
    _check_rows(pairs)
    with tempfile.TemporaryDirectory(prefix="probe-") as place:
        path = Path(place) / "pairs.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for number, row in enumerate(pairs, 1):
                file.write(_line(row, number) + "\n")
        if path.stat().st_size == 0:
            raise ProbeError("there are no pairs. Give dictionaries with prompt, chosen and rejected.")
        yield path


def listed(name: str, given: Iterable[str]) -> tuple[str, ...]:
    """Names as a tuple. Raises `ProbeError` for one text, whose letters would be taken for names."""
    if isinstance(given, str):
        raise ProbeError(f'{name}="{given}": give a list of names, such as ["{given}"].')
    return tuple(given)


def _check_rows(pairs: Any) -> None:
    """Raises `ProbeError` for what is iterated by other things than its rows."""
    if hasattr(pairs, "to_dict") and hasattr(pairs, "columns"):
        raise ProbeError('the pairs are a table of pandas. Give its rows: `table.to_dict("records")`.')
    if isinstance(pairs, Mapping):
        named = ", ".join(map(str, list(pairs)[:4]))
        raise ProbeError(
            f"the pairs are one {type(pairs).__name__} ({named}). Give a list of rows; of several splits, "
            'one, such as pairs["train"].'
        )
    if isinstance(pairs, bytes) or not isinstance(pairs, Iterable):
        raise ProbeError(
            f"the pairs are a {type(pairs).__name__}. Give a path, or dictionaries with prompt, chosen and "
            "rejected."
        )


def _line(row: Any, number: int) -> str:
    if not isinstance(row, Mapping):
        raise ProbeError(
            f"pair {number} is a {type(row).__name__}. Give dictionaries with prompt, chosen and rejected."
        )
    try:
        return json.dumps(plain_json(row), ensure_ascii=False)
    except RecursionError as error:
        raise ProbeError(f"pair {number}: a value holds itself. Give text or lists of messages.") from error


@contextmanager
def log_file(log: str | Path | Sequence[Mapping[str, Any]]) -> Iterator[Path]:
    """A file of the log: the path as it is, or rows in a temporary file that is gone after the block."""
    if isinstance(log, str | Path):
        yield Path(log)
        return
    with tempfile.TemporaryDirectory(prefix="probe-") as place:
        path = Path(place) / "log_history.json"
        path.write_text(json.dumps(list(log), default=float), encoding="utf-8")
        yield path


@contextmanager
def session_on(
    pairs: Pairs, model: Model, tokenizer: Any, seed: int, how: Loading, *, served: bool = False
) -> Iterator[Session]:
    """A session on these pairs and this model; a loaded model is as it was after the block.

    `served`: the model may be the address of a server, with the name of its tokenizer.
    """
    with pair_file(pairs) as path, model_at_hand(model, tokenizer, how) as loaded:
        yield session_of(path, model, tokenizer, seed, how, loaded, served=served)


def session_of(
    path: Path, model: Model, tokenizer: Any, seed: int, how: Loading, loaded: LoadedModel | None,
    *, served: bool = False,
) -> Session:  # fmt: skip
    """A session on a file of pairs; `loaded` is the model where it is at hand."""
    from .scoring.session import Session

    options = model_options(model, how, tokenizer)
    return Session.open(pair_source(path, how), options, seed, loaded, served=served)


def pair_source(path: Path, how: Loading) -> Source:
    """The pair file, read as `how` says."""
    from .scoring.session import Source

    return Source.of(path, how.get("fields"), how.get("sides"), how.get("skip_bad", False))


def model_options(model: Model, how: Loading, tokenizer: Any = None) -> ModelOptions:
    """The options of a model; nothing is stored, since nothing was asked to be written."""
    from .scoring.session import ModelOptions

    loading = {key: value for key, value in how.items() if key not in ReadOptions.__annotations__}
    name = str(model) if isinstance(model, str | Path) else None
    own = str(tokenizer) if isinstance(tokenizer, str | Path) else None
    return ModelOptions(model=name, no_cache=True, tokenizer=own, **loading)  # type: ignore[arg-type]


@contextmanager
def model_at_hand(
    model: Model, tokenizer: Any, how: Loading, *, runs: bool = True
) -> Iterator[LoadedModel | None]:
    """The given model where it is loaded, which is as it was after the block; None for a name.

    `runs` False: nothing is measured on it, so that it may be another than a language model. Raises
    `ProbeError` for a model that cannot be measured, for a tokenizer that would not be used, and under
    autocast, which would measure in another arithmetic than is told.
    """
    if runs:
        _check_autocast()
    if model is None or isinstance(model, str | Path):
        _check_tokenizer(model, tokenizer)
        yield None
        return
    from .scoring.given import as_loaded, uncompiled, untouched

    fixed = {"device", "dtype", "revision", "adapter", "trust_remote_code", "quantize"}
    if named := sorted(fixed.intersection(how)):
        raise ProbeError(f"{named[0]}: a loaded model has its own. Leave it out, or give the model's name.")
    with uncompiled(model) as plain:
        loaded = as_loaded(plain, tokenizer, runs=runs)
        with untouched(plain):
            yield loaded


def _check_autocast() -> None:
    if "torch" not in sys.modules:  # then it cannot be on
        return
    import torch

    if on := [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]:
        raise ProbeError(
            f"torch.autocast is on for {on[0]}: numbers would be of another arithmetic than the model's. "
            "Call probe outside of it."
        )


def _check_tokenizer(model: str | Path | None, tokenizer: Any) -> None:
    """Raises `ProbeError` for a tokenizer that would not be used: a named model has its own."""
    from .scoring.options import is_endpoint

    served = is_endpoint(None if model is None else str(model))
    if tokenizer is None or (served and isinstance(tokenizer, str | Path)):
        return
    if served:
        raise ProbeError("tokenizer: a server's is given by its name. Name the served model's.")
    raise ProbeError("tokenizer: a named model has its own. Leave it out, or give the loaded model with it.")


def with_further(chosen: Any, further: Mapping[str, Any] | None) -> Any:
    """A dataclass of options with further fields set. Raises `ProbeError` for one that it does not have."""
    known = {field.name for field in fields(chosen)}
    if unknown := sorted(set(further or {}) - known):
        raise ProbeError(f"options: no {unknown[0]}. There are {', '.join(sorted(known))}.")
    hints = get_type_hints(type(chosen))
    for name, value in (further or {}).items():
        check_argument(f"options: {name}", value, hints[name])
        ranges.check(name, value, f"options: {name}={value}")
    return replace(chosen, **(further or {}))
