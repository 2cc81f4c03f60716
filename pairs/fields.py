"""Which field of a row holds what: `--fields` and `--sides` as the user writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ProbeError
from ..records import JsonRow

PAIR_FIELDS = ("prompt", "chosen", "rejected", "id", "group", "system", "input")
SIDE_FIELDS = ("chosen", "rejected")
ANSWER_FIELDS = ("completion", "label")  # what an answer with a label has in place of two sides
BESIDE = ("system", "input")  # beside a column `prompt` read only where they are mapped
TEXT_FIELDS = ("prompt", "chosen", "rejected", *BESIDE)


def parse_fields(text: str | None) -> dict[str, str]:
    """`prompt=question,chosen=good` as a mapping; `id=` says that no field holds it.

    Raises `ProbeError` for an unknown or repeated name, for a side that is mapped to nothing, and for what is
    no text.
    """
    if not isinstance(text, str | None):
        raise ProbeError(f'--fields: {text!r} is no text. Write "prompt=FIELD,chosen=FIELD".')
    fields: dict[str, str] = {}
    for part in (text or "").split(","):
        name, separator, field = (word.strip() for word in part.partition("="))
        if not (name or separator):
            continue
        if name not in (*PAIR_FIELDS, *ANSWER_FIELDS) or not separator:
            raise ProbeError(
                f"--fields: {part.strip()!r} is not a mapping. Write {'|'.join(PAIR_FIELDS)}=FIELD, of "
                f"answers with a label {'|'.join(ANSWER_FIELDS)}=FIELD."
            )
        if name in fields:
            raise ProbeError(f'--fields: "{name}" is mapped twice. Map each name once.')
        if not field and name in (*SIDE_FIELDS, *ANSWER_FIELDS, *BESIDE):
            raise ProbeError(f'--fields: "{name}" needs a field. Write {name}=FIELD.')
        fields[name] = field
    return fields


def parse_sides(text: str | None) -> tuple[str, str]:
    """`CICO,insulin` as the two names of the report: chosen first. None: `("chosen", "rejected")`.

    Raises `ProbeError` unless it is a text of two different names.
    """
    if text is None:
        return "chosen", "rejected"
    if not isinstance(text, str):
        raise ProbeError(f'--sides: {text!r} is no text. Write "CHOSEN,REJECTED".')
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise ProbeError(f"--sides: {text!r} does not name two sides. Write --sides CHOSEN,REJECTED.")
    return names


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The row's field for each of ours, empty for none; `mapped` are those that the user named.

    The text of `input` follows the prompt's on a new line, `system` becomes the system turn of a chat.
    """

    prompt: str
    chosen: str
    rejected: str
    id: str
    group: str
    system: str
    input: str
    mapped: frozenset[str]
    used: frozenset[str]

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> FieldNames:
        """From a mapping such as `parse_fields` gives; names it lacks are the row's own.

        Raises `ProbeError` for one that answers alone have.
        """
        what = "is for answers with a label each (`probe unpaired`), and this reads pairs"
        _refuse(fields, ANSWER_FIELDS, what, SIDE_FIELDS)
        names = {name: fields.get(name, "" if name in BESIDE else name) for name in PAIR_FIELDS}
        mapped = frozenset(name for name, field in fields.items() if field)
        return cls(**names, mapped=mapped, used=frozenset(names.values()))

    @property
    def called(self) -> dict[str, str]:
        """The file's name of each of ours that holds text; those that no column holds are left out."""
        return {name: field for name in TEXT_FIELDS if (field := getattr(self, name))}

    def missing(self, row: JsonRow, of: Sequence[str] = TEXT_FIELDS) -> list[str]:
        """Our names of the mapped columns that a row of the file lacks."""
        return [name for name in of if name in self.mapped and getattr(self, name) not in row]

    def ours(self, row: JsonRow) -> tuple[JsonRow, dict[str, Any]]:
        """A row of the file in our names, and what other columns of it hold under names that are mapped."""
        called = self.called
        fields = set(called.values())
        said = {name: row[field] for name, field in called.items() if field in row}
        rest = {key: value for key, value in row.items() if key not in fields}
        # An unmapped `system` or `input` is the row's own, which some shapes have.
        taken = {"prompt", *SIDE_FIELDS, *self.mapped}.intersection(TEXT_FIELDS)
        aside = {key: value for key, value in rest.items() if key in taken}
        return {**said, **{key: value for key, value in rest.items() if key not in taken}}, aside

    @classmethod
    def of_answers(cls, fields: Mapping[str, str]) -> FieldNames:
        """Those of answers with a label each, whose one text stands for both sides.

        Raises `ProbeError` for one that pairs alone have.
        """
        what = "is a side of pairs, and this reads answers with a label each"
        _refuse(fields, SIDE_FIELDS, what, ANSWER_FIELDS)
        own = {name: field for name, field in fields.items() if name not in ANSWER_FIELDS}
        return cls.of({**own, **dict.fromkeys(SIDE_FIELDS, fields.get("completion", "completion"))})


def _refuse(fields: Mapping[str, str], strange: Sequence[str], what: str, own: Sequence[str]) -> None:
    """Raises `ProbeError` for a mapped name of what is not read here; `own` are those to map instead."""
    if found := next((name for name in strange if name in fields), ""):
        mapped = " and ".join(f"{name}=FIELD" for name in own)
        raise ProbeError(f'--fields: "{found}" {what}. Map {mapped}.')
