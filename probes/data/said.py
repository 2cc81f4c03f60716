"""What the columns of a row say of its own sides: the better score or rank, or the name of the better one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ...pairs.ordered import NAMED, RANK_WORDS, SCORE_WORDS, WON_WORDS, name_words, score_of_other
from .row_flags import Flag, set_of

SideColumns = tuple[str, str]
OURS: SideColumns = ("chosen", "rejected")
# Of a score with one of these words less is better.
LESS_WORDS = set_of(
    "toxicity toxic harm harmful harmfulness error errors perplexity ppl loss nll risk violation violations "
    "penalty cost hallucination hallucinations unsafe unsafety wer cer"
)
LETTERS = re.compile(r"([A-F])([+-]?)")  # grades, A the best
SPELLINGS = (OURS, ("Chosen", "Rejected"), ("CHOSEN", "REJECTED"))
MARGIN_NAMES = set_of("margin score_margin score_diff reward_margin rating_diff")
TIES = set_of("tie tied equal draw")
LABEL = "label"  # often the name of something else, so that only a whole column can be understood


def said_flags(meta: Mapping[str, Any], sides: SideColumns = OURS) -> Flag:
    """The bits of `Flag` that tell what scores, ranks and labels say; `sides` are the columns of the sides.

    Columns that contradict one another (the ratings of several aspects) say nothing.
    """
    signs = set(_signs(meta, sides)) if meta else set()
    flags = Flag(0)
    if -1 in signs and 1 not in signs:
        flags |= Flag.SCORES_SWAPPED
    if signs == {0}:
        flags |= Flag.TIED
    worse = {sides[1].casefold(), *(() if sides[0].lower() in OURS else OURS[1:])}
    for name, value in meta.items():
        said = value.strip().casefold() if isinstance(value, str) and str(name).lower() in NAMED else ""
        if said in worse:
            flags |= Flag.LABEL_REJECTED if str(name).lower() == LABEL else Flag.SCORES_SWAPPED
        elif said in TIES and str(name).lower() != LABEL:
            flags |= Flag.TIED
    return flags


def _signs(meta: Mapping[str, Any], sides: SideColumns) -> Iterator[int]:
    """1 for every column by which the chosen side is the better one, −1 for the rejected one, 0 for a tie."""
    flat = dict(_leaves(meta, sides))
    for name, value in flat.items():
        other, direction = _other_score(name, sides)
        lead = _number(value) - (0.0 if other == name else _number(flat.get(other)))
        if math.isnan(lead) and other != name and direction > 0:
            lead = _grade(value) - _grade(flat.get(other))
        if other and not math.isnan(lead) and (lead or other != name):  # a margin of 0 may stand for none
            yield direction * ((lead > 0) - (lead < 0))


def _leaves(meta: Mapping[str, Any], sides: SideColumns) -> Iterator[tuple[str, Any]]:
    """Each column, and of an object its entries as `outer.inner`.

    Where the object itself is of a side, or of scores, its entries may be those of aspects: only plain names
    count.
    """
    for name, value in meta.items():
        if not isinstance(value, Mapping):
            yield str(name), value
            continue
        plain = SCORE_WORDS | RANK_WORDS | {s.lower() for s in (*sides, *OURS)}
        anything = not plain & name_words(str(name))
        for inner, leaf in value.items():
            if anything or str(inner).lower() in plain:
                yield f"{name}.{inner}", leaf


@cache
def _other_score(name: str, sides: SideColumns) -> tuple[str, int]:
    """The column of the rejected side beside that of the chosen one, and 1, or −1 where the lower is better.

    A margin has its own name; all else "".
    """
    if name.lower() in MARGIN_NAMES:
        return name, 1
    scored = bool((SCORE_WORDS | WON_WORDS) & name_words(name))
    ranked = bool(RANK_WORDS & name_words(name))
    if scored == ranked:
        return "", 0
    direction = -1 if ranked or LESS_WORDS & name_words(name) else 1
    turned = tuple(side.lower() for side in sides) == OURS[::-1]
    for pair in SPELLINGS:
        chosen, rejected = pair[::-1] if turned else pair
        if chosen in name:
            return name.replace(chosen, rejected), direction
    part = re.compile(rf"(?<![^\W_]){re.escape(sides[0])}(?![^\W_])")
    if part.search(name):
        return part.sub(lambda _: sides[1], name), direction
    return score_of_other(name, sides), direction


def _grade(value: Any) -> float:
    """A letter grade as a number, higher is better; NaN for what is none."""
    found = LETTERS.fullmatch(value.strip().upper()) if isinstance(value, str) else None
    return -ord(found[1]) + {"+": 0.3, "": 0.0, "-": -0.3}[found[2]] if found else math.nan


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
