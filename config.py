"""Settings: flag > file > default, each with its origin.

The file is `probe.toml`, or `pyproject.toml` with a table `[tool.probe]`, in this directory or the nearest
one above. Its keys are the long options of the commands without their dashes: at the top for every command
that has the option, in a table of the command's name for that command alone.

    [tool.probe]
    model = "Qwen/Qwen2.5-0.5B-Instruct"
    alpha = 0.05

    [tool.probe.trial]
    seed = 7

Recipe for a command: nothing to do. `cli.py` hands the file to typer as defaults and adds `--show-config`,
so a command's parameters arrive resolved. What it saves of them: `Run(config=config.current(), ...)`.
The tables that are no options (`commands/config_tables.py`) are read with `config.section("gate.limits")`.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .errors import ProbeError
from .kinds import fits_float, is_of, spelled, wanted

DEFAULT, FLAG, ARGUMENT = "default", "flag", "argument"
TYPED = FLAG, ARGUMENT  # given for this run, on a command line or in a program

TableCheck = Callable[[Any, str], None]  # takes the table and its place; raises `ProbeError`
Tables = Mapping[str, Mapping[str, TableCheck]]  # command -> table -> check


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table that is no command option: its TOML types, default and one-line help."""

    name: str
    types: tuple[type, ...]
    default: Any
    help: str


ACCEPT_KEYS = (
    Key("code", (str,), None, "The finding that is accepted, e.g. PB203. Required."),
    Key("reason", (str,), None, "Why it is accepted; printed in every report. Required."),
    Key("group", (str,), "every group", "Accept it in this group only."),
    Key(
        "limit",
        (int, float),
        None,
        "Accept it up to this measured value; worse still fails (lower, where a low number is the bad one).",
    ),
    Key("until", (date,), None, "Last day on which it is accepted, e.g. 2027-03-31."),
)
# One-off acts and what they write are said each time, never by a file.
NEVER_IN_FILE = frozenset(
    {
        *("help", "version", "show_config", "force", "reason", "out", "resume", "export"),
        *("promote_to", "scores", "to", "replace_trivial"),
    }
)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file's `[tool.probe]` content, keys as written. `path` None: no file was found."""

    path: Path | None = None
    table: Mapping[str, Any] = field(default_factory=dict)

    def where(self, *tables: str) -> str:
        """The place of a table, for a message: `pyproject.toml [tool.probe.gate]`."""
        inside_pyproject = self.path is not None and self.path.name == "pyproject.toml"
        dotted = ".".join([*(["tool", "probe"] if inside_pyproject else []), *tables])
        return f"{self.path.name if self.path else ''}{f' [{dotted}]' if dotted else ''}"

    def place_of(self, command: str, names: Iterable[str]) -> str:
        """The place of the key, under any of its names, that a command's setting comes from."""
        own, spelled = self.table.get(command), {_name(name) for name in names}
        inside = isinstance(own, Mapping) and any(_name(key) in spelled for key in own)
        return self.where(command) if inside else self.where()


@dataclass(frozen=True, slots=True)
class Config:
    """The settings one command runs under."""

    file: ConfigFile = field(default_factory=ConfigFile)
    settings: Mapping[str, tuple[Any, str]] = field(default_factory=dict)  # name -> (value, origin)
    tables: tuple[str, ...] = ("accept",)  # the tables that are no options, as `section` takes them


_active: ContextVar[Config | None] = ContextVar("probe_config", default=None)


def activate(config: Config) -> None:
    """Make `config` what `current` and `section` answer from; `cli.py` does it before each command."""
    _active.set(config)


@contextmanager
def using(settings: Mapping[str, tuple[Any, str]]) -> Iterator[None]:
    """In the block `current` answers with these settings (name -> value, origin), and no file is read."""
    before = _active.set(Config(settings=settings))
    try:
        yield
    finally:
        _active.reset(before)


def current() -> dict[str, Any]:
    """The running command's settings for `Run.config`: `{name: value, …, "origins": {name: origin}}`.

    The origin is `flag`, `default`, the file's name, or `argument` in a call from Python. Empty elsewhere.
    """
    if (config := _active.get()) is None:
        return {}
    values = {name: _plain(value) for name, (value, _) in config.settings.items()}
    origins = {name: origin for name, (_, origin) in config.settings.items()}
    for name in config.tables:
        if value := section(name):
            values[name], origins[name] = _plain(value), config.file.where()
    return {**values, "origins": origins}


def take(settings: Mapping[str, tuple[Any, str]]) -> None:
    """Make these (name -> value, origin) settings of the running command: it runs under them."""
    config = _active.get() or Config()
    _active.set(dataclasses.replace(config, settings={**config.settings, **settings}))


def section(dotted: str) -> Any:
    """A table of the file that is no option, e.g. `section("gate.limits")`; `{}` when the file has none."""
    return _section((_active.get() or Config()).file, dotted)


def _section(file: ConfigFile, dotted: str) -> Any:
    value: Any = file.table
    for name in dotted.split("."):
        value = value.get(name, {}) if isinstance(value, Mapping) else {}
    return value


def find_config(start: Path) -> ConfigFile:
    """The nearest config at `start` or above it.

    Raises `ProbeError` on TOML that cannot be read, and where both files of one directory configure probe.
    """
    for directory in (start, *start.parents):
        candidates = [_read(directory / name) for name in ("probe.toml", "pyproject.toml")]
        found = [file for file in candidates if file is not None]
        if len(found) == 2:
            raise ProbeError(f"{directory}: probe.toml and pyproject.toml both configure probe. Keep one.")
        if found:
            return found[0]
    return ConfigFile()


def _read(path: Path) -> ConfigFile | None:
    try:
        raw = path.read_bytes() if path.is_file() else b""
        data = tomllib.loads(raw.decode("utf-8-sig"))  # as other editors save it
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        if path.name == "pyproject.toml" and b"probe" not in raw:
            return None  # another tool's fault, which is no concern of ours
        raise ProbeError(f"{path}: not valid TOML ({error}). Correct it.") from error
    if path.name == "probe.toml":
        _check_own(path, data)
        return ConfigFile(path, data) if raw or path.is_file() else None
    tool = data.get("tool", {})
    table = tool.get("probe") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ProbeError(f"{path}: tool.probe is not a table. Write `[tool.probe]`.")
    return None if table is None else ConfigFile(path, table)


def _check_own(path: Path, data: Mapping[str, Any]) -> None:
    """Raises `ProbeError` for a probe.toml written as a part of pyproject.toml."""
    tool = data.get("tool")
    if isinstance(tool, dict) and "probe" in tool:
        raise ProbeError(
            f"{path}: [tool.probe] is for pyproject.toml. Here its keys stand at the top, without a table, "
            "and [tool.probe.gate] is [gate]."
        )


def defaults_for(
    file: ConfigFile,
    commands: Mapping[str, Iterable[str]],
    tables: Tables,
    written: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, dict[str, Any]]:
    """The file's values by command and parameter, as typer's `default_map` wants them.

    `commands` maps each command to its parameters' names, `tables` to the checks of its tables that are no
    options, `written` to its options that are called otherwise than their parameter. Raises `ProbeError` on a
    key that no command has and on one that a file must not hold, naming file and key, with the nearest known.
    """
    others = {name: (written or {}).get(name, {}) for name in commands}
    known = {name: {*options, *others[name]} - NEVER_IN_FILE for name, options in commands.items()}
    shared = {key: value for key, value in file.table.items() if key not in {*known, "accept"}}
    _check_places(shared, tables, file.where())
    check_keys(shared, sorted({*set().union(*known.values()), *known, "accept"}), file.where())
    _check_accepted(file)
    own = {name: _own(file, name, options, tables.get(name, {})) for name, options in known.items()}
    general = {_name(key): value for key, value in shared.items()}
    return {
        name: {others[name].get(k, k): v for k, v in {**general, **own[name]}.items() if k in options}
        for name, options in known.items()
    }


def _check_places(shared: Mapping[str, Any], tables: Tables, where: str) -> None:
    """Raises `ProbeError` for a command's table that stands at the top."""
    for key in shared:
        if found := [f"[{command}.{key}]" for command, names in tables.items() if key in names]:
            raise ProbeError(f"{where}: [{key}] belongs to a command. Write {' or '.join(found)}.")


def _own(
    file: ConfigFile, command: str, options: set[str], tables: Mapping[str, TableCheck]
) -> dict[str, Any]:
    table = file.table.get(command, {})
    if not isinstance(table, dict):
        raise ProbeError(f'{file.where()}: "{command}" is a command. Give it a table: [{command}].')
    check_keys(table, sorted({*options, *tables}), file.where(command))
    for name, check in tables.items():
        check(table.get(name, {}), file.where(command, name))
    return {_name(key): value for key, value in table.items() if key not in tables}


def check_keys(table: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raises `ProbeError` on the first key of `table` that is not known, with the nearest that is."""
    names = {_name(key): key.replace("_", "-") for key in known}
    seen: set[str] = set()
    for key in table:
        if _name(key) in seen:
            raise ProbeError(f'{where}: "{key}" is given twice, with "-" and with "_". Keep one.')
        seen.add(_name(key))
        if _name(key) in names:
            continue
        if _name(key) in NEVER_IN_FILE:
            raise ProbeError(f'{where}: "{key}" is given on the command line, not in a file. Remove it.')
        near = get_close_matches(_name(key), names, n=1, cutoff=0.5)
        remedy = f'Did you mean "{names[near[0]]}"?' if near else "Remove it; docs/config.md lists the keys."
        if (on := _name(key).removeprefix("no_")) in names:
            remedy = f"Write {names[on]} = false."
        raise ProbeError(f'{where}: no key "{key}". {remedy}')


def check_types(table: Mapping[str, Any], keys: Iterable[Key], where: str) -> None:
    """Raises `ProbeError` on an unknown key of `table` or a value of another type than its key's."""
    by_name = {key.name: key for key in keys}
    check_keys(table, by_name, where)
    for name, value in table.items():
        kinds = frozenset(by_name[_name(name)].types)
        if not is_of(value, kinds):
            raise ProbeError(f'{where}: "{name}" is {spelled(value)}. It takes {wanted(kinds)}.')


def _check_accepted(file: ConfigFile) -> None:
    rows = file.table.get("accept", [])
    if not isinstance(rows, list):
        raise ProbeError(f'{file.where()}: "accept" is one table. Write [[…accept]] with two brackets.')
    for number, row in enumerate(rows, 1):
        where = f"{file.where('accept')} entry {number}"
        check_types(row, ACCEPT_KEYS, where)
        if missing := [name for name in ("code", "reason") if not row.get(name)]:
            raise ProbeError(f'{where}: "{missing[0]}" is missing. Say what is accepted and why.')
        if not fits_float(row.get("limit") or 0):
            raise ProbeError(f'{where}: "limit" is {row["limit"]}. Give a finite number.')


def _name(key: str) -> str:
    return key.replace("-", "_")


def _plain(value: Any) -> Any:
    """A setting as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
