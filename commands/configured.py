"""Between typer and `config`: the file becomes the commands' defaults, every command gets `--show-config`."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from .. import config, files, ranges
from ..errors import ProbeError
from ..kinds import Kinds, is_of, kinds_of, spelled, wanted
from .bundles import bundled, expanded
from .config_paths import NAMING, check_given, from_file, names_a_place
from .config_tables import SECTIONS, TABLES

OUTPUTS = (
    "export",
    "to",
    "fix",
    "export_trimmed",
    "drop_suspect",
)  # parameters that name a file to be written, which gets JSON Lines
PLACE_OPTIONS = ("promote_to", "place")  # what `deploy` keeps
WITHOUT_FILE = ("explain",)  # commands that no config file can stop
SHOW = Annotated[bool, typer.Option("--show-config", help="Print each setting with its origin and exit.")]


def use_file(context: typer.Context) -> None:
    """Load the config file and make its values the defaults of all commands under `context`.

    What is wrong with it is told by the command that would use it: --help and `explain` need no file.
    """
    try:
        _use_file(context)
    except ProbeError as error:
        context.obj, context.default_map = error, {}


def _use_file(context: typer.Context) -> None:
    file = config.find_config(Path.cwd())
    if file.path is None:
        context.obj, context.default_map = file, {}
        return  # no other command is imported where no file could name its options
    commands = getattr(context.command, "commands", {})
    options = {
        name: [p.name for p in command.params if p.param_type_name == "option"]
        for name, command in commands.items()
    }
    written = {name: _written(command.params) for name, command in commands.items()}
    context.default_map = dict(config.defaults_for(file, options, TABLES, written))
    context.obj = file
    for name, command in commands.items():
        hints, values = command.callback.__annotations__, context.default_map[name]
        for parameter in (p for p in command.params if values.get(p.name) is not None):
            place, kinds = file.place_of(name, _names(parameter)), kinds_of(hints.get(parameter.name))
            if names_a_place(parameter.name, kinds):
                check_given(f"{place}: ", f'"{_names(parameter)[-1]}"', values[parameter.name])
                values[parameter.name] = from_file(values[parameter.name], file.path.parent)
            _check_value(context, parameter, kinds, values[parameter.name], place)


def _written(parameters: Iterable[Any]) -> dict[str, str]:
    """The long options that are not called as their parameter: `all` sets `everything`."""
    return {
        option.removeprefix("--").replace("-", "_"): parameter.name
        for parameter in parameters
        for option in parameter.opts
        if option.startswith("--") and option.removeprefix("--").replace("-", "_") != parameter.name
    }


def _names(parameter: Any) -> list[str]:
    """What a config file may call an option: by its parameter, or as it is written."""
    return [parameter.name, *(option[2:] for option in parameter.opts if option.startswith("--"))]


def _help(parameter: Any) -> str:
    return str(parameter.help).removesuffix("Repeatable.").strip().rstrip(".")


def _check_value(context: typer.Context, parameter: Any, kinds: Kinds, value: Any, place: str) -> None:
    """Refuse a value of another kind than the option's, and convert it as the option would.

    So a wrong one is told by place and key.
    """
    key = _names(parameter)[-1]
    if kinds and not is_of(value, kinds):
        forms = wanted(kinds)
        if is_of([value], kinds):
            forms = f"a list: {key} = [{spelled(value)}] ({_help(parameter)})"
        raise ProbeError(f'{place}: "{key}" is {spelled(value)}. Write {forms}.')
    try:
        parameter.process_value(context, value)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        reason = getattr(error, "message", str(error)).rstrip(".")
        raise ProbeError(f'{place}: "{key}" is {value!r}: {reason}. Correct the value.') from error


def _config_text(resolved: config.Config, written: Mapping[str, str]) -> str:
    """The text of `--show-config`: name, value and origin, a line per setting.

    `written`: what a file calls the options that are called otherwise than their parameter.
    """
    now = config.current()
    options = sorted((written.get(name, name).replace("_", "-"), name) for name in resolved.settings)
    names = [*options, *((name, name) for name in resolved.tables if name in now)]
    rows = [(said, repr(now[name]), now["origins"][name]) for said, name in names]
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    lines = [f"{n:<{widths[0]}}  {v:<{widths[1]}}  {o}" for n, v, o in rows]
    return "\n".join([f"config file: {resolved.file.path or 'none found'}", *lines])


def configured(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a command that runs under the config, with `--show-config` added to its options."""
    hints = get_type_hints(function, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in inspect.signature(function).parameters.values()]

    def run(values: dict[str, Any]) -> Any:
        context, show = values.pop("probe_context"), values.pop("show_config")
        resolved = _resolve(context, values)
        config.activate(resolved)
        if show:
            written = _written(context.command.params)
            free = {name: own for name, own in written.items() if name not in resolved.settings}
            print(_config_text(resolved, {own: name for name, own in free.items() if name != f"no_{own}"}))
            return None
        for name, (value, origin) in resolved.settings.items():
            if name in NAMING:
                check_given("", f"--{name}", value)
            ranges.check(name, value, "" if origin == config.FLAG else _place(name, value, origin))
        _check_files(resolved, values)
        try:
            return function(**bundled(own, values))
        except ProbeError as error:
            error.args = _placed(error.args, resolved, str(context.info_name))
            raise

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        # In a context of its own: after it no settings and no protected inputs are left to what runs next.
        return copy_context().run(run, values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    extra = [
        inspect.Parameter("show_config", keyword, default=False, annotation=SHOW),
        inspect.Parameter("probe_context", keyword, annotation=typer.Context),
    ]
    parameters = [p.replace(kind=keyword) for p in expanded(own)]
    command.__signature__ = inspect.Signature([*parameters, *extra])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*parameters, *extra]}
    del command.__wrapped__
    return command


def _placed(lines: tuple[Any, ...], resolved: config.Config, command: str) -> tuple[Any, ...]:
    """An error's lines, of which one that opens with a flag that nobody typed says where its value stands."""
    flag = re.match(r"--([a-z-]+)\b", str(lines[0])) if lines else None
    name = flag[1].replace("-", "_") if flag else ""
    origin = resolved.settings.get(name, (None, config.FLAG))[1]
    if origin in (config.FLAG, config.DEFAULT):
        return lines
    return (f"{resolved.file.place_of(command, [name])}: {lines[0]}", *lines[1:])


def _check_files(resolved: config.Config, values: dict[str, Any]) -> None:
    """Before anything is spent: inputs are protected, and what is to be written can be."""
    for value in values.values():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path):
                files.check_length_of_name(path)
    listed = {
        k: v if isinstance(v, list) else [v]
        for k, v in values.items()
        if k not in (*OUTPUTS, *PLACE_OPTIONS, "out")
    }
    named = (Path(v) for items in listed.values() for v in items if isinstance(v, str | Path) and str(v))
    files.protect([*filter(_exists, named), *filter(None, [resolved.file.path])])
    for name in OUTPUTS:
        if isinstance(values.get(name), Path):
            files.check_target(values[name])
            _check_json_name(name, values[name])
    if isinstance(out := values.get("out"), Path):
        files.check_directory(out)
        files.check_target(out / "run.json")
    _check_apart(values)


def _check_apart(values: dict[str, Any]) -> None:
    """Raises `ProbeError` where two outputs are one file, of which the later would replace the other."""
    taken: dict[Path, str] = {}
    for flag, path in _outputs(values):
        files.check_length_of_name(path)
        first = taken.setdefault(Path(os.path.realpath(path)), flag)
        if first != flag:
            raise ProbeError(f"{path}: is to be written by {first} and by {flag}. Give each its own name.")


def _outputs(values: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Every file that a command is asked for, with the option that asks for it."""
    if isinstance(out := values.get("out"), Path):
        yield from (("--out", out / name) for name in ("run.json", "scores.jsonl"))
    for name in OUTPUTS:
        if isinstance(path := values.get(name), Path):
            yield f"--{name.replace('_', '-')}", path
            if name == "fix":
                yield "--fix (what is dropped)", path.with_name(f"{path.name}.dropped.jsonl")
    for given in values.get("format") or ():
        form, _, target = str(given).partition("=")
        if target:
            yield f"--format {form}", Path(target)


def _check_json_name(name: str, path: Path) -> None:
    """Raises `ProbeError` for a file of pairs whose name promises another form than the one it would get."""
    from ..pairs.formats import is_json_name

    if not is_json_name(path):
        raise ProbeError(
            f"--{name.replace('_', '-')} {path}: pairs are written as JSON Lines, and would not be read from "
            f"such a name. Call it {path.name.split('.')[0]}.jsonl."
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text that is no path: a template, say
        return False


def _place(name: str, value: Any, origin: str) -> str:
    """Where a value that was not typed stands."""
    return f'{origin}: "{name.replace("_", "-")}" is {value}'


def _resolve(context: typer.Context, values: dict[str, Any]) -> config.Config:
    if isinstance(context.obj, ProbeError) and context.info_name not in WITHOUT_FILE:
        raise context.obj
    file = context.obj if isinstance(context.obj, config.ConfigFile) else config.ConfigFile()
    return config.Config(
        file, {name: (value, _origin(context, name, file)) for name, value in values.items()}, SECTIONS
    )


def _origin(context: typer.Context, name: str, file: config.ConfigFile) -> str:
    """Where a parameter's value came from, by the name of click's enum member: typer may have vendored it."""
    source = getattr(context.get_parameter_source(name), "name", "DEFAULT")
    return {"COMMANDLINE": config.FLAG, "DEFAULT_MAP": file.where()}.get(source, config.DEFAULT)
