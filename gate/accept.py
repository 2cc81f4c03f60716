"""Findings that a project has decided to live with, each with its reason, until a day or up to a limit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ..errors import ProbeError
from ..records import Condition, Estimate, Finding
from .registry import Rule

FINDING_CODE = re.compile(r"PB\d{3}")
# The end at which a finding's number is the worse one belongs to the finding, not to the estimate: a trial's
# accuracy is bad when low (PB501) and when very high (PB502). Of any other code a high number is.
WORSE_LOW = frozenset((
    "PB221", "PB223", "PB240", "PB310", "PB311", "PB314", "PB315", "PB327", "PB332",
    "PB501", "PB503", "PB505", "PB510", "PB511", "PB704", "PB904",
))  # fmt: skip
WORSE_FAR = frozenset((  # on either side of no difference
    "PB101", "PB102", "PB205", "PB251", "PB313", "PB330", "PB334", "PB342",
    "PB601", "PB602", "PB607", "PB608",
))  # fmt: skip
NO_WORSE_END = frozenset(("PB103", "PB333", "PB530", "PB531", "PB901", "PB903"))


@dataclass(frozen=True, slots=True)
class Accepted:
    """One `[[tool.probe.accept]]` entry. `group` None: in every group; `until` None: for good."""

    code: str
    reason: str
    group: str | None = None
    limit: float | None = None
    until: date | None = None

    def row(self) -> dict[str, str | None]:
        """The entry as a judged run keeps it."""
        return {"code": self.code, "group": self.group, "until": str(self.until or ""), "reason": self.reason}

    def covers(self, code: str, group: str) -> bool:
        """Whether this entry speaks of that finding in that group; the limit is the judge's to test."""
        return code == self.code and self.group in (None, group)

    def lapsed(self, today: date) -> bool:
        """Whether its last day is over."""
        return self.until is not None and today > self.until


def parse(rows: Iterable[Mapping[str, Any]]) -> tuple[Accepted, ...]:
    """Entries of the config file, whose keys and types `config` has checked.

    Raises `ProbeError` for a code that is none; a code that no check raises is found as unused.
    """
    return tuple(_parse(row) for row in rows)


def _parse(row: Mapping[str, Any]) -> Accepted:
    code = str(row["code"]).upper()
    if not FINDING_CODE.fullmatch(code):
        raise ProbeError(f'accept: "{row["code"]}" is no finding code. Write one like PB202.')
    return Accepted(code, row["reason"], row.get("group"), row.get("limit"), row.get("until"))


def tolerates(entry: Accepted, finding: Finding) -> bool:
    """Whether `entry` accepts `finding`: code and group fit, and what was measured is not past the limit."""
    if not entry.covers(finding.code, finding.group):
        return False
    if entry.limit is None:
        return True
    return finding.estimate is not None and no_worse(finding.code, finding.estimate, entry.limit)


def no_worse(code: str, measured: Estimate, limit: float) -> bool:
    """Whether what was measured of a finding is at most as bad as `limit`, by the end at which its code is
    worse; nothing is of a code whose number has no worse end, or that has no value."""
    value = measured.value
    if value is None or code in NO_WORSE_END:
        return False
    if code in WORSE_FAR:
        return _distance(value, measured.units) <= _distance(limit, measured.units)
    return value >= limit if code in WORSE_LOW else value <= limit


def _distance(value: float, units: str) -> float:
    """How far from no difference: a share from one half, a ratio from one, anything else from zero."""
    if units == "share":
        return abs(value - 0.5)
    if units == "ratio":
        return abs(math.log(value)) if value > 0 else math.inf
    return abs(value)


def codes_of(
    rule: Rule, condition: Condition, findings: Sequence[Finding], active: Sequence[Accepted]
) -> tuple[tuple[str, ...], list[str]]:
    """The codes by which a condition can be accepted, and those that keep it from being so.

    A condition that findings of several codes may fail (`kin`) measures the gravest of them alone: where some
    are accepted and some are not, the rest stands.
    """
    own = (rule.code, *rule.kin) if rule.kin else ()
    kin = [f for f in findings if f.code in own and f.group == condition.group]
    left = [f.code for f in kin if not any(tolerates(entry, f) for entry in active)]
    codes = tuple(f.code for f in kin) or (condition.code, rule.code)
    return codes, left if len(left) < len(kin) else []


def lapsed(entries: Sequence[Accepted], today: date) -> list[Finding]:
    """PB701 acceptance lapsed: an accepted finding is past its last day and counts again.

    Means: An `accept` entry of the config has an `until` date that has passed, so what it covered is judged
    as if the entry were not there.
    Why: An exception that nobody looks at again hides the next, worse case of the same kind.
    Do: Correct what was found, or review it and set a new `until` with a reason that still holds.
    Source: The practice of dated suppressions in vulnerability scanners; a convention.
    """
    return [
        Finding(
            "PB701",
            "warning",
            f"the acceptance of {entry.code} ended on {entry.until}: {entry.reason}",
            "Correct what was found, or set a new `until` with a reason that still holds.",
            group=entry.group or "all",
        )
        for entry in entries
        if entry.lapsed(today)
    ]


def unused(
    entries: Sequence[Accepted], used: Iterable[Accepted], found: Sequence[Finding | Condition] = ()
) -> list[Finding]:
    """PB702 acceptance unused: an accepted finding matches nothing that was found, or only what is past its
    limit.

    Means: An `accept` entry of the config covers no finding and no failing condition of this run, or none
    that its limit lets through.
    Why: It is a mistyped code or group, or the problem is gone and the entry would hide its return. An entry
    with a limit accepts what was measured up to it: nothing worse, and nothing that has no number.
    Do: Correct the code, the group or the limit, or remove the entry.
    Source: The practice of linters that report unused suppressions; a convention.
    """
    kept = set(used)
    return [_unused(entry, found) for entry in entries if entry not in kept]


def _unused(entry: Accepted, found: Sequence[Finding | Condition]) -> Finding:
    where = f" in {entry.group}" if entry.group else ""
    text = f"{entry.code} is accepted{where} but was not found"
    remedy = "Correct the entry's code or group, or remove it."
    open_ = [f for f in found if entry.covers(f.code, f.group) and getattr(f, "result", "") != "pass"]
    if entry.limit is not None and open_:
        numbered = any(_number(f) is not None for f in open_)
        why = "was found past that" if numbered else "was found without a number to hold against that"
        text = f"{entry.code} is accepted{where} up to {entry.limit:g} and {why}: it counts in full"
        remedy = (
            "Correct what was found, raise the entry's limit, or leave that out to accept it whatever it is."
        )
    return Finding("PB702", "warning", text, remedy, group=entry.group or "all")


def _number(found: Finding | Condition) -> float | None:
    measured = found.estimate if isinstance(found, Finding) else found.measured
    return measured.value if measured and found.code not in NO_WORSE_END else None
