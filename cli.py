"""The command line: a table of commands. Each lives in `commands/`, where it parses, calls and exits."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import __version__
from .commands.help_page import Commands
from .commands.lazy import LazyCommands, load_command

# In the order of the work, each with what it does, which a test holds to the docstring's first sentence.
# A command is the function of its module's name.
COMMANDS = {
    "bias": "Measure which side of each pair the model already prefers",
    "data": "Check the pair file itself: broken rows, duplicates, lengths",
    "show": "Show what the model reads of a pair, token by token",
    "unpaired": "Check answers with labels, as for KTO, and make pairs of them",
    "negatives": "Measure how trivial the rejected side is, and who wrote it",
    "effects": "Measure what else the pairs would teach",
    "levers": "Measure what a prompt, examples or a vector do to the pairs",
    "trial": "Train a little and forecast the full run",
    "gate": "Judge pairs for training this model; exit code 0 (pass) or 1",
    "train": "Train under the guard, then measure what changed",
    "compare": "Compare a tuned model with its base, group by group",
    "rollback": "Put the previous model back in place, in one step",
    "sample": "Sample answers from the model and make pairs of them",
    "label": "Label a random sample of pairs blind; compare with the file's",
    "autopsy": "Say what happened in a training run",
    "explain": "Say what a finding means, why it matters, what to do",
    "report": "Show a saved run in any format, or several side by side",
    "export": "Write a gate's decision as another training tool's config",
    "reference": "Write the pairs with reference log-probs, for trainers",
    "init": "Write a config, a CI workflow, a commit hook and sample pairs",
}


class Program(Commands):
    """The commands of `COMMANDS`, imported when they are asked for."""

    sentences = COMMANDS

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": LazyCommands(COMMANDS, load_command)})


app = typer.Typer(
    name="probe",
    help="Measure, before the first training step, whether preference pairs will teach your model anything.",
    cls=Program,
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
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
    if context.invoked_subcommand is None:
        print(context.get_help())
    else:
        from .commands.configured import use_file

        use_file(context)
