"""`probe explain`: what a finding code or a term of the reports means."""

from __future__ import annotations

import textwrap
from difflib import get_close_matches
from typing import Annotated

import typer

from ..errors import ProbeError
from ..explain import Explanation, explanations
from ..glossary import TERMS, definition


def explain(
    code: Annotated[
        str | None, typer.Argument(help="A finding code (PB101), a family (PB1), or a term (margin).")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every code.")] = False,
) -> None:
    """Say what a finding means, why it matters, what to do. And where the rule comes from.

    Example: probe explain PB101
    """
    pages = explanations()
    if everything:
        print("\n\n".join(_page(page) for page in pages.values()))
        return
    if code is None:
        raise ProbeError(
            "explain needs a code, e.g. `probe explain PB101`. `probe explain --all` lists them."
        )
    if code.upper() not in pages and (family := [p for p in pages.values() if of_family(p.code, code)]):
        print("\n".join(f"{page.code}  {page.name}" for page in family))
        return
    if code.upper() in pages:
        print(_page(pages[code.upper()]))
    elif (meaning := definition(code)) is not None:
        print(f"{code}\n{textwrap.fill(meaning, 78)}")
    else:
        near = [
            *get_close_matches(code.upper(), pages, n=3, cutoff=0.5),
            *get_close_matches(code.lower(), TERMS, n=3),
        ]
        hint = f"Near: {', '.join(near)}." if near else "Try --all, or docs/glossary.md for terms."
        raise ProbeError(f"{code}: neither a finding nor a term. {hint}")


def of_family(code: str, family: str) -> bool:
    """Whether a finding's code is one of a family, as a condition of the gate names it: `PB3xx`, `PB31`."""
    prefix = family.upper().rstrip("X")
    return len(prefix) > 2 and code.startswith(prefix)


def _page(page: Explanation) -> str:
    parts = {
        "What it means": page.means,
        "Why it matters": page.why,
        "What to do": page.do,
        "Source": page.source,
    }
    body = "\n\n".join(f"{title}\n{textwrap.fill(text, 78)}" for title, text in parts.items())
    return f"{page.code} {page.name}\n{textwrap.fill(page.summary, 78)}\n\n{body}\n\nRaised by {page.where}"
