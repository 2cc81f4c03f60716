"""What the bench of mutants has stored, and the table of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mutants_reach import digest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "mutants.jsonl"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- mutants:begin -->\n", "<!-- mutants:end -->"


def rows() -> dict[str, dict]:
    """What is stored, by module, of the modules that exist."""
    if not RESULTS.exists():
        return {}
    stored = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return {row["module"]: row for row in stored if "digest" in row and (ROOT / row["module"]).exists()}


def store(row: dict) -> None:
    """Keep a row in place of the one of its module."""
    known = {**rows(), row["module"]: row}
    lines = [json.dumps(known[name], ensure_ascii=False) + "\n" for name in sorted(known)]
    RESULTS.write_text("".join(lines), encoding="utf-8")


def fresh(row: dict) -> bool:
    """Whether the module still says what it said when it was measured."""
    return row["digest"] == digest(ROOT / row["module"])


def share(measured: list[dict]) -> tuple[float, float, float]:
    """The share killed of all the mutants of these modules, and its 95% interval, from a sample of each:
    modules weigh by their mutants; the variance of one is that of (killed + 1) / (tried + 2) without
    replacement, so that a module of which all were killed adds what its sample leaves open."""
    whole = sum(row["mutants"] for row in measured)
    value = sum(row["mutants"] * row["killed"] / row["tried"] for row in measured) / whole
    variance = 0.0
    for row in measured:
        p = (row["killed"] + 1) / (row["tried"] + 2)
        left = 1 - row["tried"] / max(row["mutants"] - len(row["equivalent"]), row["tried"])
        variance += (row["mutants"] / whole) ** 2 * left * p * (1 - p) / row["tried"]
    half = 1.96 * math.sqrt(variance)
    return value, value - half, min(1.0, value + half)


def report(judging: list[str]) -> str:
    """A line per module, and what the sample says of all."""
    measured = [row for _, row in sorted(rows().items()) if row["tried"]]
    lines = ["| module | mutants | tried | killed | later |", "|---|--:|--:|--:|--:|"]
    for row in measured:
        mark = "" if fresh(row) else " (changed since)"
        since = len(row["since"])
        lines.append(
            f"| `{row['module']}`{mark} | {row['mutants']} | {row['tried']} | "
            f"{row['killed'] / row['tried']:.0%} | {since or ''} |"
        )
    tried, killed = (sum(row[key] for row in measured) for key in ("tried", "killed"))
    since, equal = (sum(len(row[key]) for row in measured) for key in ("since", "equivalent"))
    whole = sum(row["mutants"] for row in measured)
    lines.append(f"| all | {whole} | {tried} | {killed / tried:.0%} | {since} |")
    value, low, high = share(measured)
    left = sorted(set(judging) - {m for m, row in rows().items() if fresh(row)})
    told = [
        f"Of {tried} mutants tried, {killed} were killed by quick tests when they were drawn, {since} of the",
        "others later, by slower tests or by tests that were written for them: "
        f"{(killed + since) / tried:.0%}.",
        f"{equal} more were drawn that change nothing which could be observed, and are not counted.",
        f"Weighed by the mutants of each module, {value:.1%} [{low:.1%}, {high:.1%}] of {whole} were killed",
        "when they were drawn.",
    ]
    told += [f"Not measured as they are now: {', '.join(f'`{name}`' for name in left)}."] if left else []
    return "\n".join([*lines, "", *told, ""])


def write(text: str) -> None:
    """Put the table into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2], encoding="utf-8")
