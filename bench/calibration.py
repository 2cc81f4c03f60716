"""Is the verdict true? Simulates every test on populations whose truth is known.

    python bench/calibration.py            # simulate what is missing, some ten minutes on one core
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
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import calibration_cells as simulation
import calibration_report as report

from probe.runs import environment, now

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "bench/results/calibration.jsonl"
SOURCES = (
    "stats/statistics.py",
    "stats/resampling.py",
    "stats/sequential.py",
    "probes/bias/verdict.py",
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
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--store", type=Path, default=STORE)
    options = parser.parse_args()
    code = code_hash()
    if not (options.report or options.write):
        simulate(options.store, code, options.replicates, options.resampled, options.jobs)
    rows = load(options.store)
    stale = [row for row in rows if row["code"] != code]
    if stale:
        print(f"{len(stale)} of {len(rows)} rows are of another version of the code", file=sys.stderr)
    if options.write:
        report.write(rows, ROOT / "docs")
    print(report.tables(rows))
    return 1 if report.failures(rows) else 0


def simulate(store: Path, code: str, replicates: int, resampled: int, jobs: int) -> None:
    """Run the units that are missing, and append their rows: a killed run goes on where it stopped."""
    kept = [row for row in load(store) if row["code"] == code and row["seed"] == SEED]
    done = {row["unit"] for row in kept}
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    source = provenance()
    with ProcessPoolExecutor(jobs) as pool:
        work = {
            pool.submit(simulation.unit_cells, unit, replicates, resampled, SEED): unit
            for unit in simulation.UNITS
            if unit not in done
        }
        for finished in as_completed(work):
            unit = work[finished]
            rows = [_row(unit, cell, code, source) for cell in finished.result()]
            with store.open("a", encoding="utf-8") as out:
                out.writelines(json.dumps(row) + "\n" for row in rows)
            print(f"{unit}: {len(rows)} cells", file=sys.stderr, flush=True)


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
    """Of the sources' syntax trees without docstrings and imports: neither can change a number."""
    digest = hashlib.sha256()
    for name in SOURCES:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                node.body = [line for line in body if not isinstance(line, ast.Import | ast.ImportFrom)]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def load(store: Path) -> list[Row]:
    """The rows stored so far, in the order of the units."""
    if not store.exists():
        return []
    rows = [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines() if line]
    return sorted(rows, key=lambda row: simulation.UNITS.index(row["unit"]))


if __name__ == "__main__":
    sys.exit(main())
