"""Is the verdict true? Simulates every test on populations whose truth is known.

    python bench/calibration.py            # simulate what is missing, about 15 minutes on one core
    python bench/calibration.py --report   # print the tables from the stored results
    python bench/calibration.py --write    # put tables and plot into docs/

Results are rows of bench/results/calibration.jsonl. A row whose code (of the statistics or of the simulation,
comments aside) has changed since counts as missing. Exits with 1 when a test that gates does not hold.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import calibration_cells as simulation
import calibration_report as report

from probe.runs import environment, now

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "bench/results/calibration.jsonl"
SOURCES = (
    "probes/statistics.py",
    "probes/resampling.py",
    "probes/sequential.py",
    "probes/bias_verdict.py",
    "bench/calibration_cells.py",
)
SEED = 8
Row = dict[str, object]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", action="store_true", help="print the tables, simulate nothing")
    parser.add_argument("--write", action="store_true", help="put the tables and the plot into docs/")
    parser.add_argument("--replicates", type=int, default=10_000, help="of tests in closed form")
    parser.add_argument(
        "--resampled", type=int, default=2_000, help="of tests that resample, and of verdicts"
    )
    parser.add_argument("--store", type=Path, default=STORE)
    options = parser.parse_args()
    code = code_hash()
    if not (options.report or options.write):
        simulate(options.store, code, options.replicates, options.resampled)
    rows = load(options.store)
    stale = [row for row in rows if row["code"] != code]
    if stale:
        print(f"{len(stale)} of {len(rows)} rows are of another version of the code", file=sys.stderr)
    if options.write:
        report.write(rows, ROOT / "docs")
    print(report.tables(rows))
    return 1 if report.failures(rows) else 0


def simulate(store: Path, code: str, replicates: int, resampled: int) -> None:
    """Run the units that are missing, and append their rows: a killed run goes on where it stopped."""
    kept = [row for row in load(store) if row["code"] == code and row["seed"] == SEED]
    done = {row["unit"] for row in kept}
    store.parent.mkdir(parents=True, exist_ok=True)
    _rewrite(store, kept)
    source = provenance()
    for unit, cells in units(replicates, resampled):
        if unit in done:
            continue
        rows = [_row(unit, cell, code, source) for cell in cells]
        with store.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
        print(f"{unit}: {len(rows)} cells", file=sys.stderr, flush=True)


def units(replicates: int, resampled: int) -> Iterator[tuple[str, Iterable[simulation.Cell]]]:
    """Named pieces of work, each seeded on its own."""
    yield "stopping", simulation.stopping_cells(replicates, SEED)
    for n in simulation.SIZES:
        for population in simulation.POPULATIONS:
            yield f"{population.name}/{n}", simulation.cells(population, n, replicates, resampled, SEED)


def _row(unit: str, cell: simulation.Cell, code: str, source: Row) -> Row:
    rate = cell.hits / cell.replicates
    error = math.sqrt(rate * (1 - rate) / cell.replicates) if 0 <= rate <= 1 else 0.0
    return {"unit": unit, **asdict(cell), "mc_error": error, "seed": SEED, "code": code, "provenance": source}


def provenance() -> Row:
    """When, of which commit and with what versions a row was made."""
    found = environment()
    versions = {name: found["packages"][name] for name in ("numpy", "scipy")}
    return {"created": now(), "git": found["git"], "python": found["python"], **versions}


def code_hash() -> str:
    """Of the sources' syntax trees without docstrings: a comment does not make results stale."""
    digest = hashlib.sha256()
    for name in SOURCES:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body = node.body[1:]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def load(store: Path) -> list[Row]:
    """The rows stored so far."""
    if not store.exists():
        return []
    return [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines() if line]


def _rewrite(store: Path, rows: list[Row]) -> None:
    store.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
