"""`probe init`: what it writes is accepted by those who read it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from probe import config
from probe.commands.init_files import hook, starter_files
from probe.pairs.read import read_pairs


@pytest.fixture
def project(probe, tmp_path):
    done = probe("init", "--pairs", "data/pairs.jsonl", "--model", "org/name")
    assert done.code == 0, done.err
    return tmp_path


def test_the_config_is_one_that_probe_takes(probe, project):
    shown = probe("gate", "x", "--show-config")
    assert shown.code == 0, shown.err
    assert re.search(r"inconclusive +'fail' +probe\.toml", shown.out)
    assert config.find_config(project).table["model"] == "org/name"


def test_a_second_time_asks_for_nothing_that_is_there(probe, project):
    again = probe("init", "--pairs", "data/pairs.jsonl", "--model", "org/name")
    assert again.code == 0 and "add" not in again.out
    assert "- id: probe-data" in probe("init", "--pairs", "other/pairs.jsonl").out
    (project / ".pre-commit-config.yaml").write_text("repos: []\n")
    assert "add this to its repos" in probe("init", "--pairs", "data/pairs.jsonl").out


@pytest.mark.parametrize(
    "name", ["my pairs.jsonl", "a: b/pairs #1.jsonl", "$(x)/p.jsonl", "data/PAIRS-QUOTED.jsonl"]
)
def test_any_name_of_a_file_is_one_word_of_the_workflow(probe, tmp_path, name):
    done = probe("init", "--pairs", name, "--model", "org/name")
    assert done.code == 0, done.err
    made = yaml.safe_load((tmp_path / ".github/workflows/probe.yml").read_text())
    paths = [on for on in (made.get("on") or made[True]).values() if on and "paths" in on]
    assert paths and all(on["paths"][0] == name for on in paths)
    (run,) = [s["run"] for job in made["jobs"].values() for s in job["steps"] if "gate" in s.get("run", "")]
    assert shlex.split(run)[:3] == ["probe", "gate", name]
    (checked,) = yaml.safe_load((tmp_path / ".pre-commit-config.yaml").read_text())["repos"][-1]["hooks"]
    assert re.search(checked["files"], name)


@pytest.mark.parametrize("name", ["pairs.csv", "data/p.parquet", "p.jsonl.gz", "it's.jsonl"])
def test_sample_pairs_are_not_written_under_a_name_that_is_read_otherwise(probe, tmp_path, name):
    refused = probe("init", "--pairs", name)
    assert refused.code == 2 and name in refused.err and list(tmp_path.iterdir()) == []


def test_the_commented_limits_are_valid_when_uncommented(probe, tmp_path):
    text = starter_files("p.jsonl", None)["probe.toml"]
    uncommented = re.sub(r"^# (?=[a-z\[])", "", text, flags=re.MULTILINE)
    (tmp_path / "probe.toml").write_text(uncommented)
    assert tomllib.loads(uncommented)["gate"]["limits"]["surface-accuracy"] == 0.9
    done = probe("gate", "x", "--show-config")
    assert done.code == 0, done.err


def test_the_sample_pairs_are_pairs(project):
    pairs = list(read_pairs(project / "data/pairs.jsonl"))
    assert len(pairs) == 2 and all(pair.group for pair in pairs)


def test_the_workflow_passes_its_linter(project):
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not on the path")
    own = ["-ignore", 'label "gpu" is unknown']  # a label of the user's own runners
    done = subprocess.run(
        [actionlint, "-no-color", "-shellcheck=", "-pyflakes=", *own, ".github/workflows/probe.yml"],
        cwd=project, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_has_the_published_schema(project):
    check = pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    done = subprocess.run(
        [sys.executable, "-m", check.__name__, "--builtin-schema", "vendor.github-workflows",
         ".github/workflows/probe.yml"],
        cwd=project, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_needs_no_edit_on_a_plain_runner(project):
    (job,) = yaml.safe_load(starter_files("data/pairs.jsonl", None)[".github/workflows/probe.yml"])[
        "jobs"
    ].values()
    assert job["runs-on"] == "ubuntu-latest" and job["permissions"]["pull-requests"] == "write"
    commands = [step["run"] for step in job["steps"] if "run" in step]
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert commands[0].split("--no-deps ")[1] in makefile
    assert commands[1].split()[:3] == ["probe", "gate", "data/pairs.jsonl"]
    assert "--edit-last" in commands[2] and "--create-if-none" in commands[2]
    assert ".probe/" in (project / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("pairs", "hit", "miss"),
    [("data/p.jsonl", "data/x.jsonl", "other/x.jsonl"), ("p.jsonl", "x.jsonl", "sub/x.jsonl")],
)
def test_the_hook_takes_the_files_beside_the_pairs(pairs, hit, miss):
    (entry,) = yaml.safe_load("repos:\n" + hook(pairs))["repos"][0]["hooks"]
    assert entry["entry"] == "probe data --check"
    assert re.search(entry["files"], hit) and not re.search(entry["files"], miss)


def test_what_exists_is_kept(probe, project):
    (project / "probe.toml").write_text("alpha = 0.01\n")
    again = probe("init", "--pairs", "data/pairs.jsonl")
    assert again.code == 0 and "wrote" not in again.out
    assert (project / "probe.toml").read_text() == "alpha = 0.01\n"
