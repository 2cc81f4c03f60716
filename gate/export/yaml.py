"""Settings as YAML that every loader reads alike: flat keys, JSON flow style for what is nested."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def dump(values: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """`values` as YAML, None left out, after `comments`.

    Floats always carry a dot: YAML 1.1 (PyYAML) reads 5e-05 as text.
    """
    head = [f"# {line}".rstrip() for comment in comments for line in comment.splitlines()]
    lines = [f"{key}: {_flow(value)}" for key, value in values.items() if value is not None]
    return "\n".join([*head, *lines]) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(k))}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float) and not isinstance(value, bool):
        mantissa, _, exponent = repr(value).partition("e")
        dotted = mantissa if "." in mantissa else f"{mantissa}.0"
        return f"{dotted}e{int(exponent):+03d}" if exponent else dotted
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """A double-quoted scalar; characters that YAML does not allow as they are become its own escapes."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
