"""Runs of the bundled sets, stored without the words of their pairs: what `make goldens` writes.

Each is the run of a real command on the embedded model, cut to what the short report reads. The golden texts
are rendered from these files, so the test needs no model. What a gate found is taken from the saved runs of
`make cases`, which trains; `bias` is measured here.

    python tests/reports/stored.py                 measure `bias` of every set, take the gates that are saved
    python tests/reports/stored.py cico_insulin    this set alone
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).parent / "stored"
CASES = ROOT / ".probe/cases"
SETS = sorted(path.stem for path in (ROOT / "pairs").glob("*.jsonl"))
DROPPED = ("pairs", "best", "giveaways")  # words of pairs, and what only the page draws
KEPT = ("id", "line", "group", "gap")  # of the worst pair, which the report names


def cut(run: Mapping[str, Any]) -> str:
    """A stored run as text, without what the short report does not read, and without its machine."""
    details = {key: value for key, value in run["details"].items() if key not in DROPPED}
    if worst := details.get("worst"):
        details["worst"] = [{key: worst[0].get(key) for key in KEPT}]
    argv = [str(word) for word in run["environment"]["argv"]]
    if "--out" in argv:
        del argv[argv.index("--out") : argv.index("--out") + 2]
    kept = {
        "details": details,
        "environment": {"probe": run["environment"]["probe"], "argv": argv},
        "config": {key: value for key, value in run["config"].items() if key != "out"},
    }
    return json.dumps({**run, **kept}, ensure_ascii=False, indent=1) + "\n"


def store(name: str, directory: Path) -> None:
    """Write the run that `directory` holds as `name`."""
    STORED.mkdir(exist_ok=True)
    run = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    (STORED / f"{name}.json").write_text(cut(run), encoding="utf-8")
    print(name, flush=True)


def main() -> None:
    """Store `bias` of the sets that are named, and every saved gate and comparison of the cases."""
    wanted = sys.argv[1:] or SETS
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            out = Path(folder, name)
            argv = ["bias", f"pairs/{name}.jsonl", "--out", out]
            subprocess.run([sys.executable, "-m", "probe", *argv], cwd=ROOT, check=True)
            store(f"bias-{name}", out)
    for directory in sorted(CASES.glob("*/")):
        store(f"case-{directory.name}", directory)


if __name__ == "__main__":
    main()
