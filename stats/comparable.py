"""What two runs must share for their gaps to be compared pair by pair: the groups of the pairs."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import JsonRow


def shared_groups(pairs: Sequence[tuple[JsonRow, JsonRow]]) -> tuple[list[str | None], str]:
    """The group of each pair [pairs], by whichever of its two rows names one, and a fact, or "".

    The fact says how many pairs are in one group in the first run and in another in the second: they have
    none here, since a change of either group would count on pairs that the other run does not put there.
    """
    both = [(_group(before), _group(after)) for before, after in pairs]
    groups = [None if _contradict(*names) else names[1] or names[0] for names in both]
    if not (apart := [names for names in both if _contradict(*names)]):
        return groups, ""
    have = "pair has" if len(apart) == 1 else "pairs have"
    return (
        groups,
        f"{len(apart):,} {have} another group in each run, such as {' and '.join(map(str, apart[0]))}",
    )


def _contradict(before: str | None, after: str | None) -> bool:
    return None not in (before, after) and before != after


def _group(row: JsonRow) -> str | None:
    return str(name) if (name := row.get("group")) else None
