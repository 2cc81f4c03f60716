"""How fast `probe data` checks a file, and in how much memory: 1,000,000 pairs of 200 words by default.

    python bench/data.py [--pairs N] [--json FILE]

Writes the file to a temporary directory, checks it in a fresh process with one thread, and prints pairs a
second, peak memory and the time of each step and check. Then each part of the first pass is timed apart, on
pairs in memory, beside a plain `str.split` and datasketch's MinHash with its index.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

WORDS, LIMIT_PAIRS_S, LIMIT_BYTES = 200, 20_000, 2 * 2**30
PROMPT = 20
SAMPLE = 20_480  # pairs for the parts


def write_pairs(path: Path, n: int) -> None:
    """Pairs of 20 + 90 + 90 words from a Zipf-like vocabulary of 50,000."""
    draw = np.random.default_rng(0)
    ranks = np.arange(50_000)
    vocabulary = np.array([f"{'bdfgklmnprstvz'[i % 14]}{i:x}" for i in ranks], dtype=object)
    cumulative = np.cumsum(1 / (ranks + 10))
    middle = (PROMPT + WORDS) // 2
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, n, 1000):
            uniform = draw.random((min(1000, n - start), WORDS))
            words = vocabulary[np.searchsorted(cumulative, uniform * cumulative[-1])].tolist()
            for row in words:
                prompt, chosen, rejected = (
                    " ".join(row[a:b]) for a, b in ((0, PROMPT), (PROMPT, middle), (middle, WORDS))
                )
                file.write(f'{{"prompt": "{prompt}", "chosen": "{chosen}", "rejected": "{rejected}"}}\n')


def whole(path: Path) -> dict[str, Any]:
    """All checks on the file, in this process."""
    from probe.pairs.read import read_pairs
    from probe.probes.data import survey as checks
    from probe.probes.data.limits import data_limits

    source = partial(read_pairs, path, skip_bad=True, lenient=True)
    cpu, wall = time.process_time(), time.perf_counter()
    surveyed = checks.survey(source, data_limits())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "pairs": surveyed.data.n,
        "cpu_s": cpu,
        "wall_s": wall,
        "pairs_per_cpu_s": surveyed.data.n / cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "wall_s_by_step": dict(surveyed.seconds),
        "cpu_s_by_check": {
            check.__name__: _seconds(partial(check, surveyed.data, data_limits()))
            for check in (*checks.ROW_CHECKS, *checks.FILE_CHECKS, *checks.SHAPE_CHECKS)
        },
        "findings": [result.finding.code for result in surveyed.results if result.finding],
    }


def parts(path: Path) -> dict[str, float]:
    """Microseconds of processor time a pair for each part of the first pass, and for peers of two of them."""
    from probe.pairs.read import read_pairs
    from probe.pairs.record import text_of
    from probe.probes.data import columns
    from probe.probes.data.near import bands
    from probe.probes.data.words import WordHashes, hash_words

    pairs = list(islice(read_pairs(path), SAMPLE))
    batches = [pairs[i : i + columns.BATCH_PAIRS] for i in range(0, len(pairs), columns.BATCH_PAIRS)]
    texts = [[text_of(side) for p in batch for side in (p.prompt, p.chosen, p.rejected)] for batch in batches]
    words = [hash_words(batch) for batch in texts]
    keys = [row.keys().reshape(-1, 3) for row in words]
    timed: dict[str, Callable[[], Any]] = {
        "read": lambda: list(islice(read_pairs(path), SAMPLE)),
        "hash words": lambda: [hash_words(batch) for batch in texts],
        "keys": lambda: [row.keys() for row in words],
        "contrast": lambda: [columns.contrasts(row, row.keys()[::3], columns.STRANGERS) for row in words],
        "MinHash bands": lambda: [bands(WordHashes(row.hashes, row.offsets[::3])) for row in words],
        "echoes": lambda: [
            columns._echoes(row, row.counts.reshape(-1, 3), key) for row, key in zip(words, keys, strict=True)
        ],
        "openings": lambda: [columns._stances(row) for row in words],
        "form, encoding": lambda: [columns._flags(*row) for row in zip(batches, texts, keys, strict=True)],
        "peer: str.split": lambda: [[t.lower().split() for t in batch] for batch in texts],
        **_datasketch(texts),
    }
    return {name: _microseconds(run, len(pairs)) for name, run in timed.items()}


def _datasketch(texts: list[list[str]]) -> dict[str, Callable[[], Any]]:
    from probe.probes.data.near import BAND_ROWS, BANDS

    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        return {}
    some = [
        " ".join(batch[i : i + 3]).encode().split() for batch in texts[:8] for i in range(0, len(batch), 3)
    ]
    scale = sum(len(batch) // 3 for batch in texts) / len(some)

    def run() -> None:
        index = MinHashLSH(num_perm=BANDS * BAND_ROWS, params=(BANDS, BAND_ROWS))
        for i, signature in enumerate(MinHash.generator(some, num_perm=BANDS * BAND_ROWS)):
            index.insert(i, signature, check_duplication=False)

    run.scale = scale  # type: ignore[attr-defined]
    return {"peer: datasketch MinHash and LSH": run}


def _seconds(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _microseconds(run: Callable[[], Any], n: int) -> float:
    best = min(_seconds(run) for _ in range(3))
    return 1e6 * best * getattr(run, "scale", 1.0) / n


def main() -> None:
    """Print the numbers; exit 1 when a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file:
        print(json.dumps(whole(options.file)))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pairs.jsonl"
        write_pairs(path, options.pairs)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        child = subprocess.run(
            [sys.executable, __file__, "--file", str(path)],
            env={**os.environ, **threads},
            stdout=subprocess.PIPE,
            check=True,
        )
        result = json.loads(child.stdout)
        print(json.dumps(result, indent=1), flush=True)
        result["us_per_pair_by_part"] = parts(path)
    print(json.dumps(result["us_per_pair_by_part"], indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if result["pairs_per_cpu_s"] < LIMIT_PAIRS_S or result["peak_bytes"] > LIMIT_BYTES:
        sys.exit(f"missed: {LIMIT_PAIRS_S:,} pairs/s in {LIMIT_BYTES // 2**30} GiB")


if __name__ == "__main__":
    main()
