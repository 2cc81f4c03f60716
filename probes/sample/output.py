"""What `probe sample` writes: the pairs, each with where its rejected side came from, and the counts."""

from __future__ import annotations

import os
import statistics
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import CannotMeasure, ProbeError
from ...pairs.prompts import in_form_of, plain_text
from ...pairs.record import Pair
from ...records import Measured
from ...runs import save_rows
from ...stats.scripts import length_in_words
from .select import SampledResponse, Selection


def rows_of_pair(
    pair: Pair, found: Sequence[SampledResponse] | None, head: Mapping[str, Any], taken: Container[str] = ()
) -> Iterable[dict[str, Any]]:
    """The rows of one pair: as it was where it was not asked for (None), else one a picked candidate.

    Several have ids of their own, none of those `taken` in the file.
    """
    named = {
        "id": pair.id,
        **({"group": pair.group} if pair.group else {}),
        "prompt": plain_text(pair.prompt),
    }
    ours = {*named, "group", "chosen", "rejected"}  # columns of these names may stand beside mapped ones
    beside = {key: value for key, value in pair.meta.items() if key not in ours}
    meta = {key: value for key, value in beside.items() if key != "sampled"}
    if found is None:
        yield {**named, "chosen": plain_text(pair.chosen), "rejected": plain_text(pair.rejected), **beside}
        return
    shared = {k: head[k] for k in ("model", "weights_sha256", "adapter_sha256", "template", "top_p", "probe")}
    for k, c in enumerate(found):
        source = {**shared, "temperature": c.temperature, "draw": c.draw, "seed": c.seed, "cut": c.cut}
        yield {
            **named, "id": pair.id if len(found) == 1 else _free(f"{pair.id}.{k + 1}", taken),
            "chosen": plain_text(pair.chosen), "rejected": in_form_of(pair.chosen, c.text), **meta,
            "sampled": source,
        }  # fmt: skip


def _free(name: str, taken: Container[str]) -> str:
    """The name, made longer until it is not taken."""
    while name in taken:
        name = f"{name}.sampled"
    return name


def write_new(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Write the pairs where nothing is; two writers cannot both succeed.

    A file of these very pairs is what a killed run left, and stays. Raises `ProbeError` for another one.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        save_rows(rows, partial)
        _put_new(partial, target)
    except FileExistsError as error:
        if target.is_file() and target.read_bytes() == partial.read_bytes():
            return
        raise ProbeError(
            f"{target}: exists, and holds other pairs than these. Choose another name with --to."
        ) from error
    except OSError as error:
        raise CannotMeasure(f"{target}: {error.strerror}. Choose another place with --to.") from error
    finally:
        partial.unlink(missing_ok=True)


def _put_new(partial: Path, target: Path) -> None:
    """Give a file its name where nothing has it. Raises `FileExistsError`, and `OSError` on a full disk."""
    try:
        os.link(partial, target)  # unlike a rename, it never replaces
    except FileExistsError:
        raise
    except OSError:  # exFAT and some network places have no links: the name is taken first, and then filled
        target.open("x").close()
        partial.replace(target)


def outcome_counts(
    candidates: Sequence[SampledResponse],
    kept: Selection,
    picks: Mapping[int, Sequence[SampledResponse]],
    asked: int,
) -> list[dict[str, Any]]:
    """How many candidates were drawn, dropped by reason, kept, and made pairs: rows of `details["data"]`.

    `asked`: the prompts; those that leave no room for an answer have no candidate.
    """
    total = len(candidates)
    words = [length_in_words(c.text) for c in candidates]
    counted = {"candidates": total, **{f"dropped: {why}": n for why, n in kept.dropped.most_common()}}
    counted["kept"] = sum(map(len, kept.by_line.values()))
    counted["sampled pairs written"] = sum(map(len, picks.values()))
    rows = [{"check": name, "count": n, "share": n / total if total else None} for name, n in counted.items()]
    if without := asked - len({c.line for c in candidates}):
        rows.append({"check": "prompts without room for an answer", "count": without, "share": None})
    return [*rows, {"check": "words a candidate, median", "count": int(statistics.median(words or [0]))}]


def ladder_rows(measured: Measured, when: str) -> list[dict[str, Any]]:
    """Rows of the report's ladder, each marked before or after."""
    rows = measured.details.get("ladder", [])
    return [{**row, "feature": f"{row['feature']}, {when}" if when else row["feature"]} for row in rows]
