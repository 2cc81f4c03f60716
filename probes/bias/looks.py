"""Bias on as many pairs as settle it: looks of sizes fixed beforehand, each judged at its share of alpha.

A look adds pairs in the order of `probes.order`. Its intervals and tests are those of `probe bias` at
alpha / looks, so by Bonferroni's inequality the chance that any look is wrong is at most alpha, whichever one
ends it. A file no larger than the first look is read whole and judged at alpha itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...number_format import count
from ...pairs.record import Pair
from ...records import Estimate, Finding
from ...scoring.scores import PairScore
from ...scoring.session import STABILITY_PAIRS, Session
from ..order import by_prompt
from .judge import BiasResult
from .sizes import sizes


@dataclass(frozen=True, slots=True)
class Look:
    """The scores of a look in the file's order, the pairs to try again, and the level it is judged at.

    `read`: pairs drawn so far, of which some may have no score.
    """

    scores: Sequence[PairScore]
    again: Sequence[Pair]
    alpha: float
    last: bool
    read: int


def looked(session: Session, looks: Sequence[int], alpha: float, seed: int) -> Iterator[Look]:
    """One look after the other, as long as the caller asks for more."""
    pairs = by_prompt(session.source.pairs(), seed)
    ends = sizes(len(pairs), looks)
    again = sorted(pairs[:STABILITY_PAIRS], key=lambda pair: pair.line)
    scores: list[PairScore] = []
    for k, (start, end) in enumerate(zip((0, *ends), ends, strict=False)):
        new = sorted(pairs[start:end], key=lambda pair: pair.line)
        scores = sorted([*scores, *session.scores_of(new, "scoring")], key=lambda score: score.line)
        yield Look(scores, again, alpha / len(ends), k + 1 == len(ends), end)


def look_settles(result: BiasResult, limit: float | None) -> bool:
    """Whether the whole file has a verdict, and the gap lies clear of a limit that the gate is to hold."""
    verdict = next((row.verdict for row in result.rows if row.group == "all"), "undetermined")
    gap = next((e for e in result.estimates if e.name == "gap" and e.group == "all"), None)
    return verdict not in ("undetermined", "unstable") and (limit is None or _clear(gap, limit))


def _clear(gap: Estimate | None, limit: float) -> bool:
    if gap is None or gap.low is None or gap.high is None:
        return False
    return (-limit <= gap.low and gap.high <= limit) or gap.low > limit or gap.high < -limit


def sampled(result: BiasResult, n: int, total: int, alpha: float, read: int) -> Finding | None:
    """PB608 sampled: the bias was measured on some of the pairs, drawn by prompt.

    Means: pairs were added in an order that the seed and the prompts give, until the verdict was settled or
    the last look was made. Each look is judged at its share of alpha, so that stopping early does not make
    the verdict less sure; the intervals are wider for it, and they hold for the whole file.

    Why: the sampling error of some hundred pairs is far below what any limit asks for, and a gate that reads
    all of a large file costs more than what it guards.

    Do: nothing. `--thorough` scores every pair, and groups of few pairs may need it.

    Source: Bonferroni's inequality over looks fixed beforehand; docs/statistics.md.
    """
    if read >= total:
        return None
    gap = next((e for e in result.estimates if e.name == "gap" and e.group == "all"), None)
    known = gap is not None and gap.low is not None and gap.high is not None
    width = f", gap within ± {(gap.high - gap.low) / 2:.3f} nats/token" if known else ""  # type: ignore[union-attr, operator]
    return Finding(
        "PB608",
        "info",
        f"bias was measured on {count(n, 'pair')} of {total:,}, drawn by prompt{width}, at level {alpha:g}",
        "Use --thorough to score every pair.",
        estimate=gap,
    )
