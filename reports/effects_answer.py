"""What the report of `probe effects` opens with: what the pairs teach, and what their sides differ in."""

from __future__ import annotations

from ..number_format import count
from ..records import Run
from .view import details

TOLD = (("taught", "the pairs teach"), ("its contrary", "they teach the contrary of"))


def taught(run: Run) -> str:
    """`the pairs teach A, B; they teach the contrary of C`; "" where no trait was measured."""
    rows = details(run, "effects")
    named = [(verb, [str(r["trait"]) for r in rows if r["verdict"] == verdict]) for verdict, verb in TOLD]
    parts = [f"{verb} {', '.join(names)}" for verb, names in named if names]
    if rows and not parts:
        parts = [f"none of {count(len(rows), 'trait')} is shown to be taught"]
    return "; ".join(parts)


def taught_sentence(run: Run) -> str:
    """The same as a sentence that says whose opinion it is."""
    told = taught(run)
    return f"{told[:1].upper()}{told[1:]}, as far as this model's own weights tell." if told else ""


def differ_sentence(run: Run) -> str:
    """What the sides differ in by rule, and what to do about it; "" where no attribute was counted."""
    if not details(run, "attributes"):
        return ""
    found = next((f for f in run.findings if f.code == "PB251"), None)
    if found is None:
        return "By fixed rules the sides are not shown to differ in anything that counts."
    told = f"{found.message[:1].upper()}{found.message[1:]}"
    return f"{told}: match the sides on what is not the purpose, or accept what is with --intended."
