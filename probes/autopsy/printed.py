"""Dictionaries that a trainer prints, wherever they stand: over several lines, between progress bars."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any

from ...records import JsonRow
from .lines import BAR
from .names import MEASUREMENT_NAME, STEP_NAMES, canonical

FLAT = re.compile(r"\{[^{}]{3,20000}\}")
# Values as libraries print them: np.float64(0.69), tensor(0.69, device='cuda:0').
WRAPPED = re.compile(r"(?:\b[\w.]+\.)?\b(?:float\d+|tensor|array|int\d+)\(\s*([-+\w.]+)\s*(?:,[^()]*)?\)")
BARE = re.compile(
    r"(?<![\w'\"])([-+]?(?:nan(?:\(\w*\))?|inf|NaN|Infinity|\d\.#(?:INF|IND|[QS]NAN)\d*))(?![\w'\"])"
)
LIKE_AN_ENTRY = re.compile(r"""\{\s*['"](?:eval_)?(?:loss|rewards?/\w+|grad_norm)['"]\s*:""")
PAIR = re.compile(r"""['"]([\w/ ().-]+)['"]\s*:\s*['"]?([-+\w.%/]+)['"]?""")


def of_dictionaries(text: str, name: str = "") -> list[JsonRow]:
    """Every flat dictionary in `text`. Where none has a step, that of the progress bar before it is taken."""
    if "{" not in text:
        return []
    found = [(match, entry) for match in FLAT.finditer(text) if (entry := _entry(match.group()))]
    if not any(canonical(str(k)).name in STEP_NAMES for _, entry in found for k in entry):
        found = _with_bars(text, found)
    return [entry for _, entry in found]


def _entry(body: str) -> dict[str, Any] | None:
    # A line that a terminal broke, in a number or a name, goes on at the start of the next.
    bodies = dict.fromkeys((body, re.sub(r"[\r\n]", "", body)))
    readers = (json_document, literal, _pairs)
    value = next((v for text in bodies for read in readers if isinstance(v := read(text), dict) and v), None)
    if value is None:
        return None
    if not any(isinstance(k, str) for k in value):
        return None
    told = any(MEASUREMENT_NAME.search(canonical(str(k)).name) or "runtime" in str(k) for k in value)
    return value if told else None


def unread_dictionaries(text: str, found: int) -> int:
    """How many dictionaries that seem to hold a metric `of_dictionaries` left out, among the `found` ones."""
    starts = [m.start() for m in LIKE_AN_ENTRY.finditer(text)]
    if len(starts) <= found:
        return 0
    read = {m.start() for m in FLAT.finditer(text) if _entry(m.group())}
    # Where an excerpt ends, its last entry may be cut.
    return sum(at not in read for at in starts if at < max(read, default=0))


def _pairs(body: str) -> dict[str, Any]:
    """The pairs of a dictionary that is no literal, where it holds nothing but names and numbers."""
    left = re.sub(r"[\s{},]", "", PAIR.sub("", body))
    return {} if left else dict(PAIR.findall(body))


def json_document(body: str) -> Any:
    """A JSON document, or None."""
    if body[:1] not in ("{", "["):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def literal(body: str) -> Any:
    """A value as Python prints it, or None. `nan` and `inf` are names there, so they are quoted first."""
    quoted = BARE.sub(r"'\1'", WRAPPED.sub(r"\1", body))
    try:
        return ast.literal_eval(quoted)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


BracedText = tuple[re.Match[str], dict[str, Any]]


def _with_bars(text: str, found: list[BracedText]) -> list[BracedText]:
    """Entries with the count of the training bar, which is the one that most training entries follow."""
    bars = [(m.start(), int(m.group(1)), int(m.group(2))) for m in BAR.finditer(text)]
    if not bars or not found:
        return found
    before: list[list[tuple[int, int]]] = []
    seen: dict[int, tuple[int, int]] = {}
    at = 0
    last: list[tuple[int, int] | None] = []
    for match, _ in found:
        while at < len(bars) and bars[at][0] < match.start():
            seen[bars[at][2]] = (bars[at][1], bars[at][2])
            at += 1
        before.append(list(seen.values()))
        last.append((bars[at - 1][1], bars[at - 1][2]) if at else None)
    if last and last[0] is None:
        return _with_later_bars(found, bars)
    totals = Counter(bar[1] for bar, (_, e) in zip(last, found, strict=True) if bar and _trains(e))
    total = totals.most_common(1)[0][0] if totals else None
    return [
        (match, _placed(entry, next((n for n, t in counts if t == total), None), total))
        for (match, entry), counts in zip(found, before, strict=True)
    ]


def _with_later_bars(found: list[BracedText], bars: list[tuple[int, int, int]]) -> list[BracedText]:
    """Entries whose bar is drawn after them: each with the first one before the next entry."""
    ends = [match.start() for match, _ in found[1:]] + [bars[-1][0] + 1]
    placed: list[BracedText] = []
    for (match, entry), end in zip(found, ends, strict=True):
        own = next(((n, total) for at, n, total in bars if match.end() <= at < end), None)
        placed.append((match, _placed(entry, *own) if own else entry))
    steps = [entry.get("step", -1) for _, entry in placed if _trains(entry)]
    rising = -1 not in steps and all(a < b for a, b in pairwise(steps))
    return placed if rising else found


def _trains(entry: JsonRow) -> bool:
    return any(canonical(str(k)).name == "loss" for k in entry) and "train_runtime" not in entry


def _placed(entry: dict[str, Any], step: int | None, total: int | None) -> dict[str, Any]:
    return entry if step is None else {**entry, "step": step, "max_steps": total}
