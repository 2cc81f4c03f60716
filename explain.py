"""What a finding code means, read from the docstring beside the check that raises it.

A check is a function whose docstring opens with its code:

    PB101 one side preferred: the base model already prefers one side.

    Means: …
    Why: …
    Do: …
    Source: …

The sources are parsed, not imported, so that explaining needs neither torch nor a model. A function that
raises several codes carries several such blocks, each opened by its code at the start of a line.

A limit is written once: a block names the constant that the check compares with, as `{TRIVIAL}` or
`{DISPLACED:.0%}`. `{Limits.patience}` is the default of a class's field, `{LIMITS.leaked}` that of an entry
of a table. Constants may be imported.
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
CONSTANT = re.compile(r"\{([A-Z]\w*(?:\.\w+)?)(?::([^{}]*))?\}")


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
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.FunctionDef) and (doc := ast.get_docstring(node)):
                where = f"{_module(path, root)}.{node.name}"
                if HEADING.search(doc):
                    yield from _blocks(_filled(doc, path, where), where)


def _filled(doc: str, path: Path, where: str) -> str:
    """`doc` with the values of the constants that it names. Raises `ValueError` for one that is not there."""

    def value(match: re.Match[str]) -> str:
        found = constant(path, match[1])
        if found is None:
            raise ValueError(f"{where}: {match[0]} is no number that this module defines or imports")
        return format(found, match[2] or "g")

    return CONSTANT.sub(value, doc)


def constant(path: Path, name: str) -> float | None:
    """The number that `name` stands for in the module at `path`; None where it is none."""
    head, _, field = name.partition(".")
    for node in _parsed(path).body:
        if isinstance(node, ast.ImportFrom) and node.level and head in {alias.name for alias in node.names}:
            source = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            return constant(source.with_suffix(".py"), name)
        if isinstance(node, ast.ClassDef) and node.name == head:
            return _assigned(path, node.body, field)
        if _target(node) == head and isinstance(table := getattr(node, "value", None), ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else None for key in table.keys]
            call = table.values[keys.index(field)] if field in keys else None
            return _number(path, call.args[1]) if isinstance(call, ast.Call) else None
    return None if field else _assigned(path, _parsed(path).body, head)


def _assigned(path: Path, body: list[ast.stmt], name: str) -> float | None:
    values = (getattr(node, "value", None) for node in body if _target(node) == name)
    return next((_number(path, value) for value in values), None)


def _target(node: ast.stmt) -> str:
    """The name that a statement assigns to, or nothing."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _number(path: Path, node: ast.expr | None) -> float | None:
    if isinstance(node, ast.Name):
        return constant(path, node.id)
    try:
        value = ast.literal_eval(node) if node else None
    except ValueError:
        return None
    return value if isinstance(value, int | float) else None


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


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
