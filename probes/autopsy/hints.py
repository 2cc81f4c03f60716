"""What stands beside the entries of a log: accumulation, logging interval, length of the run, method."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

LOSS_TYPES = {
    "dpo": "DPO", "sigmoid": "DPO", "ipo": "IPO", "kto": "KTO", "orpo": "ORPO", "simpo": "SimPO", 
    "cpo": "CPO", "grpo": "GRPO", "rloo": "GRPO", "ppo": "PPO", "sft": "SFT", "rm": "reward model",
}  # fmt: skip
PAIR_LOSSES = {"nca_pair": "NCA", "bco_pair": "BCO", "exo_pair": "EXO"}  # TRL's, which no column is called by
LOSS_TYPE = "|".join((*LOSS_TYPES, *PAIR_LOSSES))
METHOD = re.compile(
    rf"\b({LOSS_TYPE})_?(?:trainer|config|training)\b"
    r"|\btrain_(rm|dpo|kto|sft)\b"  # OpenRLHF's commands
    r"|(dpo|ppo|grpo|kto|orpo|simpo|cpo|ipo)(?:recipe|loss\b)"  # torchtune's classes
    r"|\b(?:stage|rlhf_type|loss_type|pref_loss|rl|train_type|starting)"
    rf"[\"']?\s*[:= ]\s*[\"']?({LOSS_TYPE})\b",
    re.IGNORECASE,
)
MOST_DIGITS = 12  # of a count; longer ones are no counts, and Python reads none of thousands
ACCUMULATION = re.compile(r"gradient[_ ]accumulation[_ ]steps\W{1,6}(\d+)", re.IGNORECASE)
INTERVAL = re.compile(r"\blogging_steps\W{1,5}(\d+)", re.IGNORECASE)
# As JSON, YAML, a printed object or an option of the command says it; -1 stands for no limit.
MAX_STEPS = re.compile(
    r"(?:(?<![\w-])[\"']?max_(?:train_)?steps[\"']?\s*[:=]|--max_(?:train_)?steps[ =]"
    r"|total optimization steps\s*=)\s*([\d,]+)",
    re.IGNORECASE,
)
EPOCHS = re.compile(r"(?:[\"']?num_train_epochs[\"']?\s*[:=]|num epochs\s*=)\s*([\d,.]+)", re.IGNORECASE)
# An exception by its name, out of memory, the end of a batch job, or a process that a signal ended.
BROKE_OFF = re.compile(
    r"^(?:.*\]:\s*)?((?:[a-z_]\w*\.)*(?:[A-Z]\w*(?:Error|Exception|Interrupt))\b(?::[^\r\n]*)?"
    r"|[^\r\n]*(?:out of memory|oom-kill|DUE TO TIME LIMIT|exit ?code\s*:? -?9\b|Segmentation fault)[^\r\n]*"
    r"|Killed)\s*$",
    re.MULTILINE,
)
OF_A_LAUNCHER = re.compile(r"ChildFailedError|CalledProcessError|exit ?code")
LONGEST_ENDING = 20_000
MOST_OF_AN_ERROR = 160
# Small files that trainers leave beside their logs.
SETTINGS_FILES = (
    "args.json", "training_args.json", "training_args.yaml", "train_config.yaml", "config.yaml",
    "llamaboard_config.yaml", "dpo_config.yaml",
)  # fmt: skip
MOST_CHARACTERS = 200_000


class Hints(NamedTuple):
    """Facts of a run that are no column: None or "" where the log does not say."""

    method: str = ""
    accumulation: int | None = None
    interval: int | None = None
    max_steps: int | None = None
    epochs: float | None = None
    ended: str = ""  # the error or signal that the log ends in
    pairs: bool = False  # an accuracy is named as one of pairs, and not of tokens or of classes


def hints_in(text: str) -> Hints:
    """What `text` says of the run. A method only where just one is named."""
    text = text if len(text) < 2 * MOST_CHARACTERS else text[:MOST_CHARACTERS] + text[-MOST_CHARACTERS:]
    named = {(LOSS_TYPES | PAIR_LOSSES)["".join(found).lower()] for found in METHOD.findall(text)}
    return Hints(
        named.pop() if len(named) == 1 else "",
        _whole(ACCUMULATION, text),
        _whole(INTERVAL, text),
        _whole(MAX_STEPS, text),
        _real(EPOCHS, text),
        _ending(text),
    )


def hints_beside(path: Path, own: Hints) -> Hints:
    """`own`, filled up from the configuration files in the directory of a log."""
    for name in SETTINGS_FILES:
        file = path.parent / name
        if file != path and file.is_file():
            more = hints_in(file.read_text(encoding="utf-8", errors="replace")[:MOST_CHARACTERS])
            own = Hints(
                own.method or more.method,
                own.accumulation or more.accumulation,
                own.interval or more.interval,
                own.max_steps or more.max_steps,
                own.epochs or more.epochs,
            )
    return own


def _ending(text: str) -> str:
    """The last error or signal that `text` names after its last loss, unless it names a finished training."""
    tail = text[max(text.rfind("loss"), len(text) - LONGEST_ENDING) :]
    finished = re.search(r"train_(?:samples|steps)_per_second|Training completed", text[-LONGEST_ENDING:])
    found: list[str] = [] if finished else [one.strip()[:MOST_OF_AN_ERROR] for one in BROKE_OFF.findall(tail)]
    # A launcher says last that a process failed; the process had said why.
    causes = [one for one in found if not OF_A_LAUNCHER.search(one)]
    return next((one for one in causes if "memory" in one), (causes or found or [""])[-1])


def _whole(pattern: re.Pattern[str], text: str) -> int | None:
    digits = {v.replace(",", "") for v in pattern.findall(text)}
    values = {int(v) for v in digits if len(v) <= MOST_DIGITS}
    return values.pop() or None if len(values) == 1 else None


def _real(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    try:
        return float(match.group(1).replace(",", "").rstrip(".")) or None if match else None
    except ValueError:
        return None
