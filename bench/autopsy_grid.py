"""Every planted failure in every form a log is kept in: what `probe autopsy` makes of it.

    python bench/autopsy_grid.py [--seeds 3] [--first-seed 2000]

Prints how often main label and tag are true, by failure and by form, a confusion table, and every cell that
is wrong. A form that does not keep the columns which show a failure is asked only what the rest can show.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from autopsy_failures import FAILURES, Failure, runs
from autopsy_forms import FORMS, STEPS, Form

from probe.errors import ProbeError
from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.read import read_log

LABELS = ("numerics", "diverged", "stuck", "overfit", "saturated", "displaced", "healthy", "unread")


class Cell(NamedTuple):
    """One failure in one form: what is true, what was found, and what is wrong with that ("" if nothing)."""

    failure: str
    form: str
    mains: frozenset[str]
    found: str
    wrong: str


def cells(seed: int, directory: Path, forms: Sequence[Form] = FORMS) -> Iterator[Cell]:
    """The cells of the grid that can be asked anything."""
    with np.errstate(invalid="ignore"):  # NaN is planted
        made = list(runs(seed))
    for failure, entries in made:
        for form in forms:
            cell = _cell(failure, form, entries, directory)
            if cell:
                yield cell


def _cell(failure: Failure, form: Form, entries: list[dict[str, Any]], directory: Path) -> Cell | None:
    columns = {k for e in entries for k in e}
    kept = {k for k in columns if k in STEPS or form.keeps(k)}
    if form.name == "model card" or (form.name == "notebook, table" and "eval_loss" in columns):
        if "eval_loss" not in columns:
            return None
        kept &= {"loss", *STEPS, *(k for k in columns if k.startswith("eval_"))}
    whole = failure.needs <= kept
    mains = failure.mains if whole else failure.otherwise
    if not mains or not kept & {"loss", "eval_loss"}:
        return None
    path = directory / form.file
    path.write_bytes(form.write(entries).encode(form.encoding))
    found, tags, told = _found(path)
    return Cell(failure.name, form.name, mains, found, _wrong(failure, whole, mains, found, tags, told))


def _found(path: Path) -> tuple[str, set[str], str]:
    try:
        found = diagnose(read_log(path))
    except ProbeError as error:
        return "unread", set(), str(error)
    told = diagnosis_json(found)
    return found.main, set(told["tags"]), f"{told['evidence']} {told['next']}"


def _wrong(
    failure: Failure, whole: bool, mains: frozenset[str], found: str, tags: set[str], told: str
) -> str:
    if found not in mains:
        return f"found {found} {sorted(tags)}: {told}"
    if whole and failure.tag and failure.tag not in tags:
        return f"tag {failure.tag} not among {sorted(tags)}"
    return f"not told: {failure.words}" if whole and failure.words not in told else ""


def table(cells: Sequence[Cell]) -> str:
    """The confusion table in Markdown: rows are the failures, columns what was found."""
    counts = Counter((cell.failure, cell.found) for cell in cells)
    right = Counter(cell.failure for cell in cells if not cell.wrong)
    asked = Counter(cell.failure for cell in cells)
    lines = [f"| planted \\ found | {' | '.join(LABELS)} | right |", f"|---|{'--:|' * (len(LABELS) + 1)}"]
    for name in (failure.name for failure in FAILURES):
        shown = " | ".join(str(counts[name, label] or "") for label in LABELS)
        lines.append(f"| {name} | {shown} | {right[name]} of {asked[name]} |")
    return "\n".join(lines)


def by_form(cells: Sequence[Cell]) -> str:
    """A line of Markdown for every form: how many of its cells are right."""
    right = Counter(cell.form for cell in cells if not cell.wrong)
    asked = Counter(cell.form for cell in cells)
    rows = [f"| {form.name} | {right[form.name]} of {asked[form.name]} |" for form in FORMS]
    return "\n".join(["| form | right |", "|---|--:|", *rows])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        found = [cell for seed in seeds for cell in cells(seed, Path(directory))]
    kinds = len({(c.failure, c.form) for c in found})
    right = sum(not cell.wrong for cell in found)
    print(
        f"{len(FAILURES)} failures × {len(FORMS)} forms, {kinds} cells that can be asked, {args.seeds} "
        f"seeds: {right} of {len(found)} right\n"
    )
    print(table(found) + "\n\n" + by_form(found) + "\n")
    for cell in found:
        if cell.wrong:
            print(f"- {cell.failure}, {cell.form}: {cell.wrong}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
