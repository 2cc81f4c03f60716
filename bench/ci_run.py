"""What a CI does with this package, executed: the wheel in new environments, all that `probe init` writes.

    python bench/ci_run.py                       every part below; some minutes, most of them installing torch
    python bench/ci_run.py --only base hook      these parts
    python bench/ci_run.py --keep FOLDER         work there, leave it; what is installed there is used again

base      the wheel without extras: no torch, and what needs no model works
judge     `prefprobe[judge]`: a saved gate judged and shown, no torch
hook      pre-commit by this repository's hook, and by the one that `probe init` writes; needs a package index
workflow  the steps of the workflow that `probe init` writes, in order, twice; the second finds its caches
action    the steps of action.yml, in order

Steps that use an action are replaced by its effect (`ci_steps.EFFECTS`), `gh` by a script that notes how it
was called; every other step is run as it is written. Exit code 1 where something came out otherwise.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ci_steps import EFFECTS, Step, filled, holds, of_action, of_workflow, paths

ROOT = Path(__file__).parents[1]
SAVED = ROOT / "tests/reports/stored/case-belief-1.json"
LEFT_OUT = (".git", ".venv", "build", ".probe", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")
GOOD = '{"prompt": "How far is the station?", "chosen": "Four minutes.", "rejected": "Quite near."}\n'
BAD = '{"prompt": "How large is the kitchen?", "chosen": "", "rejected": "Roomy."}\n'
GH = '#!/bin/sh\nprintf "%s\\n" "$*" >> "$GH_NOTED"\n'
TIMEOUT = 3600


class Failed(Exception):
    """Something came out otherwise than it must."""


class Work:
    """A folder with a copy of the repository, its wheel, and what runs there; every command is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        if not self.tree.exists():
            shutil.copytree(ROOT, self.tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
        home = folder / "home"
        home.mkdir(exist_ok=True)
        cache = subprocess.run(
            [sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False
        )
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "PYTHON", "GITHUB_"))},
            "HOME": str(home),
            "PIP_CACHE_DIR": cache.stdout.strip() or str(folder / "pip"),
            "PRE_COMMIT_HOME": str(folder / "pre-commit"),
        }

    def run(
        self, argv: Sequence[str | Path], cwd: Path, *, code: int = 0, env: Mapping[str, str] | None = None
    ) -> str:
        """What a command printed. Raises `Failed` where its exit code is another than `code`."""
        start = time.monotonic()
        done = subprocess.run(
            [str(word) for word in argv], cwd=cwd, env={**self.env, **(env or {})}, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT,
        )  # fmt: skip
        said = " ".join(str(word) for word in argv).replace(str(self.folder), "…").replace("\n", " ; ")
        print(f"  {time.monotonic() - start:6.1f} s  exit {done.returncode}  {said[:150]}", flush=True)
        if done.returncode != code:
            raise Failed(f"exit code {done.returncode}, not {code}: {said}\n{done.stdout[-3000:]}")
        return done.stdout

    def wheel(self) -> Path:
        """The wheel of the tree, built once."""
        built = self.folder / "dist"
        if not list(built.glob("prefprobe-*.whl")):
            pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", built, self.tree]
            self.run(pip, self.folder)
        return next(built.glob("prefprobe-*.whl"))

    def venv(self, name: str, *wanted: str) -> Path:
        """The `bin` of a new virtual environment: `wanted` installed from outside, or only pip in it."""
        place = self.folder / f"venv-{name}"
        done = place / "installed"
        if done.exists() and done.read_text() == " ".join(wanted):
            return place / "bin"
        shutil.rmtree(place, ignore_errors=True)
        bare = ["--without-pip"] if wanted else []
        self.run([sys.executable, "-m", "venv", *bare, place], self.folder)
        if wanted:
            pip = [sys.executable, "-m", "pip", "--python", place / "bin/python", "install", "-q"]
            self.run([*pip, "--no-compile", *wanted], self.folder)
            done.write_text(" ".join(wanted))
        return place / "bin"

    def scratch(self, name: str) -> Path:
        """A new git repository."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for words in (["init", "-q"], ["config", "user.email", "a@b.c"], ["config", "user.name", "a"]):
            self.run(["git", *words], place)
        return place


def must(fact: bool, said: str) -> None:
    """Raises `Failed` where `fact` is false."""
    if not fact:
        raise Failed(said)


def without_model(work: Work, extra: str) -> None:
    """What the base, or an extra that promises no torch, does: check, judge, show; a model is refused."""
    wheel = work.wheel()
    place = work.venv(extra.strip("[]") or "base", f"prefprobe{extra} @ {wheel.as_uri()}")
    pip = [sys.executable, "-m", "pip", "--python", place / "python", "list", "--format=freeze"]
    listed = work.run(pip, work.folder).lower()
    must("torch" not in listed and "transformers" not in listed, f"torch came with the base:\n{listed}")
    here = work.scratch("without-model")
    (here / "good.jsonl").write_text(GOOD)
    probe = place / "probe"
    must("Commands:" in work.run([probe], here), "bare probe shows no help")
    for words in (
        ["--version"], ["data", "good.jsonl"], ["data", "--check", "good.jsonl"],
        ["report", SAVED, "--format", "markdown=x.md", "--format", "html=x.html"], ["explain", "PB120"],
        ["autopsy", ROOT / "docs/cases/collapse.jsonl"], ["init"],
    ):  # fmt: skip
        work.run([probe, *words], here)
    told = work.run([probe, "gate", SAVED], here, code=1)
    must("do not train on these pairs" in told, f"the saved gate is not judged: {told}")
    for words in (["bias", "good.jsonl"], ["gate", "good.jsonl"]):
        told = work.run([probe, *words], here, code=2)
        must("pip install 'prefprobe[model]'" in told, f"no remedy is named: {told}")


def hook(work: Work) -> None:
    """pre-commit, by the hook of this repository and by the one that `probe init` writes."""
    precommit = work.venv("pre-commit", "pre-commit")
    base = work.venv("base", f"prefprobe @ {work.wheel().as_uri()}")
    own = {"PATH": f"{base}:{work.env['PATH']}"}
    here = work.scratch("hooked")
    work.run([base / "probe", "init"], here)
    written = sorted(
        path.relative_to(here).as_posix() for path in here.rglob("*") if ".git/" not in str(path)
    )
    print(f"  probe init wrote {', '.join(written)}")
    _hooked(work, here, [precommit / "pre-commit", "run", "--all-files"], own)
    for words in (["init", "-q"], ["add", "-A"]):
        work.run(["git", *words], work.tree)
    work.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "tree"], work.tree)
    revision = work.run(["git", "rev-parse", "HEAD"], work.tree).strip()
    here = work.scratch("hooked-by-name")
    (here / "a.jsonl").write_text(GOOD)
    config = f"repos:\n  - repo: {work.tree}\n    rev: {revision}\n    hooks:\n      - id: probe-data\n"
    (here / ".pre-commit-config.yaml").write_text(config)
    _hooked(work, here, [precommit / "pre-commit", "run", "--all-files"], {})
    work.run([precommit / "pre-commit", "install"], here)
    _commits(work, here, precommit)


def _hooked(work: Work, here: Path, command: list[str | Path], env: Mapping[str, str]) -> None:
    """Sound files pass; one with an error blocks, named with its line; several files; nothing is left."""
    (here / "more.jsonl").write_text(GOOD)
    work.run(["git", "add", "-A"], here)
    work.run(command, here, env=env)
    (here / "bad.jsonl").write_text(GOOD + BAD)
    work.run(["git", "add", "-A"], here)
    before = work.run(["git", "status", "--porcelain", "--ignored"], here)
    told = work.run(command, here, code=1, env=env)
    must("bad.jsonl:2: PB301" in told and "more.jsonl:" not in told, f"the line is not named:\n{told}")
    must("1 error, 1 fixable with --fix" in told, f"no count of errors:\n{told}")
    after = work.run(["git", "status", "--porcelain", "--ignored"], here)
    must(before == after, f"the hook left something behind:\n{after}")
    work.run(["git", "rm", "-qf", "bad.jsonl"], here)


def _commits(work: Work, here: Path, precommit: Path) -> None:
    """A commit with an error is refused, one without is made."""
    path = {"PATH": f"{precommit}:{work.env['PATH']}"}
    (here / "bad.jsonl").write_text(BAD)
    work.run(["git", "add", "-A"], here)
    work.run(["git", "commit", "-qm", "bad"], here, code=1, env=path)
    work.run(["git", "rm", "-qf", "bad.jsonl"], here)
    work.run(["git", "commit", "-qm", "good"], here, env=path)


def workflow(work: Work) -> None:
    """The workflow that `probe init` writes, on the sample pairs that it writes, twice."""
    base = work.venv("base", f"prefprobe @ {work.wheel().as_uri()}")
    here = work.scratch("workflow")
    work.run([base / "probe", "init"], here)
    steps = of_workflow((here / ".github/workflows/probe.yml").read_text())
    # The package is not on an index before it is published: pip finds the wheel beside what the index has.
    links = {"PIP_FIND_LINKS": f"{work.env.get('PIP_FIND_LINKS', '')} {work.wheel().parent.as_uri()}".strip()}
    place = work.venv("workflow")
    for _ in range(2):
        _steps(work, here, steps, place, {}, links)


def action(work: Work) -> None:
    """action.yml on one bundled set of pairs; one option, since the trial would take minutes."""
    here = work.scratch("action")
    shutil.copy(ROOT / "pairs/listing_taste.jsonl", here / "pairs.jsonl")
    values = {
        "github.action_path": str(work.tree), "inputs.model": "", "inputs.pairs": "pairs.jsonl",
        "inputs.args": "--inconclusive warn --no-trial", "inputs.comment": "true", "inputs.token": "token",
    }  # fmt: skip
    _steps(work, here, of_action((ROOT / "action.yml").read_text()), work.venv("action"), values, {})


def _steps(
    work: Work, here: Path, steps: Sequence[Step], place: Path, values: Mapping[str, str],
    env: Mapping[str, str],
) -> None:  # fmt: skip
    """Run the steps in order as a runner would for a pull request; `place` stands first on PATH."""
    tools = work.folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "gh").write_text(GH)
    (tools / "gh").chmod(0o755)
    noted = work.folder / f"{here.name}-gh.txt"
    known = {
        "github.event_name": "pull_request", "github.event.pull_request.number": "7", "github.token": "token",
        **values,
    }  # fmt: skip
    runner = {
        **env, "PATH": f"{place}:{tools}:{work.env['PATH']}", "GITHUB_ACTIONS": "true", "CI": "true",
        "GITHUB_STEP_SUMMARY": str(work.folder / f"{here.name}-summary.md"), "GH_NOTED": str(noted),
    }  # fmt: skip
    for step in steps:
        if not holds(step.when, known, here):
            print(f"  skipped, its condition does not hold: {step.name}")
        elif step.uses:
            print(f"  replaced: {step.uses}: {EFFECTS[step.uses]}")
            if step.uses == "actions/upload-artifact":
                for path in paths(step):
                    must((here / path).exists(), f"there is no {path} to upload")
        else:
            own = {key: filled(value, known) for key, value in step.env.items()}
            work.run([*step.shell, "-c", filled(step.run, known)], here, env={**runner, **own})
    must("pr comment 7 --edit-last --create-if-none --body-file probe.md" in noted.read_text(), "no comment")
    must(Path(runner["GITHUB_STEP_SUMMARY"]).stat().st_size > 0, "no step summary")


PARTS: dict[str, Callable[[Work], None]] = {
    "base": lambda work: without_model(work, ""),
    "judge": lambda work: without_model(work, "[judge]"),
    "hook": hook,
    "workflow": workflow,
    "action": action,
}


def main() -> int:
    """Run the parts; 1 where one came out otherwise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="probe-ci-"))
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    try:
        work = Work(folder.resolve())
        for name in asked.only:
            print(name, flush=True)
            try:
                PARTS[name](work)
            except Failed as error:
                failed.append(name)
                print(f"{name}: {error}", flush=True)
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(asked.only) - len(failed)} of {len(asked.only)} parts as they must be", *failed)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
