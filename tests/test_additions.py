"""A probe, a loss, a format of pairs and a format of reports are each added by touching two files at most.

Each is added to a copy of the package as docs/development.md says, and used there through the commands.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from probe.gate.registry import PROBE_NAMES
from probe.records import Finding, Run
from probe.runs import save_run

ROOT = Path(__file__).parents[1]
PAIRS = [{"prompt": f"Say {i}:", "chosen": f" yes {i}", "rejected": f" no {i}"} for i in range(30)]

PROBE = '''"""Counts exclamation marks: a probe that the test adds."""

from __future__ import annotations

from ...records import Estimate, Finding, Measured
from ..gated import Cost, Effort, Work


def cost(n: int, effort: Effort, trial_pairs: int) -> Cost:
    """No pair goes through the model."""
    return Cost("shouting", 0, 0, "one reading of the file")


def measure(work: Work) -> Measured:
    """The share of chosen responses that shout."""
    n = sum(1 for _ in work.request.source.pairs())
    share = Estimate("shouting_share", 1.0, 0.9, 1.0, n, None, "counted", "share")
    return Measured((share,), tuple(shouts(n)), {"shouts": [{"mark": "exclamation", "share": 1.0}]})


def shouts(n: int) -> list[Finding]:
    """PB990 shouting: the chosen responses shout.

    Means: A test added this probe.
    Why: To show that one can.
    Do: Nothing.
    Source: A convention.
    """
    return [Finding("PB990", "warning", f"all {n} chosen responses shout", "Whisper.")]
'''
ENTRY = """    Probe(
        "shouting",
        shouting.measure,
        shouting.cost,
        without="nobody is told who shouts",
        conditions=(
            Rule("shouting_share", "<=", 0.5, "PB990", "shouting", "Share that shouts.", "convention"),
        ),
        section=Section("shouts", "who shouts", {"mark": "", "share": "share"}),
        model=False,
    ),
)
PROBE_NAMES"""
LOSS = '''

def _hinge(policy: Logps, reference: Logps | None, constants: LossConstants) -> LossOutcome:
    """max(0, 1 − βh), h = Δ_w − Δ_l."""
    sides = _ratios(policy, reference)
    return _outcome(torch.relu(1 - constants.beta * (sides[0] - sides[1])), sides, constants.beta)


Equation ='''
LOSS_USED = """
import torch
from probe.training.losses import Logps, outcome
from probe.training.methods import LossConstants, stages_of
from probe.training.shipped import shipped_values
ones = torch.ones(2)
constants = LossConstants(beta=0.25)
given = outcome("hinge", Logps(3 * ones, ones, ones, ones), Logps(ones, ones, ones, ones), constants)
assert given.loss.tolist() == [0.5, 0.5] and given.chosen_rewards.tolist() == [0.5, 0.5]
assert shipped_values("hinge", parameters=None, n=64)["beta"] == 0.1 and stages_of("sft+hinge")
"""
READER = """def _pipes(file: IO[bytes]) -> JsonRows:
    return csv_rows(file, "|")


OPENERS: """


RENDERER = '''"""Findings as lines."""

from ..records import Run


def render(run: Run) -> str:
    """Code and message of each finding."""
    return "".join(f"{f.code};{f.message}\\n" for f in run.findings)
'''
RUNNER = """
import contextlib, io, json, sys
told = []
for argv in json.loads(sys.argv[1]):
    sys.argv = ["probe", *argv]
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        import probe, probe.__main__
        code = probe.__main__.main()
        out.flush()
    told.append((code, out.buffer.getvalue().decode()))
assert probe.__file__.startswith(__import__("os").getcwd()), probe.__file__
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of what is installed, which each test starts from."""
    place = tmp_path_factory.mktemp("house") / "probe"
    kept = {"tests", "docs", "bench", "build", "node_modules"}

    def skipped(folder, names):
        top = Path(folder) == ROOT
        return [
            n
            for n in names
            if n.startswith((".", "__pycache__")) or n.endswith(".pyc") or (top and n in kept)
        ]

    shutil.copytree(ROOT, place, ignore=skipped, symlinks=True)
    return place


@pytest.fixture
def house(package, tmp_path):
    """The copy of one test, a pair file beside it, and a `run` of Python code or of a command in it."""
    shutil.copytree(package, tmp_path / "probe")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return House(tmp_path)


class House:
    """One copy of the package: edits are counted by file, code runs against it alone."""

    def __init__(self, place):
        self.place, self.touched = place, set()

    def edit(self, file, old, new):
        path = self.place / "probe" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (file, old)
        path.write_text(text.replace(old, new), encoding="utf-8")
        self.touched.add(file)

    def add(self, file, text):
        path = self.place / "probe" / file
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, *commands, code=""):
        """What each command prints, run one after the other in one process that sees this copy alone."""
        done = subprocess.run(
            [sys.executable, "-c", f"{code}\n{RUNNER}", json.dumps(commands)],
            cwd=self.place, capture_output=True, text=True, timeout=300,
            env={**os.environ, "PYTHONPATH": str(self.place), "PROBE_CACHE": str(self.place / "cache")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert all(code in (0, 1) for code, _ in told), told
        return [text for _, text in told]


def test_a_probe(house):
    """One folder and one entry: switch, plan, run, limit, verdict, explanation and section of the report."""
    house.add("probes/shouting/__init__.py", '"""Whether responses shout."""\n')
    house.add("probes/shouting/gated.py", PROBE)
    house.edit(
        "gate/registry.py",
        "from ..probes.trial import gated as trial",
        "from ..probes.shouting import gated as shouting\nfrom ..probes.trial import gated as trial",
    )
    house.edit("gate/registry.py", ")\nPROBE_NAMES", ENTRY)
    assert house.touched == {"gate/registry.py"}
    (house.place / "probe.toml").write_text("[gate.limits]\nshouting_share = 0.25\n")
    others = [f"--no-{name}" for name in PROBE_NAMES]
    usage, plan, told, html, markdown, page = house.run(
        ["gate", "--help"],
        ["gate", "pairs.jsonl", "--plan", *others],
        ["gate", "pairs.jsonl", *others, "--all", "--out", "run"],
        ["report", "run", "--format", "html"],
        ["report", "run", "--format", "markdown"],
        ["explain", "PB990"],
    )
    assert "--no-shouting" in usage and "shouting" in plan
    assert "all 30 chosen responses shout" in told
    assert all("who shouts" in report and "exclamation" in report for report in (told, html, markdown))
    run = json.loads((house.place / "run/run.json").read_text())
    (failed,) = [c for c in run["verdict"]["conditions"] if c["result"] == "fail"]
    assert (failed["name"], failed["limit"]) == ("shouting_share", 0.25)
    assert run["details"]["probes"]["shouting"] == "done"
    assert "the chosen responses shout" in page


def test_a_loss(house):
    """One entry and its equation; commands name it, recipes and stages know it."""
    house.edit(
        "training/methods.py", '    "simpo": Method(', '    "hinge": Method("hinge"),\n    "simpo": Method('
    )
    house.edit("training/losses.py", "\n\nEquation =", LOSS)
    assert len(house.touched) <= 2
    usages = house.run(["train", "--help"], ["trial", "--help"], code=LOSS_USED)
    assert all("hinge" in usage for usage in usages)


def test_a_format_of_pairs(house):
    """A reader and its suffix, in one file."""
    house.edit("pairs/formats.py", "OPENERS: ", READER)
    house.edit("pairs/formats.py", '    ".csv": csv_rows,', '    ".csv": csv_rows,\n    ".psv": _pipes,')
    assert len(house.touched) <= 2
    rows = "".join(f"{r['prompt']}|{r['chosen']}|{r['rejected']}\n" for r in PAIRS)
    (house.place / "pairs.psv").write_text("prompt|chosen|rejected\n" + rows)
    assert "30 pairs" in house.run(["data", "pairs.psv"])[0]


def test_a_format_of_reports(house):
    """A renderer in a file of its own and its name in the table; `--format` takes it."""
    house.add("reports/csv.py", RENDERER)
    house.edit("reports/renderers.py", "from . import github,", "from . import csv, github,")
    house.edit(
        "reports/renderers.py",
        '    "github": github.render,',
        '    "github": github.render,\n    "csv": csv.render,',
    )
    assert len(house.touched) <= 2
    found = Finding("PB990", "info", "it shouts", "Whisper.")
    save_run(Run("data", "2026-11-26T00:00:00Z", findings=(found,)), house.place / "run")
    assert "PB990;it shouts" in house.run(["report", "run", "--format", "csv"])[0]
