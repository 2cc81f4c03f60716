"""Commands that a report tells: which options of a run they keep, and how they are written for a shell."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from ..config import ARGUMENT, FLAG
from ..records import Run
from ..shell import file_argument, shell_word

# Options that say what is measured, not how it is shown: the next command needs the same ones.
READING = ("fields", "sides", "skip_bad")
ENCODING = ("model", *READING, "template", "max_length", "revision", "trust_remote_code")
CARRIED = (*ENCODING, "adapter", "quantize")
# What `probe sample` and `probe label` take of them.
SAMPLED = ("model", "fields", "template", "revision", "trust_remote_code", "adapter", "quantize")
LABELLED = ("fields", "skip_bad", "seed")
OF_GATE = (*CARRIED, "tokenizer")  # of a gate, which measures a served model too
# Of a gate that is made again: all that says how is measured and judged.
GATED = (
    *OF_GATE, "device", "dtype", "no_cache", "thorough", "trial_pairs", "seed", "device_memory",
    "baseline", "levers", "alpha", "bound", "minimum_n", "inconclusive", "full", "goal", "one_stage", "beta",
)  # fmt: skip
# What that gate does not take over: what left probes out, what is no measurement, and where it goes.
NOT_CARRIED = (
    "path", "data", "numerics", "negatives", "bias", "effects", "trial", "quick", "budget", "plan", "format",
    "out", "everything",
)  # fmt: skip
# What each command keeps of the run before it.
KEPT: Mapping[str, tuple[str, ...]] = {
    "data": ("fields",),
    "gate": OF_GATE,
    "label": LABELLED,
    "levers": CARRIED,
    "sample": SAMPLED,
    "show": ENCODING,
    "train": CARRIED,
    "trial": CARRIED,
}
WEIGHTS = ("levers", "sample", "train", "trial")  # what no server can be asked for


def command_line(
    run: Run, command: str, *more: str, kept: tuple[str, ...] = (), path: str | None = None
) -> str | None:
    """`probe command` on the pairs of `run`, or on `path`, with the options that it keeps and `more`.

    None where no command line can name what was measured: pairs in memory, or a loaded model.
    """
    names = kept or KEPT[command]
    pairs = run.inputs.get("pairs") or {}
    file = path or pairs.get("path")
    loaded = "model" in names and (run.inputs.get("model") or {}).get("given")
    if not file or pairs.get("in_memory") or loaded:
        return None
    words = ["probe", command, file_argument(str(file)), *_options(run, names), *more]
    return shlex.join(words)


def _options(run: Run, names: tuple[str, ...]) -> list[str]:
    """The options that were typed or given as arguments in Python; those of a config file hold anyway."""
    origins: Mapping[str, str] = run.config.get("origins") or {}
    values = {name: run.config.get(name) for name in names if origins.get(name) in (FLAG, ARGUMENT)}
    return [word for name, value in values.items() for word in _option(name, value)]


def _option(name: str, value: Any) -> tuple[str, ...]:
    if value is None or value is False:
        return ()
    flag = f"--{name.replace('_', '-')}"
    return (flag,) if value is True else (flag, str(value))


def served(run: Run) -> bool:
    """Whether a server computed the log-probs, so that nothing can be asked for that needs the weights."""
    return bool((run.inputs.get("model") or {}).get("endpoint"))


def show_command(run: Run, line: str = "") -> str | None:
    """The command that shows what the model reads of the pair at `line` (else the worst), or None."""
    worst = (run.details.get("worst") or [{}])[0].get("line")
    if own := (run.inputs.get("model") or {}).get("tokenizer"):  # the one saved with the adapter
        named = {"model": own, "origins": {**(run.config.get("origins") or {}), "model": FLAG}}
        run = dataclasses.replace(run, config={**run.config, **named})
    return command_line(run, "show", "--line", line or str(worst)) if line or worst else None


def command_parts(command: str, ascii_only: bool = False) -> list[str]:
    """The command's words, quoted for a shell, each option with its value: lines break between them."""
    words = [shell_word(word, ascii_only) for word in shlex.split(command)]
    parts = [" ".join(words[:2])]
    for word in words[2:]:
        follows = bool(parts) and parts[-1].startswith("--") and " " not in parts[-1]
        if follows and not word.startswith("--"):
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    return parts


def shown_command(command: str) -> str:
    """The command on one line, in which no character is hidden and no line ends."""
    return " ".join(map(shell_word, shlex.split(command)))
