"""The five accounts as cases: `make cases` gates the bundled sets and writes the pages with what was printed.

Each step of cases.toml runs the real command on the embedded model, and the case fails when the decision or a
finding that carries it is another than written there. Scores are stored, so a second run is quicker. One case
alone: `python docs/cases/run.py SLUG`.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probe.records import Run
from probe.runs import load_run

ROOT = Path(__file__).parents[2]
CASES = tomllib.loads((Path(__file__).parent / "cases.toml").read_text(encoding="utf-8"))["case"]


def main(wanted: Sequence[str]) -> int:
    """Run the cases of those names (none: all) and write their pages; 1 if one came out otherwise."""
    failed = False
    for case in CASES:
        if not wanted or case["slug"] in wanted:
            text, wrong = page(case)
            (ROOT / "docs/cases" / f"{case['slug']}.md").write_text(text, encoding="utf-8")
            print(f"{case['slug']}: {'; '.join(wrong) or 'as expected'}", flush=True)
            failed |= bool(wrong)
    return int(failed)


def page(case: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The case's page, and what came out otherwise than expected."""
    parts, wrong = [f"# {case['title']}", case["account"].strip()], []
    for step in case["step"]:
        printed, run, code = done(step["run"])
        wrong += [f"{step['run']}: {fact}" for fact in otherwise(step, run, code)]
        shown = f"```text\n$ probe {step['run']}\n{printed.rstrip()}\n```"
        parts += [step["say"].strip(), shown, f"Exit code {code}."]
    return "\n\n".join([*parts, case["lesson"].strip()]) + "\n", wrong


def done(command: str) -> tuple[str, Run, int]:
    """What a command printed, its run and its exit code."""
    with tempfile.TemporaryDirectory() as directory:
        argv = [sys.executable, "-m", "probe", *shlex.split(command), "--out", directory]
        finished = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        return finished.stdout, load_run(Path(directory)), finished.returncode


def otherwise(step: Mapping[str, Any], run: Run, code: int) -> list[str]:
    """Every fact of a run that is not as the step expects it; the exit code must be the verdict's."""
    method = run.decision.method if run.decision else None
    facts = [] if code == run.verdict.exit_code else [f"exit code {code}, verdict {run.verdict.exit_code}"]
    facts += [f"decision {method}, not {step['method']}"] if step.get("method", method) != method else []
    found = {finding.code for finding in run.findings}
    return facts + [f"no {code}" for code in step.get("codes", ()) if code not in found]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
