"""The five accounts as cases: `make cases` gates the bundled sets and writes a page a case from the output.

Each step of cases.toml runs the real command on the embedded model. A case fails when the decision, or a
finding that carries it, is another than written there. Runs are saved in .probe/cases: run.py --again writes
the pages from them, judged anew and without the model. A case's name in place of none runs that one alone.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from probe.records import Run
from probe.runs import load_run

ROOT = Path(__file__).parents[2]
PAGES = Path(__file__).parent
RUNS = ROOT / ".probe/cases"
SHORT_RUNS = ("gate", "trial")  # commands that train for a few steps
OF_A_MODEL = ("gate", "levers")  # commands of the pages whose numbers a model gives
CASES = tomllib.loads((PAGES / "cases.toml").read_text(encoding="utf-8"))["case"]
MARKS = ("✗ ", "! ", "· ")  # what opens a finding
VERDICTS = ("PASS ", "FAIL ", "INCONCLUSIVE ")
TABLES = ("conditions", "numbers beside the conditions")
# Sections shown, by how they open.
KEPT = (*VERDICTS, "why ", "recipe: ", *TABLES, "attributes by rule", "levers on")
CUT = "[…]"
# Sections after the readings: a heading, and the key of their steps or text.
SECTIONS = (("What else these pairs teach", "effect"), ("Which lever would have done", "lever"))


def main(words: Sequence[str]) -> int:
    """Run the cases of those names (none: all) and write their pages; 1 if one came out otherwise."""
    again, failed = "--again" in words, False
    wanted = [word for word in words if word != "--again"]
    for case in CASES:
        if not wanted or case["slug"] in wanted:
            text, wrong = page(case, again)
            (PAGES / f"{case['slug']}.md").write_text(text, encoding="utf-8")
            print(f"{case['slug']}: {'; '.join(wrong) or 'as expected'}", flush=True)
            failed |= bool(wrong)
    return int(failed)


def page(case: Mapping[str, Any], again: bool) -> tuple[str, list[str]]:
    """The case's page, and what came out otherwise than expected."""
    parts, wrong = [f"# {case['title']}", case["account"].strip()], []
    for number, step in enumerate(case["step"], 1):
        wrong += _shown(step, RUNS / f"{case['slug']}-{number}", again, parts)
    parts.append(readings(case["reading"]))
    for title, key in SECTIONS:
        parts.append(f"## {title}")
        for number, step in enumerate(case[key], 1):
            wrong += _shown(step, RUNS / f"{case['slug']}-{key}-{number}", again, parts)
    when = measured(load_run(place) for place in RUNS.glob(f"{case['slug']}-*"))
    return "\n\n".join([*parts, case["lesson"].strip(), when]) + "\n", wrong


def measured(runs: Iterable[Run]) -> str:
    """The line that says of which days the model's numbers are: they rest on the code of then."""
    days = sorted({run.created[:10] for run in runs if run.command in OF_A_MODEL})
    when = f"from {days[0]} to {days[-1]}" if len(days) > 1 else f"on {days[0]}"
    return f"The numbers that a model gave were measured {when}; `make cases` measures them anew."


def _shown(step: Mapping[str, Any], directory: Path, again: bool, parts: list[str]) -> list[str]:
    """Add a step's sentence and what its command printed, if it has one; returns what came out otherwise."""
    parts.append(step["say"].strip())
    if "run" not in step:
        return []
    printed, run, code = done(step["run"], directory, again and directory.exists())
    shown = "\n".join(excerpt(printed, [*step.get("codes", ()), *step.get("show", ())]))
    parts.append(f"```text\n$ probe {step['run']}\n{shown}\n```")
    return [f"{step['run']}: {fact}" for fact in otherwise(step, run, code)]


def done(command: str, directory: Path, again: bool) -> tuple[str, Run, int]:
    """What a command printed, its run and its exit code; `again`: from the run that was saved."""
    argv = [*shlex.split(command), "--out", str(directory)]
    if command.split()[0] in SHORT_RUNS and "--dtype" not in argv:
        argv += ["--dtype", "float32"]  # so that a page's numbers are those of any processor
    if again:
        argv = ["gate" if command.startswith("gate ") else "report", str(directory)]
    finished = subprocess.run(
        [sys.executable, "-m", "probe", *argv],
        cwd=ROOT, env={**os.environ, "COLUMNS": "80"}, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    run = load_run(directory)
    judged = not again or argv[0] == "gate"  # `report` only prints
    return finished.stdout, run, finished.returncode if judged else run.verdict.exit_code


def otherwise(step: Mapping[str, Any], run: Run, code: int) -> list[str]:
    """Every fact of a run that is not as the step expects it; the exit code must be the verdict's."""
    method = run.decision.method if run.decision else None
    facts = [] if code == run.verdict.exit_code else [f"exit code {code}, verdict {run.verdict.exit_code}"]
    facts += [f"decision {method}, not {step['method']}"] if step.get("method", method) != method else []
    found = {finding.code for finding in run.findings}
    return facts + [f"no {code}" for code in step.get("codes", ()) if code not in found]


def excerpt(printed: str, codes: Sequence[str]) -> Iterator[str]:
    """The report's lines with its verdict, the findings of those codes, the reasons, the exit code."""
    shown: list[list[str]] = []
    for i, block in enumerate(printed.strip().split("\n\n")):
        lines = block.splitlines()
        if i > 1 and "exit code" not in lines[-1] and not lines[0].startswith((*MARKS, *KEPT)):
            shown += [[CUT]] if shown[-1][-1] != CUT else []
        else:
            found = lines[0].startswith(MARKS) and "exit code" not in lines[-1]
            kept = list(_findings(lines, codes)) if found else lines
            shown += [kept] if kept != [CUT] or shown[-1][-1] != CUT else []
    for i, lines in enumerate(shown):
        yield from ["", *lines] if i else lines


def _findings(block: Sequence[str], codes: Sequence[str]) -> Iterator[str]:
    """The findings of those codes, each over several lines, with a mark where others stood."""
    shown = True
    for line in block:
        before = shown
        if line.startswith(MARKS):
            shown = line.split()[1] in codes
        if shown:
            yield line
        elif before:
            yield CUT


def readings(rows: Sequence[Mapping[str, str]]) -> str:
    """What the account concluded beside what was measured, as a table."""
    lines = [("the account concluded", "`probe` says"), ("---", "---")]
    lines += [(row["account"], row["probe"]) for row in rows]
    return "\n".join(f"| {account} | {says} |" for account, says in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
