"""`--help` as it is printed: options in groups, each on one line; commands with what they do, never cut.

Types of click are named `Any` here: typer may or may not have vendored it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup

# Parameters by what they are about; a test holds that each option of each command stands in one of these.
OPTION_GROUPS: dict[str, tuple[str, ...]] = {
    "Pairs": (
        "fields", "sides", "skip_bad", "against", "line", "replace_trivial", "scores", "prompts", "most",
        "strip", "pairs", "held_out",
    ),
    "Model": (
        "model", "device", "dtype", "quantize", "revision", "adapter", "trust_remote_code", "template",
        "tokenizer", "templates", "max_length", "no_cache",
    ),
    "What is run": (
        "data", "numerics", "negatives", "bias", "effects", "trial", "quick", "thorough", "budget",
        "plan", "trial_pairs", "read_only", "corrected", "stop_early", "surface", "alone", "states",
        "gradients", "methods", "proxy", "builtin", "traits", "trait", "traits_file", "intended", "system",
        "context",
        "context_field", "shots", "draws", "steering", "strength", "trial_steps", "watch", "samples",
        "tokens",
    ),
    "Training": (
        "method", "learning_rate", "beta", "batch", "steps", "epochs", "train_dtype", "fused", "warmup",
        "schedule", "clip", "weight_decay", "smoothing", "penalty", "nll_weight", "odds_weight", "gamma",
        "desirable_weight", "undesirable_weight",
        "full", "lora_rank", "lora_alpha", "mixed_precision", "checkpointing", "micro_tokens",
        "replay", "replay_share", "eval_every", "patience", "guard", "force", "reason", "resume", "tracker",
        "device_memory",
    ),
    "Sampling": ("sample.n", "sample.tokens", "temperatures", "top_p", "rejected", "match_length", "keep_if"),
    "Judging": (
        "goal", "one_stage", "baseline", "levers", "inconclusive", "minimum_n", "alpha", "bound",
        "allowance", "agreement", "expect", "n", "name", "seed",
    ),
    "Output": (
        "format", "out", "everything", "to", "fix", "check", "export", "export_trimmed", "trim", "trim_by",
        "by", "drop_suspect", "promote_to", "with_model", "report", "show_config", "help",
    ),
    "Options": ("version", "install_completion", "show_completion", "probe.help"),
}  # fmt: skip
OTHER = "Other"
VALUES = {
    "int": "N",
    "float": "X",
    "path": "PATH",
    "dir": "PATH",
    "file": "PATH",
}  # by how click's name begins
OPTION_HELP = {"show_completion": "Print the completion script of this shell."}  # where typer's own is longer


def group_of(command: str, name: str) -> str:
    """The heading that this parameter of a command stands under."""
    for wanted in (f"{command}.{name}", name):
        for title, names in OPTION_GROUPS.items():
            if wanted in names:
                return title
    return OTHER


def parameter_row(parameter: Any, context: Any) -> tuple[str, str]:
    """A parameter as it is typed, and what it does, with its default.

    A switch that is on by default is shown as it is typed to turn it off.
    """
    told = OPTION_HELP.get(parameter.name, str(parameter.help or ""))
    if parameter.param_type_name == "argument":
        return parameter.name, told
    default, off = parameter.default, parameter.secondary_opts
    names = off if off and parameter.default else parameter.opts
    typed = ", ".join(sorted(names, key=len))
    if parameter.is_flag:
        return typed, told
    shown = "" if default is None or callable(default) else f" [{default}]"
    return f"{typed} {_value(parameter, context)}", f"{told}{shown}"


def _value(parameter: Any, context: Any) -> str:
    """What stands for the value: a number, a path or a text, by the word that click would print."""
    word = parameter.get_help_record(context)[0].split()[-1].lower().strip("<>").removeprefix("list[")
    return next((shown for kind, shown in VALUES.items() if word.startswith(kind)), "TEXT")


def sections(parameters: Iterable[Any], context: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Heading and rows of each group that has any, in the order of `OPTION_GROUPS`; arguments lead."""
    shown = [p for p in parameters if not getattr(p, "hidden", False)]
    for title in ("Arguments", *OPTION_GROUPS, OTHER):
        rows = [
            parameter_row(p, context)
            for p in shown
            if (p.param_type_name == "argument" and title == "Arguments")
            or (p.param_type_name == "option" and group_of(str(context.command.name), p.name) == title)
        ]
        if rows:
            yield title, rows


class Page(TyperCommand):
    """A command whose options stand in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the groups, their columns aligned over the whole page."""
        _write(list(sections(self.get_params(ctx), ctx)), formatter)


class Commands(TyperGroup):
    """The table of commands, each with its whole sentence at any width."""

    sentences: Mapping[str, str]  # what each does

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        _write([("Commands", list(self.sentences.items()))], formatter)
        _write(list(sections(self.get_params(ctx), ctx)), formatter)


def _write(parts: list[tuple[str, list[tuple[str, str]]]], formatter: Any) -> None:
    wide = max((len(typed) for _, rows in parts for typed, _ in rows), default=0)
    for title, rows in parts:
        with formatter.section(title):
            # Equal first columns line the groups up; a row whose words do not fit runs on below them.
            formatter.write_dl([(typed.ljust(wide), told) for typed, told in rows], col_max=wide)
