"""What a probe hands back: numbers, findings, and sections for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..records import Estimate, Finding


@dataclass(frozen=True, slots=True)
class Measured:
    """The part of a `Run` that one probe contributes; `details` are sections as the renderers read them."""

    estimates: tuple[Estimate, ...] = ()
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def together(parts: Iterable[Measured]) -> Measured:
    """All parts as one, in order; sections that are lists are joined, others are taken from the last."""
    parts = list(parts)
    details: dict[str, Any] = {}
    for part in parts:
        for name, section in part.details.items():
            joined = isinstance(section, list) and name in details
            details[name] = [*details[name], *section] if joined else section
    return Measured(
        tuple(e for part in parts for e in part.estimates),
        tuple(f for part in parts for f in part.findings),
        details,
    )
