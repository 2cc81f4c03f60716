"""Rows of two responses and a column that says which is better, as many preference sets are published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Columns that say which response is better: by its number, by its name or the end of its name, by a sign.
INDEX_NAMES = ("better_response_id", "safer_response_id", "chosen_index", "chosen_id")
NAMED = ("winner", "preferred", "preference", "choice", "better", "label")
SIGNED = ("overall_preference",)  # below 0: the first response
FIRST_IS_ONE = ("labels",)  # 1: the first response, 0: the second
ORDERING = (*INDEX_NAMES, *SIGNED, *FIRST_IS_ONE, *NAMED)
ENDS = (("0", "1"), ("1", "2"), ("a", "b"), ("A", "B"))


def twins(row: Mapping[Any, Any]) -> tuple[str, str] | None:
    """The first two columns that hold a response each and whose names differ in their number or letter."""
    for name in map(str, row):
        for first, second in ENDS:
            other = name[:-1] + second
            if name.endswith(first) and all(isinstance(row.get(n), str | list) for n in (name, other)):
                return name, other
    return None


def ordering(row: Mapping[Any, Any]) -> str:
    """The column that says which of two responses is better; "" where there is none."""
    return next((name for name in ORDERING if isinstance(row.get(name), str | int | float)), "")


def ranked_list(row: Mapping[Any, Any]) -> str:
    """The column that lists responses, each with its rank; "" where there is none."""
    lists = ((str(name), value) for name, value in row.items() if isinstance(value, list) and value)
    return next((name for name, v in lists if all(isinstance(a, dict) and "rank" in a for a in v)), "")


def contradicts(row: Mapping[str, Any], sides: tuple[str, str]) -> bool:
    """Whether a column of the row says that the second of two mapped columns is better than the first.

    Only for columns named alike but for their number or letter, and values whose meaning is known.
    """
    ends = (sides[0][-1:], sides[1][-1:])
    if sides[0][:-1] != sides[1][:-1] or not (ends in ENDS or ends[::-1] in ENDS):
        return False
    better = _better(row, ordering(row), sorted(ends))
    return better == ends[1]


def _better(row: Mapping[str, Any], name: str, ends: list[str]) -> str | None:
    """The end of the better response's name; None where the row does not say it."""
    value = row.get(name)
    if name in SIGNED and isinstance(value, int | float) and value:
        return ends[int(value > 0)]
    if name in FIRST_IS_ONE and value in (0, 1):
        return ends[int(value == 0)]
    if name in INDEX_NAMES and ends == ["0", "1"] and value in (0, 1):
        return ends[int(value == 1)]
    said = value.strip() if name in NAMED and isinstance(value, str) else ""
    return next((end for end in ends if _NAMES_END[end.lower()].fullmatch(said)), None)


# `A`, `model_a`, `Response 1`, `response1`; not `alpha`.
_NAMES_END = {
    end: re.compile(rf"(.*{'[^0-9]' if end.isdigit() else '[^a-z0-9]'})?{end}", re.IGNORECASE)
    for end in ("0", "1", "2", "a", "b")
}


# Under these names stand several responses of a row; of the others one holds the prompt at most.
_LISTS = ("completions", "responses", "answers", "outputs", "candidates", "generations")
PROMPT_NAMES = ("prompt", "question", "instruction", "input", "system", "messages", "conversations", "query")


def unordered(row: Mapping[Any, Any]) -> str:
    """What a row without the named sides holds in their place, as `fact. remedy`; "" where that is unknown.

    Responses under other names, in no order or in that of a column.
    """
    needed = "where chosen and rejected are needed"
    if two := twins(row):
        by = (
            f'which "{told}" puts in order' if (told := ordering(row)) else "of which none is named as better"
        )
        return (
            f'two responses, "{two[0]}" and "{two[1]}", {by}, {needed}. '
            'Write the better one of each row as "chosen", the other as "rejected".'
        )
    listed = next((n for n in _LISTS if isinstance(v := row.get(n), list) and len(v) > 1), "")
    if named := ranked_list(row) or listed:
        rank = " with a rank" * bool(ranked_list(row))
        return (
            f'"{named}" lists responses{rank}, {needed}. '
            'Write the best one of each row as "chosen", another as "rejected".'
        )
    texts = [n for n, value in row.items() if isinstance(value, str | list) and n not in PROMPT_NAMES]
    if len(texts) == 1 and "rejected" not in row:
        return (
            f'one response, "{texts[0]}", where two are needed. '
            'Write the better response to each prompt as "chosen", another as "rejected".'
        )
    return ""
