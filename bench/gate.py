"""What a full gate costs, in processor seconds and in scoring passes of the file, beside an older version.

    python bench/gate.py [--sizes 40,200] [--model DIR] [--tiny] [--before CHECKOUT] [--off NAMES] [--json F]

A pass is the time in which every pair of the file is scored once in float32, in the same process; of a file
of more than 2,000 pairs the first 2,000 are scored, and their time is multiplied. Each measurement is a
process of its own, on one thread; versions and sizes take turns over the rounds. The pairs are those of HH
harmless (no empty side, at most 400 tokens per side) where there are enough of them, else made-up words.
Nothing is stored, so every gate starts from nothing; loading the model is in neither number. Before each
gate its bill is made, and held against the seconds that it then takes.
`--tiny` makes a model so small that only the shape of the curve means something.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scale import WORDS, tiny_model

ROOT = Path(__file__).resolve().parents[1]
HH = ROOT.parent / "shared/data/hh_harmless.jsonl"
LONGEST = 1600  # characters of prompt and either answer: some 400 tokens
GOALS = {40: 40.0, 200: 15.0, 2000: 4.0}  # passes
GROWTH = (2000, 20000, 2.0)  # a gate of the second size takes at most so many times the seconds of the first
IN_PASS = 2000  # pairs that are scored at most to know what a pass takes
BILL = 1.5  # how many times its bill a gate may take, or the other way round


def write_pairs(path: Path, n: int) -> None:
    """The first `n` pairs of HH that are short enough; made-up words where it has not so many."""
    rows = list(_real()) if HH.exists() else []
    rows = rows[:n] if len(rows) >= n else [_made(random.Random(i), i) for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _real() -> Iterator[dict[str, Any]]:
    """The rows that a reader takes, in which no side is longer than `LONGEST`."""
    from probe.pairs.read import read_pairs

    good = {pair.line for pair in read_pairs(HH, skip_bad=True)}
    for number, line in enumerate(HH.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        longest = max(len(str(row["chosen"])), len(str(row["rejected"])))
        if number in good and longest + len(str(row.get("prompt", ""))) < LONGEST:
            yield row


def _made(draw: random.Random, i: int) -> dict[str, str]:
    """The chosen side leans to the first half of the words."""
    half = len(WORDS) // 2
    lean = [2] * half + [1] * (len(WORDS) - half)
    chosen, rejected = (draw.choices(WORDS, weights, k=draw.randint(6, 14)) for weights in (lean, None))
    return {
        "prompt": f"{i} {' '.join(draw.choices(WORDS, k=8))}?",
        "chosen": " " + " ".join(chosen), "rejected": " " + " ".join(rejected),
    }  # fmt: skip


def measured(pairs: Path, model: str | None, off: frozenset[str]) -> dict[str, Any]:
    """In this process and with whatever version is imported: a scoring pass, then the gate, in seconds."""
    from probe.gate import measure as gate
    from probe.scoring.session import ModelOptions, Session, Source

    try:
        from probe.probes.gated import GateRequest as Request
    except ImportError:  # an older commit's
        Request = gate.Request
    run_probes = getattr(gate, "run_probes", None) or gate.measure  # an older commit's
    source, how = Source.of(pairs, None, None, False), ModelOptions(model, no_cache=True)
    session = Session.open(source, how, 0)
    some = list(source.pairs())
    list(session.scorer.scores(some[:2]))  # the model's self-proof and first touch are not the pass
    start = time.process_time()
    list(session.scorer.scores(some[:IN_PASS]))
    one = (time.process_time() - start) * len(some) / len(some[:IN_PASS])
    del session
    request = Request(source, how, off=off)
    told, most = billed(Session.open(source, how, 0), request)
    start = time.process_time()
    run, _ = run_probes(request)
    taken = time.process_time() - start
    loading = _loading(source, how)
    parts = {row["probe"]: row["seconds"] for row in run.details["costs"]}
    return {
        "pass": one, "gate": max(taken - loading, 0.0), "wall": sum(parts.values()), "parts": parts,
        "billed": told, "billed_most": most,
    }  # fmt: skip


def billed(session: Any, request: Any) -> tuple[dict[str, float], dict[str, float]]:
    """The seconds of each probe that is on, as the bill names them beforehand: where the first look at the
    bias settles it, and where not; none of an older version."""
    try:
        from probe.gate.bill import expected
    except ImportError:
        return {}, {}
    spent, _ = expected(session)
    first, last = (
        {name: value for name, value in spent(request, most=most).items() if name not in request.off}
        for most in (False, True)
    )
    return first, last


def _loading(source: Any, how: Any) -> float:
    from probe.scoring.session import Session

    start = time.process_time()
    Session.open(source, how, 0)
    return time.process_time() - start


def child(package: Path, pairs: Path, model: str | None, off: str) -> dict[str, Any] | None:
    """One measurement in a process of its own; None where it failed."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "probe").symlink_to(package)
        paths = os.pathsep.join((place, str(Path(__file__).parent)))
        env = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": _cache()}
        command = [sys.executable, str(Path(__file__).resolve()), "--child", str(pairs), "--off", off]
        done = subprocess.run(
            command + (["--model", model] if model else []),
            env=env,
            cwd=place,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _cache() -> str:
    return os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))


def table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians by version and size: passes, processor seconds, seconds of a pass."""
    found: dict[str, Any] = {}
    for version in sorted({row["version"] for row in rows}):
        mine = [row for row in rows if row["version"] == version]
        by_size = {n: [row for row in mine if row["pairs"] == n] for n in sorted({r["pairs"] for r in mine})}
        found[version] = {
            "passes": {str(n): _median(r["gate"] / r["pass"] for r in some) for n, some in by_size.items()},
            "seconds": {str(n): _median(r["gate"] for r in some) for n, some in by_size.items()},
            "pass": {str(n): _median(r["pass"] for r in some) for n, some in by_size.items()},
        }
    return found


def _median(values: Any) -> float:
    return round(statistics.median(values), 2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line per measurement, write the JSON."""
    options = parsed(arguments)
    if options.child:
        off = frozenset(options.off.split(",")) - {""}
        print(json.dumps(measured(options.child, options.model, off)))
        return 0
    versions = {"after": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        model = str(tiny_model(Path(place) / "model")) if options.tiny else options.model
        for n in map(int, options.sizes.split(",")):
            write_pairs(pairs := Path(place) / f"{n}.jsonl", n)
            for _ in range(options.rounds):
                for version, package in versions.items():
                    if row := child(package, pairs, model, options.off):
                        rows.append({"version": version, "pairs": n, **row})
                        print(json.dumps(rows[-1]), flush=True)
                        if options.json:
                            options.json.write_text(json.dumps(report(rows, options), indent=1) + "\n")
    for line in (*goal_lines(table(rows).get("after", {})), *bill_lines(rows)):
        print(line)
    return 0


def goal_lines(found: dict[str, Any]) -> Iterator[str]:
    """Each goal that this version's `passes` and `seconds` can tell of, and whether it is reached."""
    passes, seconds = found.get("passes", {}), found.get("seconds", {})
    for n, goal in GOALS.items():
        if (known := passes.get(str(n))) is not None:
            yield f"{n} pairs: {known:g} passes, goal {goal:g}: {_reached(known <= goal)}"
    small, large, most = GROWTH
    if str(small) in seconds and str(large) in seconds:
        times = seconds[str(large)] / seconds[str(small)]
        goal_met = _reached(times <= most)
        yield f"{large} pairs: {times:.2f} times the seconds of {small}, goal {most:g}: {goal_met}"


def _reached(yes: bool) -> str:
    return "reached" if yes else "not reached"


def bill_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What each measured gate took beside what its bill had named, and whether the bill was near enough."""
    told = []
    for row in rows:
        least, most = (sum(row.get(name, {}).values()) for name in ("billed", "billed_most"))
        if least:
            near = "within" if least / BILL <= row["wall"] <= most * BILL else "not within"
            span = f"{least:.0f}" if most == least else f"{least:.0f} to {most:.0f}"
            told.append(
                f"{row['pairs']} pairs: billed {span} s, took {row['wall']:.0f} s, {near} {BILL:g} times"
            )
    return told


def report(rows: Sequence[dict[str, Any]], options: Any) -> dict[str, Any]:
    """`passes` and `seconds` of this version by number of pairs, those of the older one beside them."""
    from probe.runs import environment

    found = table(rows)
    after, before = found.get("after", {}), found.get("before")
    return {
        "passes": after.get("passes"), "seconds": after.get("seconds"), "pass_seconds": after.get("pass"),
        **({"before": before} if before else {}),
        "model": "tiny" if options.tiny else options.model or "embedded", "off": options.off,
        "rounds": list(rows), "environment": environment(),
    }  # fmt: skip


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="40,200")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--tiny", action="store_true", help="a random model of one layer")
    parser.add_argument("--before", type=Path, help="a checkout of an older version")
    parser.add_argument("--off", default="", help="probes that are left out, with commas")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
