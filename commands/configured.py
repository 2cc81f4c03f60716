"""Between typer and `config`: the file becomes the commands' defaults, every command gets `--show-config`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from .. import config, ranges
from ..errors import ProbeError
from .config_tables import SECTIONS, TABLES

SHOW = Annotated[bool, typer.Option("--show-config", help="Print each setting with its origin and exit.")]


def use_file(context: typer.Context) -> None:
    """Load the config file and make its values the defaults of all commands under `context`."""
    commands = getattr(context.command, "commands", {})
    file = config.find(Path.cwd())
    options = {
        name: [p.name for p in command.params if p.param_type_name == "option"]
        for name, command in commands.items()
    }
    context.default_map = dict(config.defaults_for(file, options, TABLES))
    context.obj = file
    for name, command in commands.items():
        for parameter in command.params:
            _check_value(context, parameter, context.default_map[name].get(parameter.name), file)


def _check_value(context: typer.Context, parameter: Any, value: Any, file: config.ConfigFile) -> None:
    """Convert a file's value as its option would, so that a wrong one is told by file and key."""
    if value is None:
        return
    try:
        parameter.process_value(context, value)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        reason = getattr(error, "message", str(error)).rstrip(".")
        key = parameter.name.replace("_", "-")
        raise ProbeError(f'{file.where()}: "{key}" is {value!r}: {reason}. Mend the value.') from error


def configured(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a command that runs under the config, with `--show-config` added to its options."""
    hints = get_type_hints(function, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in inspect.signature(function).parameters.values()]

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        context, show = values.pop("probe_context"), values.pop("show_config")
        resolved = _resolve(context, values)
        config.activate(resolved)
        if show:
            print(config.show(resolved))
            return None
        for name, (value, origin) in resolved.settings.items():
            ranges.check(name, value, "" if origin == config.FLAG else _place(name, value, origin))
        return function(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    extra = [
        inspect.Parameter("show_config", keyword, default=False, annotation=SHOW),
        inspect.Parameter("probe_context", keyword, annotation=typer.Context),
    ]
    parameters = [p.replace(kind=keyword) for p in own]
    command.__signature__ = inspect.Signature([*parameters, *extra])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*parameters, *extra]}
    del command.__wrapped__
    return command


def _place(name: str, value: Any, origin: str) -> str:
    """Where a value that was not typed stands."""
    return f'{origin}: "{name.replace("_", "-")}" is {value}'


def _resolve(context: typer.Context, values: dict[str, Any]) -> config.Config:
    file: config.ConfigFile = context.obj or config.ConfigFile()
    return config.Config(
        file, {name: (value, _origin(context, name, file)) for name, value in values.items()}, SECTIONS
    )


def _origin(context: typer.Context, name: str, file: config.ConfigFile) -> str:
    """Where a parameter's value came from, by the name of click's enum member: typer may have vendored it."""
    source = getattr(context.get_parameter_source(name), "name", "DEFAULT")
    return {"COMMANDLINE": config.FLAG, "DEFAULT_MAP": file.where()}.get(source, config.DEFAULT)
