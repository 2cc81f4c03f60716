"""Rows of examples (prompts, responses, their scores) that look like a log by the names of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .names import EXAMPLES, STEP_NAMES, canonical
from .rows import as_number

# Columns that hold texts or messages wherever rows are examples to train on.
COLUMNS_OF_TEXT = frozenset((
    "prompt", "chosen", "rejected", "messages", "conversations", "conversation", "completion", "completions",
    "response", "responses", "query", "question", "answer", "instruction", "input", "output", "text",
))  # fmt: skip
PLACED = frozenset((*STEP_NAMES, *EXAMPLES, "_step", "epoch", "loss", "eval_loss", "learning_rate"))


def texts_of_examples(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of text, where most entries are examples: texts, beside nothing that places a log's entry.

    A row of a log says its step, epoch, loss or learning rate; one of a data set may have scores of its
    sides, which are named like rewards. A table of completions beside the step they are of is a log's.
    """
    found = [names for entry in entries if (names := _texts(entry))]
    return (
        list(dict.fromkeys(name for names in found for name in names))
        if 2 * len(found) > len(entries)
        else []
    )


def _texts(entry: Mapping[str, Any]) -> list[str]:
    if any(
        canonical(str(key)).name in PLACED and as_number(value) is not None for key, value in entry.items()
    ):
        return []
    return [
        key for key, value in entry.items() if str(key).strip().lower() in COLUMNS_OF_TEXT and _is_text(value)
    ]


def _is_text(value: Any) -> bool:
    if isinstance(value, list | dict):
        return bool(value) and as_number(value) is None
    return isinstance(value, str) and bool(value.strip()) and as_number(value) is None
