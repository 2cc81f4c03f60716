"""Which field of a row holds what: `--fields` and `--sides` as the user writes them."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ProbeError

FIELDS = ("prompt", "chosen", "rejected", "id", "group")


def parse_fields(text: str | None) -> dict[str, str]:
    """`prompt=question,chosen=good` as a mapping; `id=` says that no field holds it.

    Raises `ProbeError` for an unknown or repeated name, and for a side that is mapped to nothing.
    """
    fields: dict[str, str] = {}
    for part in (text or "").split(","):
        name, separator, field = (word.strip() for word in part.partition("="))
        if not (name or separator):
            continue
        if name not in FIELDS or not separator:
            raise ProbeError(f"--fields: {part.strip()!r} is no mapping. Write {'|'.join(FIELDS)}=FIELD.")
        if name in fields:
            raise ProbeError(f'--fields: "{name}" is mapped twice. Map each name once.')
        if not field and name in ("chosen", "rejected"):
            raise ProbeError(f'--fields: "{name}" needs a field. Write {name}=FIELD.')
        fields[name] = field
    return fields


def parse_sides(text: str | None) -> tuple[str, str]:
    """`CICO,insulin` as the two names of the report: chosen first. None: `("chosen", "rejected")`.

    Raises `ProbeError` unless there are two different names.
    """
    if text is None:
        return "chosen", "rejected"
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise ProbeError(f"--sides: {text!r} does not name two sides. Write --sides CHOSEN,REJECTED.")
    return names


def field_of(name: str, fields: Mapping[str, str]) -> str:
    """The row's field for `name`: the mapped one, else the name itself; empty: none."""
    return fields.get(name, name)
