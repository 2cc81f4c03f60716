"""What two runs must share for their gaps to be compared pair by pair: how they measured, and the groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..records import JsonRow, Run

CUT_BY_LENGTH = frozenset(("truncated_chosen", "truncated_rejected", "prompt_fills", "nothing_left"))


def measured_by(run: Run) -> dict[str, Any]:
    """How a run measured: template, the length limit that held (None: none), hash of the tokenizer."""
    model, scores = (run.inputs.get(name) or {} for name in ("model", "scores"))
    return {
        "template": model.get("template") or run.config.get("template"),
        "max_length": scores.get("max_length") or run.config.get("max_length"),
        "tokenizer_sha256": model.get("tokenizer_sha256"),
    }


def unlike(then: Run, now: Run) -> dict[str, str]:
    """A sentence by name for each difference in how two runs measured that forbids comparing their gaps.

    A length limit is one where it cut something; a tokenizer where both runs tell theirs.
    """
    first, second = measured_by(then), measured_by(now)
    found = {}
    for name, key in (("template", "template"), ("max-length", "max_length")):
        if first[key] != second[key] and (key == "template" or _may_be_cut(then) or _may_be_cut(now)):
            found[name] = f"the {name} was {first[key]}, is {second[key]}"
    words = [one["tokenizer_sha256"] for one in (first, second)]
    if None not in words and words[0] != words[1]:
        found["tokenizer"] = "the tokenizers differ, so that nats/token are not the same unit"
    return found


def _may_be_cut(run: Run) -> bool:
    """Whether the length limit took something, which a run without a record of its flags does not tell."""
    flags = (run.inputs.get("scores") or {}).get("flags")
    return flags is None or any(row.get("flag") in CUT_BY_LENGTH and row.get("count") for row in flags)


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
