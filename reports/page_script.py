"""What the HTML report holds besides its content: the script with its hash, the explanations of its codes."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from markupsafe import Markup

from ..explain import Explanation, explanations
from ..records import Run


@cache
def script() -> Markup:
    """The one inline script: sorting and filtering, nothing that the page needs to be read."""
    return Markup(Path(__file__).with_name("report.js").read_text(encoding="utf-8"))


@cache
def script_digest() -> str:
    """The script's hash as a Content Security Policy names it, so that no other script runs."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()}"


def explained(run: Run) -> list[Explanation]:
    """The explanation of every code that the page names, in order."""
    codes = {f.code for f in run.findings} | {c.code for c in run.verdict.conditions}
    codes |= {r.code for r in run.decision.reasons} if run.decision else set()
    known = explanations() if codes else {}
    return [known[code] for code in sorted(codes) if code in known]
