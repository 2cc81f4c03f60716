"""What the report of `probe effects` opens with: what the pairs teach, and what their sides differ in."""

from __future__ import annotations

from ..number_format import count
from ..records import Run
from .sentences import as_sentences
from .view import details

TOLD = (("taught", "teach"), ("its contrary", "teach the contrary of"))


def taught(run: Run) -> str:
    """`the pairs teach A, B, and teach the contrary of C`; "" where no trait was measured."""
    rows = details(run, "effects")
    named = [(verb, [str(r["trait"]) for r in rows if r["verdict"] == verdict]) for verdict, verb in TOLD]
    parts = [f"{verb} {', '.join(names)}" for verb, names in named if names]
    if parts:
        return f"the pairs {', and '.join(parts)}"
    return f"none of {count(len(rows), 'trait')} is shown to be taught" if rows else ""


def taught_sentence(run: Run) -> str:
    """The same as a sentence that says what was asked."""
    told = taught(run)
    return f"By this model's own log-probs {told}." if told else ""


def differ_sentence(run: Run) -> str:
    """What the sides differ in by rule, and what to do about it; "" where no attribute was counted."""
    if not details(run, "attributes"):
        return ""
    found = next((f for f in run.findings if f.code == "PB251"), None)
    if found is None:
        return "No attribute that is counted by rule is shown to differ between the sides."
    return as_sentences((found.message, found.remedy))
