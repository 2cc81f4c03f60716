"""The command line: a table of commands. Each lives in `commands/`, where it parses, calls and exits."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from . import __version__
from .commands.configured import configured, use_file
from .commands.help_page import Commands, Page
from .training.methods import METHODS

# In the order of the work. A command is the function of its module's name.
COMMANDS = (
    "bias",
    "data",
    "show",
    "unpaired",
    "negatives",
    "effects",
    "levers",
    "trial",
    "gate",
    "train",
    "compare",
    "rollback",
    "sample",
    "label",
    "autopsy",
    "explain",
    "report",
    "export",
    "reference",
    "init",
)

app = typer.Typer(
    name="probe",
    help="Measure, before the first training step, whether preference pairs will teach your model anything.",
    cls=Commands,
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for name in COMMANDS:
    epilog = f"Methods: {', '.join(METHODS)}." if name in ("negatives", "trial", "train") else None
    app.command(name, cls=Page, epilog=epilog)(
        configured(getattr(import_module(f".commands.{name}", __package__), name))
    )


def _version(asked: bool) -> None:
    if asked:
        print(f"probe {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Measure, before the first training step, whether preference pairs will teach your model anything."""
    use_file(context)
    if context.invoked_subcommand is None:
        print(context.get_help())
