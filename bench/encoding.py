"""Speed of turning pairs into token ids, an older commit against this checkout, in interleaved processes.

    python bench/encoding.py [COMMIT] [--rounds 5] [--repeat 4]
    python bench/encoding.py --splits [--folder SETS]     sides of stored sets that the splitting changes

The bundled pairs, as text rows and as chat rows under the embedded model's template. Each measurement is a
process of its own; its time is the process's CPU seconds in `Encoder.many`, after a warm-up, so that a busy
machine weighs less. The ratio is the median speed of this checkout / the median speed of COMMIT.

`--splits`: the embedded model's file says that each digit stands alone before a text is split as GPT-2's, and
until 29 November 2026 it was split as GPT-2's alone; stored numbers rest on that. Counted are the bundled
files whole and each stored set as `validity.py` draws it, as raw text and under the chat template.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
CHUNK = 64  # pairs that are encoded at once
ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}


def written(place: Path) -> dict[str, Path]:
    """The bundled pairs as a file of text rows and one of chat rows."""
    lines = [line for path in sorted(HERE.glob("pairs/*.jsonl")) for line in path.read_text().splitlines()]
    texts = [{name: row[name] for name in ROLES} for row in map(json.loads, lines) if row.get("prompt")]
    chats = [{name: [{"role": role, "content": row[name]}] for name, role in ROLES.items()} for row in texts]
    files = {"text": place / "text.jsonl", "chat": place / "chat.jsonl"}
    for file, rows in zip(files.values(), (texts, chats), strict=True):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return files


def child(tokenizer: str, file: str, repeat: int) -> None:
    """Print pairs per CPU second of whatever `probe` is on the path, and a checksum of the ids."""
    from transformers import AutoTokenizer

    from probe.pairs.read import read_pairs
    from probe.scoring.encode import make_encoder

    pairs = list(read_pairs(Path(file)))
    encoder = make_encoder(AutoTokenizer.from_pretrained(tokenizer), pairs)
    chunks = [pairs[i : i + CHUNK] for i in range(0, len(pairs), CHUNK)]
    encoder.many(chunks[0])
    started = time.process_time()
    for _ in range(repeat):
        codes = [encoder.many(chunk) for chunk in chunks]
    seconds = time.process_time() - started
    tokens = sum(len(c.chosen.ids) + len(c.rejected.ids) for chunk in codes for c in chunk)
    print(json.dumps({"speed": repeat * len(pairs) / seconds, "pairs": len(pairs), "tokens": tokens}))


def measured(tree: Path, place: Path, file: Path, repeat: int) -> dict[str, Any]:
    """One process with the package of `tree` as `probe`."""
    path = place / f"path-{tree.name}"
    path.mkdir(exist_ok=True)
    if not (path / "probe").exists():
        (path / "probe").symlink_to(tree)
    words = [
        sys.executable,
        __file__,
        "--child",
        str(place / "tokenizer"),
        str(file),
        "--repeat",
        str(repeat),
    ]
    env = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(words, env=env, cwd=place, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(commit: str, rounds: int, repeat: int) -> None:
    """Check `commit` out beside this checkout, take turns, print speeds and ratios."""
    from probe.scoring.tokenizer import load_tokenizer

    with tempfile.TemporaryDirectory() as name:
        place, old = Path(name), Path(name) / "old"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(old), commit], check=True)
        try:
            load_tokenizer(None).save_pretrained(place / "tokenizer")
            for kind, file in written(place).items():
                turns = [[measured(tree, place, file, repeat) for tree in (old, HERE)] for _ in range(rounds)]
                told(kind, commit, turns)
        finally:
            subprocess.run([*git, "remove", "--force", str(old)], check=True)


def told(kind: str, commit: str, turns: list[list[dict[str, Any]]]) -> None:
    """A line for one kind of rows: median speeds, the ratio of medians, the range of ratios by round."""
    before, now = (statistics.median(turn[k]["speed"] for turn in turns) for k in (0, 1))
    ratios = [turn[1]["speed"] / turn[0]["speed"] for turn in turns]
    tokens = " and ".join(f"{turns[0][k]['tokens']:,}" for k in (0, 1))
    print(
        f"{kind}: {turns[0][1]['pairs']} pairs ({tokens} tokens), {commit} {before:,.0f} and now {now:,.0f} "
        f"pairs/CPU s: ratio {now / before:.2f} ({min(ratios):.2f} to {max(ratios):.2f} by round)"
    )


def splits(folder: Path | None) -> None:
    """A line for each bundled file and stored set: how many sides have other tokens, and how many texts."""
    import validity
    from forecast_sets import SETS
    from tokenizers import pre_tokenizers

    from probe.pairs.read import read_pairs
    from probe.scoring.tokenizer import load_tokenizer

    validity.FOLDERS.extend([folder] if folder else [])
    now, before = load_tokenizer(None), load_tokenizer(None)
    before.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    files = {
        path.name: lambda path=path: list(read_pairs(path)) for path in sorted(HERE.glob("pairs/*.jsonl"))
    }
    names = sorted({row["set"] for row in validity.load()} | set(SETS))
    with tempfile.TemporaryDirectory() as place:
        files |= {name: lambda name=name: drawn(name, Path(place)) for name in names}
        print("| set | pairs | sides with other tokens, as text | under the template |\n|---|--:|--:|--:|")
        for name, read in files.items():
            try:
                pairs = read()
            except Exception as error:  # a set whose file is not here
                print(f"| {name} | not here ({type(error).__name__}) | | |")
                continue
            print(f"| {name} | {len(pairs)} | {others(pairs, before, now)} |", flush=True)


def drawn(name: str, place: Path) -> list[Any]:
    """The pairs of a stored set."""
    import validity

    from probe.pairs.read import read_pairs

    return list(read_pairs(validity.split(name, validity.SEED, place)[0]))


def others(pairs: list[Any], before: Any, now: Any) -> str:
    """The cells of a line: how many of the sides have other ids, as text and under the chat template."""
    from probe.scoring.encode import make_encoder

    cells = []
    for template in ("raw", "chat"):
        coded = [make_encoder(one, pairs, template).many(pairs) for one in (before, now)]
        sides = [[side.ids for pair in both for side in (pair.chosen, pair.rejected)] for both in coded]
        cells.append(f"{sum(a != b for a, b in zip(*sides, strict=True))} of {len(sides[0])}")
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("commit", nargs="?", default="5070069")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--child", nargs=2, metavar=("TOKENIZER", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument(
        "--splits", action="store_true", help="count the sides whose tokens the splitting changes"
    )
    parser.add_argument("--folder", type=Path, help="further sets, as registry_sets.py makes them")
    given = parser.parse_args()
    if given.splits:
        splits(given.folder)
    elif given.child:
        child(*given.child, given.repeat)
    else:
        compare(given.commit, given.rounds, given.repeat)


if __name__ == "__main__":
    main()
