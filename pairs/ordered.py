"""Rows of two responses and a column that says which is better, as many preference sets are published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from typing import Any, NamedTuple


def word_set(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


# Columns that say which response is better: by its number, by its name or the end of its name, by a sign.
INDEX_NAMES = ("better_response_id", "safer_response_id", "chosen_index", "chosen_id", "chosen")
NAMED = (
    "winner", "preferred", "preference", "choice", "better", "label", "orig_preference", "human_preference",
    "preferred_response", "better_response", "pairwise", "selected", "chosen",
)  # fmt: skip
SIGNED = ("overall_preference", "preference_strength")  # below 0: the first response
FIRST_IS_ONE = ("labels",)  # 1: the first response, 0: the second
ORDERING = (*INDEX_NAMES, *SIGNED, *FIRST_IS_ONE, *NAMED)
SCORE_WORDS = word_set("score scores rating ratings reward rewards grade grades")
RANK_WORDS = word_set("rank ranks ranking rankings")  # the first is the best
WON_WORDS = word_set("winner won wins votes")  # of `winner_model_a` 1 says that it won
# By what the names of two responses differ: `response_0` and `response_1`, `answer1_body`, `left_text`.
MARKS = (("0", "1"), ("1", "2"), ("a", "b"), ("A", "B"), ("left", "right"), ("first", "second"))
# With one of these words a column is about a response: who wrote it, what it is worth, where it stands.
ABOUT_RESPONSE = word_set(
    "model models generator policy id ids uuid hash sha source name author tokens quotes feedback critique "
    "rationale reasoning reason category level annotator"
)
# With one of these words a column holds a response; an `option_a` may be a choice of the question's.
RESPONSE_WORDS = word_set(
    "response responses answer answers output outputs completion completions conversation conversations conv "
    "generation generations candidate candidates reply text message messages"
)


class Twins(NamedTuple):
    """Two columns whose names differ in one mark, and the mark of each."""

    names: tuple[str, str]
    marks: tuple[str, str]


@cache
def name_words(name: str) -> frozenset[str]:
    """The words of a name, in lower case: of `score_chosen`, `ScoreChosen` and `SCORE-CHOSEN` the same."""
    return frozenset(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))


@cache
def _places(mark: str) -> re.Pattern[str]:
    """Where a mark may stand in a name: apart from other digits, or from other letters."""
    if mark.isdigit():
        return re.compile(rf"(?<!\d){mark}(?!\d)")
    before = r"(?<![A-Z])" if mark.isupper() else r"(?<![A-Za-z])"  # `responseA`
    return re.compile(rf"{before}{mark}(?![A-Za-z])|{mark}$")


@cache
def _others(name: str) -> tuple[tuple[str, tuple[str, str]], ...]:
    """The names that a second column beside this first one may have, each with the marks of both."""
    return tuple(
        (name[: at.start()] + marks[1] + name[at.end() :], marks)
        for marks in MARKS
        for at in _places(marks[0]).finditer(name)
    )


def _marked(row: Mapping[Any, Any], of: type | tuple[type, ...] = object) -> Iterator[Twins]:
    """Every two columns with values `of` a kind whose names differ in a mark, in the order of the row."""
    for name in map(str, row):
        for other, marks in _others(name):
            if other in row and isinstance(row.get(name), of) and isinstance(row[other], of):
                yield Twins((name, other), marks)


def twins(row: Mapping[Any, Any]) -> Twins | None:
    """The first two columns that hold a response each and whose names differ in their number or letter."""
    return next((t for t in _marked(row, (str, list)) if not ABOUT_RESPONSE & name_words(t.names[0])), None)


def ordering(row: Mapping[Any, Any]) -> str:
    """The column that says which of two responses is better; "" where there is none."""
    return next((name for name in ORDERING if isinstance(row.get(name), str | int | float)), "")


def score_of_other(name: str, sides: tuple[str, str]) -> str:
    """The column of the second side's score beside `name`, that of the first's; "" where it is none.

    Of `response_0` and `response_1` the scores are `score_0` and `score_1`.
    """
    marks = _marks_of(*sides)
    turned = marks or _marks_of(*sides[::-1])
    if not turned:
        return ""
    old, new = marks or turned[::-1]
    return _places(old).sub(new, name) if _places(old).search(name) else ""


def _marks_of(one: str, other: str) -> tuple[str, str] | None:
    """The marks in which two names differ, that of the first column first."""
    return next((marks for name, marks in _others(one) if name == other), None)


def ranked_list(row: Mapping[Any, Any]) -> str:
    """The column that lists responses, each with its rank; "" where there is none."""
    lists = ((str(name), value) for name, value in row.items() if isinstance(value, list) and value)
    return next((name for name, v in lists if all(isinstance(a, dict) and "rank" in a for a in v)), "")


def contradicts(row: Mapping[str, Any], sides: tuple[str, str]) -> bool:
    """Whether a column of the row says that the second of two mapped columns is better than the first.

    Only for columns named alike but for their number or letter, and values whose meaning is known.
    """
    marks = _marks_of(*sides)
    turned = marks or _marks_of(*sides[::-1])
    if not turned:
        return False
    better = _better(row, ordering(row), turned)
    return better == (marks[1] if marks else turned[0])


def _better(row: Mapping[str, Any], name: str, marks: tuple[str, str]) -> str | None:
    """The mark of the better response's name; None where the row does not say it."""
    value = row.get(name)
    if name in SIGNED and isinstance(value, int | float) and value:
        return marks[int(value > 0)]
    if name in FIRST_IS_ONE and value in (0, 1):
        return marks[int(value == 0)]
    if name in INDEX_NAMES and marks == ("0", "1") and value in (0, 1):
        return marks[int(value == 1)]
    return _said(value, marks) if name in NAMED and isinstance(value, str) else None


def _said(value: str, marks: tuple[str, str]) -> str | None:
    """The mark of the response that a text names: `A`, `model_a`, `Response 1`, `left`; not `alpha`."""
    value = value.strip()
    named = (mark for mark in marks if _names_end(mark.lower()).fullmatch(value))
    placed = (m for pair in MARKS[-2:] for m, s in zip(marks, pair, strict=True) if s == value.lower())
    return next(chain(named, placed), None)


@cache
def _names_end(end: str) -> re.Pattern[str]:
    return re.compile(rf"(.*{'[^0-9]' if end.isdigit() else '[^a-z0-9]'})?{end}", re.IGNORECASE)


def named_columns(row: Mapping[Any, Any], sides: tuple[Any, Any], prompt: str) -> tuple[str, str] | None:
    """The two columns of responses that the texts of the sides name in place of holding them, or None.

    A side may be the name of one of them, its mark (`A`), or the model that wrote it. A question that shows
    both responses is rightly answered by such names.
    """
    if any(not isinstance(side, str) or len(side) > LONGEST_NAME for side in sides):
        return None
    two = twins(row)
    if two is None or not RESPONSE_WORDS & name_words(two.names[0]):
        return None
    texts = [row[name] for name in two.names]
    if all(isinstance(text, str) and text.strip() in prompt for text in texts):
        return None
    named = [None if side in texts else _named(row, two, side) for side in sides]
    return two.names if sorted(map(str, named)) == ["0", "1"] else None


def _named(row: Mapping[Any, Any], two: Twins, side: Any) -> int | None:
    """Which of two responses a side names, 0 or 1; None for a side that names none."""
    if not isinstance(side, str):
        return None
    models = [
        (row[one], row[other])
        for (one, other), marks in _marked(row, str)
        if marks == two.marks and MODEL_WORDS & name_words(one)
    ]
    marked = tuple(_NAME.sub("", side.strip().lower()) == mark.lower() for mark in two.marks)
    for names in (two.names, *models[:1]):
        if side in names and names[0] != names[1]:
            return names.index(side)
    return marked.index(True) if any(marked) else None


LONGEST_NAME = 100  # characters of a column's or a model's name
_NAME = re.compile(r"^([a-z]{2,}[ _-]?)+")  # what may stand before a mark: `Response A`, `model_1`
MODEL_WORDS = word_set("model generator policy")


def points(row: Mapping[Any, Any]) -> bool:
    """Whether `chosen` says by a number or a mark which of two other columns is the better response."""
    two, said = twins(row), row.get("chosen")
    return two is not None and (isinstance(said, int | float) or _named(row, two, said) is not None)


# Under these names stand several responses of a row; of the others one holds the prompt at most.
_LISTS = ("completions", "responses", "answers", "outputs", "candidates", "generations", "output")
PROMPT_NAMES = (
    "prompt", "question", "instruction", "input", "system", "messages", "conversations", "query", "problem",
)  # fmt: skip  # fmt: skip


def unordered(row: Mapping[Any, Any]) -> str:
    """What a row without the named sides holds in their place, as `fact. remedy`; "" where that is unknown.

    Responses under other names, in no order or in that of a column.
    """
    needed = "where chosen and rejected are needed"
    if two := twins(row):
        return (
            f'two responses, "{two.names[0]}" and "{two.names[1]}", {_ordered_by(row, two)}, {needed}. '
            'Write the better one of each row as "chosen", the other as "rejected".'
        )
    listed = next((n for n in _LISTS if isinstance(v := row.get(n), list) and len(v) > 1), "")
    if named := ranked_list(row) or listed:
        rank = " with a rank" * bool(ranked_list(row))
        return (
            f'"{named}" lists responses{rank}, {needed}. '
            'Write the best one of each row as "chosen", another as "rejected".'
        )
    return _single(row)


def _ordered_by(row: Mapping[Any, Any], two: Twins) -> str:
    if told := ordering(row):
        return f'which "{told}" puts in order'
    for scores in _marked(row, (int, float)):
        if scores.marks == two.marks and (SCORE_WORDS | RANK_WORDS | WON_WORDS) & name_words(scores.names[0]):
            return f'which "{scores.names[0]}" and "{scores.names[1]}" put in order'
    return "and no column that is known here says which is better"


def _single(row: Mapping[Any, Any]) -> str:
    """What is told of a row that holds one response; "" where it may hold more, or none."""
    if "rejected" in row:
        return ""
    labels = [
        str(n) for n, value in row.items() if isinstance(value, bool) and WANTED_WORDS & name_words(str(n))
    ]
    texts = [str(name) for name, value in row.items() if _may_answer(str(name), value)]
    if not texts and labels:  # dialogues that end on the answer
        texts = [name for name in ("messages", "conversations") if isinstance(row.get(name), list)]
        labels = labels if texts else []
    if len(texts) != 1:
        return ""
    if len(labels) == 1:
        told = [f"completion={texts[0]}", *([f"label={labels[0]}"] if labels[0] != "label" else [])]
        return (
            f'one response, "{texts[0]}", and whether it is wanted, "{labels[0]}", where pairs are needed. '
            f"`probe unpaired FILE --fields {','.join(told)}` reads it."
        )
    return (
        f'one response, "{texts[0]}", where two are needed. '
        'Write the better response to each prompt as "chosen", another as "rejected".'
    )


def _may_answer(name: str, value: Any) -> bool:
    """Whether a column may hold a response: text, or chat messages, under a name that says nothing else."""
    if name in PROMPT_NAMES or (ABOUT_RESPONSE | ABOUT_ROW) & name_words(name):
        return False
    turns = isinstance(value, list) and all(
        isinstance(t, dict) and {"role", "from"} & t.keys() for t in value
    )
    return bool(value) and (isinstance(value, str) or turns)


WANTED_WORDS = word_set(
    "label kto safe wanted desirable thumbs liked accepted preferred correct helpful good"
)
ABOUT_ROW = word_set("version schema split lang language domain type task subset dataset date status")
