"""What the Python interface is given, turned into what the commands take: files, sessions, options."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from .errors import ProbeError

if TYPE_CHECKING:
    from .scoring.model import LoadedModel
    from .scoring.session import ModelOptions, Session, Source

Pairs = Any  # a path, a list of dictionaries or a `datasets.Dataset`
Model = Any  # a name or path, a loaded `PreTrainedModel` or `PeftModel`, or None for the embedded model


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
    from .scoring.session import Session

    with pair_file(pairs) as path, ExitStack() as stack:
        loaded = _given(model, tokenizer, how, stack)
        source = pair_source(path, how)
        options = model_options(model, how, tokenizer)
        yield Session.open(source, options, seed, loaded, served=served)


def pair_source(path: Path, how: Loading) -> Source:
    """The pair file, read as `how` says."""
    from .scoring.session import Source

    return Source.of(path, how.get("fields"), how.get("sides"), how.get("skip_bad", False))


def model_options(model: Model, how: Loading, tokenizer: Any = None) -> ModelOptions:
    """The options of a model; nothing is stored, since nothing was asked to be written."""
    from .scoring.session import ModelOptions

    loading = {key: value for key, value in how.items() if key not in ReadOptions.__annotations__}
    name = str(model) if isinstance(model, str | Path) else None
    own = tokenizer if isinstance(tokenizer, str) else None
    return ModelOptions(model=name, no_cache=True, tokenizer=own, **loading)  # type: ignore[arg-type]


def _given(model: Model, tokenizer: Any, how: Loading, stack: ExitStack) -> LoadedModel | None:
    if model is None or isinstance(model, str | Path):
        return None
    from .scoring.given import as_loaded, untouched

    fixed = {"device", "dtype", "revision", "adapter", "trust_remote_code", "quantize"}
    if named := sorted(fixed.intersection(how)):
        raise ProbeError(f"{named[0]}: a loaded model has its own. Leave it out, or give the model's name.")
    loaded = as_loaded(model, tokenizer)
    stack.enter_context(untouched(model))
    return loaded


def options_of(kind: Any, given: Mapping[str, Any]) -> Any:
    """A dataclass of options. Raises `ProbeError` for a field that it does not have."""
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(given) - known):
        raise ProbeError(f"options: no {unknown[0]}. There are {', '.join(sorted(known))}.")
    return kind(**given)
