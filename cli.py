"""The command line: a table of commands. Each lives in `commands/`, where it parses, calls and exits."""

from __future__ import annotations

from typing import Annotated

import typer

from . import __version__
from .commands import explain

app = typer.Typer(
    name="probe",
    help="Measure, before the first training step, whether preference pairs will teach your model anything.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (explain.explain,):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        print(f"probe {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Measure, before the first training step, whether preference pairs will teach your model anything."""
