"""Forecast against outcome: real training runs beside what the probes said before them.

    python bench/forecast.py                     # measure what is missing: hours; goes on where it was killed
    python bench/forecast.py --gemma FILE.gguf   # the same with a second model
    python bench/forecast.py --report            # print the tables from the stored results
    python bench/forecast.py --write             # put them into docs/validity-appendix.md
    python bench/forecast.py --add RUN --gate GATE   # add a run of yours (directories or run.json files)

Results are rows of bench/results/forecast.jsonl, one a run, with seed, commit and versions. Sets that are not
in the package come from ../shared/data beside the checkout; where that is absent they are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import forecast_sets as sets
from forecast_cells import decided
from forecast_runs import Cell, Row, measure

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "bench/results/forecast.jsonl"
SMALL, GEMMA = "SmolLM2-135M-Instruct", "Gemma-3-270M"
METHODS = ("dpo", "sft", "dpo_nll", "dpop", "orpo", "sft+dpo")
FAILING = (("blimp", "hot"), ("low_contrast", "hot"), ("human", "hot"), ("blimp", "long"),
           ("low_contrast", "long"), ("human", "float16"))  # fmt: skip
CORE_SEEDS = (1, 2)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", action="store_true", help="print the tables, train nothing")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/validity-appendix.md")
    parser.add_argument(
        "--list", action="store_true", help="print the grid in its order, with what is stored"
    )
    parser.add_argument("--gemma", type=Path, help="a GGUF file of Gemma-3-270M")
    parser.add_argument("--add", type=Path, metavar="RUN", help="a run of `probe train` to be added")
    parser.add_argument("--gate", type=Path, help="the gate of the same file, made before it")
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--sets", help="only these, by name: a,b,c (several processes can share the grid)")
    parser.add_argument("--core", action="store_true", help="only the probes, DPO, SFT and what was decided")
    parser.add_argument("--until", help="start nothing after this time of day, HH:MM")
    options = parser.parse_args()
    rows = load(options.store)
    if options.list:
        done = {row["key"] for row in rows}
        print("\n".join(f"{'x' if c.key in done else ' '} {c.key}" for c in grid(rows)))
    elif options.report or options.write or options.add:
        return _tables(options, rows)
    else:
        chosen = options.sets.split(",") if options.sets else list(sets.SETS)
        run(
            options.store,
            chosen,
            {SMALL: None, **({GEMMA: str(options.gemma)} if options.gemma else {})},
            options.until,
            core if options.core else grid,
        )
    return 0


def _tables(options: argparse.Namespace, rows: list[Row]) -> int:
    import forecast_own as own
    import forecast_report as report

    if options.add:
        row = own.added(options.add, options.gate)
        append(options.store, row)
        rows.append(row)
        print(f"added {row['key']}", file=sys.stderr)
    if options.write:
        report.write(rows, grid(rows), ROOT / "docs/validity-appendix.md")
    print(report.tables(rows, grid(rows)))
    return 0


def grid(rows: Sequence[Row]) -> list[Cell]:
    """All cells, the most telling first: of each set the probes, DPO, SFT and then what was decided."""
    names = list(sets.SETS)
    small, gemma = _cores(rows)
    cells = [*chain(*small[:6]), *(Cell(SMALL, s, "dpo", v) for s, v in FAILING), *chain(*small[6:], *gemma)]
    cells += [Cell(SMALL, name, "dpo", "early") for name in names[:8]]
    cells += [
        Cell(SMALL, name, m, "short", s) for m in ("dpo", "sft") for s in CORE_SEEDS for name in names[:8]
    ]
    cells += [Cell(SMALL, name, method) for method in METHODS for name in names]
    cells += [Cell(SMALL, name, "dpo", "early") for name in names]
    return list(dict.fromkeys(cells))


def core(rows: Sequence[Row]) -> list[Cell]:
    """Of each set on both models: the probes, DPO, SFT and then what was decided."""
    return list(dict.fromkeys(chain(*(cells for model in _cores(rows) for cells in model))))


def _cores(rows: Sequence[Row]) -> list[list[list[Cell]]]:
    """By model and set."""
    stages = {(row["model"], row["set"]): decided(row).stages for row in rows if row["method"] == "probes"}
    return [[_core(model, name, stages) for name in sets.SETS] for model in (SMALL, GEMMA)]


def _core(model: str, name: str, stages: Mapping[tuple[str, str], Sequence[str]]) -> list[Cell]:
    methods = ["probes", "dpo", "sft", "+".join(stages.get((model, name), ()))]
    return [Cell(model, name, method) for method in methods if method]


def run(
    store: Path, names: Sequence[str], models: dict[str, str | None], until: str | None,
    cells: Callable[[Sequence[Row]], Sequence[Cell]],
) -> None:  # fmt: skip
    """Measure cell after cell until none is missing. A cell that raises is told and left for another time."""
    failed: set[str] = set()
    while (cell := _next(load(store), names, models, failed, cells)) is not None:
        if until and time.strftime("%H:%M") >= until:
            return
        print(f"=== {cell.key}", file=sys.stderr, flush=True)
        try:
            append(store, measure(cell, models[cell.model]))
        except Exception:
            traceback.print_exc()
            failed.add(cell.key)


def _next(
    rows: Sequence[Row], names: Sequence[str], models: dict[str, str | None], failed: set[str],
    cells: Callable[[Sequence[Row]], Sequence[Cell]],
) -> Cell | None:  # fmt: skip
    done = {row["key"] for row in rows} | failed
    there = (sets.SHARED / "helpful_ladder.jsonl").exists()
    return next(
        (
            cell
            for cell in cells(rows)
            if cell.key not in done
            and cell.model in models
            and cell.set in names
            and (there or sets.is_bundled(cell.set))
        ),
        None,
    )


def load(store: Path) -> list[Row]:
    """The rows stored so far."""
    if not store.exists():
        return []
    return [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines() if line]


def append(store: Path, row: Row) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
