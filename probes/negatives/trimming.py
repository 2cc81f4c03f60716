"""`--export-trimmed`: the pair file without the pairs at the end of a named score, and a log of which."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ...files import atomic
from ...pairs.formats import rows_of

# What may be trimmed by, and which end goes. The literature disagrees on margins: `gap` loses both ends.
TRIMS = {
    "gap": "both ends of gap (mean log-prob of chosen less rejected, nats/token)",
    "surface": "the pairs that the text gives away most (log-odds)",
    "signal": "the pairs that a linear probe is surest of (log-odds)",
    "ches": "the pairs highest in length-normalised CHES",
    "suspect": "the pairs whose label is more likely wrong than not",
    "difficulty": "the pairs with the largest loss after a short trial on others",
}


def lines_to_drop(scores: Mapping[int, float], by: str, share: float) -> dict[int, float]:
    """Lines at the end (for `gap`: at both ends) of a score by line, with their scores, most extreme first.

    `share` of the pairs goes from each end, rounded up. Raises `ProbeError` for an unknown score, a share
    that would leave nothing, or a score that was not measured.
    """
    ends = check_trim(by, share)
    if not scores:
        raise ProbeError(f"--trim-by {by}: not measured in this run. Switch its probe on.")
    order = sorted(scores, key=lambda line: -scores[line])
    count = min(math.ceil(share * len(order)), (len(order) - 1) // ends)
    taken = [*order[:count], *(order[len(order) - count :][::-1] if ends == 2 else [])]
    return {line: scores[line] for line in taken}


def check_trim(by: str, share: float) -> int:
    """From how many ends a score is trimmed. Raises `ProbeError` for an unknown one, and for a share that
    would leave nothing: ask before anything is measured."""
    if by not in TRIMS:
        raise ProbeError(f"--trim-by {by}: unknown. Use {', '.join(TRIMS)}.")
    ends = 2 if by == "gap" else 1
    if not 0 < ends * share < 1:
        raise ProbeError(f"--trim {share:g}: leaves no pairs, or drops none. Give a share such as 0.05.")
    return ends


def export_trimmed(source: Path, target: Path, dropped: Mapping[int, float], by: str) -> Path:
    """Write the rows of `source` whose line is not dropped to `target`; returns the log of the others.

    The log `TARGET.dropped.jsonl` has a row per dropped line: line, name and value of the score, the row.
    Raises `ProbeError` when `target` is the source itself.
    """
    log = target.with_name(f"{target.name}.dropped.jsonl")
    if source.exists() and any(path.exists() and path.samefile(source) for path in (target, log)):
        raise ProbeError(f"--export-trimmed {target}: is the file itself. Give another name.")
    with atomic(target) as kept, atomic(log) as out:
        for line, row in rows_of(source):
            if line in dropped:
                out.write(_json({"line": line, "trimmed_by": by, by: dropped[line], "row": row}))
            elif isinstance(row, Mapping):
                kept.write(_json(row))
    return log


def trimmed_line(dropped: Sequence[int], n: int, by: str, target: Path, log: Path) -> str:
    """What was trimmed, in one line for stderr."""
    if not dropped:
        return f"Wrote {target}: all {n:,} pairs; none was dropped (looked for: {TRIMS[by]})"
    return f"Wrote {target}: {n - len(dropped):,} of {n:,} pairs; dropped {TRIMS[by]} ({log})"


def _json(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
