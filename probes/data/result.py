"""What a check of the file gives back, and how counted checks make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...pairs.read import BadLine
from ...records import Estimate, Finding, Severity
from ...stats.statistics import share
from .columns import Columns
from .limits import DATA_LIMITS, DataLimits
from .near import Matches
from .row_flags import Flag
from .tokens import TokenColumns
from .words import UInts, combined


@dataclass(frozen=True, slots=True)
class Data:
    """All that the checks look at: the file's columns, and what further passes over it found."""

    columns: Columns
    groups: Sequence[str]  # names of `columns.groups`
    grouped: bool  # whether the file names groups itself
    categories: Mapping[str, Mapping[str, int]]
    bad: Sequence[BadLine] = ()
    near: Matches = field(default_factory=Matches)
    leaked: npt.NDArray[np.bool_] | None = None  # [n] the same prompt (or pair) stands in the other file
    near_leaked: Matches | None = None
    tokens: TokenColumns | None = None
    against: str = ""
    unread: Sequence[str] = ()  # columns that look like a prompt and are not read

    @property
    def n(self) -> int:
        """Pairs that could be read."""
        return int(self.columns.lines.size)

    @property
    def prompts(self) -> UInts:
        """A label per pair: equal for equal prompts, without one for the same two texts; shape [n]."""
        own = combined(*np.sort(self.columns.keys[:, 1:], axis=1).T)
        return np.where(self.columns.has(Flag.NO_PROMPT), own, self.columns.keys[:, 0])


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's outcome: a row of the table, the numbers behind it, and a finding beyond its limit."""

    check: str
    count: int | None
    limit: float
    estimates: tuple[Estimate, ...] = ()
    finding: Finding | None = None

    @property
    def measured(self) -> tuple[Estimate, ...]:
        """The estimates that the row does not already hold."""
        return self.estimates[self.count is not None :]

    def row(self) -> dict[str, Any]:
        """The check as a row of `details.data`."""
        first = self.estimates[0] if self.estimates else None
        bounds = {"share": first.value, "low": first.low, "high": first.high} if first else {}
        return {
            "check": self.check.replace("_", " "),
            "code": DATA_LIMITS[self.check].code,
            "count": self.count,
            "share": None,
            "low": None,
            "high": None,
            "limit": self.limit,
            "asked": DATA_LIMITS[self.check].asked(self.limit),
            **bounds,
        }


def counted_check(
    check: str,
    hits: npt.NDArray[np.bool_],
    lines: npt.NDArray[np.int64],
    limits: DataLimits,
    *,
    severity: Severity,
    what: str,
    remedy: str,
) -> CheckResult:
    """A check that counts rows: a finding when their share in the file exceeds the limit.

    The count is exact for this file; the interval says what it tells about the source of the pairs.
    """
    k, n = int(hits.sum()), int(hits.size)
    estimate = share(k, n, name=check)
    finding = None
    if k > limits[check] * n:
        verb = f"{k:,} of {n:,} pairs {what}"
        finding = Finding(
            DATA_LIMITS[check].code,
            severity,
            verb,
            remedy,
            lines=tuple(lines[hits].tolist()),
            estimate=estimate,
        )
    return CheckResult(check, k, limits[check], (estimate,), finding)
