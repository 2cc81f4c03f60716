"""What a finding code means, read from the docstring beside the check that raises it.

A check is a function whose docstring opens with its code:

    PB101 one side preferred: the base model already prefers one side.

    Means: …
    Why: …
    Do: …
    Source: …

The sources are parsed, not imported, so that explaining needs neither torch nor a model. A function that
raises several codes carries several such blocks, each opened by its code at the start of a line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .files import sources

HEADING = re.compile(r"^(PB\d{3}) ([^:\n]+): (.+)$", re.MULTILINE)
FIELD = re.compile(r"^(Means|Why|Do|Source): ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One finding code's page: `means`, `why`, `do` and `source` are plain text, one paragraph each."""

    code: str
    name: str
    summary: str
    means: str
    why: str
    do: str
    source: str
    where: str  # module.function that raises it


@cache
def explanations() -> dict[str, Explanation]:
    """Every code of this version, sorted. Raises `ValueError` when two checks claim one code."""
    found: dict[str, Explanation] = {}
    for page in _pages(Path(__file__).parent):
        if page.code in found:
            raise ValueError(f"{page.code} is explained in {found[page.code].where} and {page.where}")
        found[page.code] = page
    return dict(sorted(found.items()))


def _pages(root: Path) -> Iterator[Explanation]:
    for path in sources(root):
        text = path.read_text(encoding="utf-8")
        if not HEADING.search(_dedented(text)):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (doc := ast.get_docstring(node)):
                yield from _blocks(doc, f"{_module(path, root)}.{node.name}")


def _module(path: Path, root: Path) -> str:
    return ".".join(["probe", *path.relative_to(root).with_suffix("").parts])


def _dedented(text: str) -> str:
    return re.sub(r'^[ \t]*(""")?', "", text, flags=re.MULTILINE)


def _blocks(doc: str, where: str) -> Iterator[Explanation]:
    heads = list(HEADING.finditer(doc))
    for head, following in zip(heads, [*heads[1:], None], strict=False):  # no head: one None, no block
        body = doc[head.end() : following.start() if following else None]
        code, name, summary = head.groups()
        fields = _fields(body, code, where)
        yield Explanation(
            code, name, summary, fields["means"], fields["why"], fields["do"], fields["source"], where
        )


def _fields(body: str, code: str, where: str) -> dict[str, str]:
    parts = FIELD.split(body)[1:]
    fields = {
        name.lower(): " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
    if missing := {"means", "why", "do", "source"} - set(fields):
        raise ValueError(f"{where}: {code} lacks {', '.join(sorted(missing))}")
    return fields
