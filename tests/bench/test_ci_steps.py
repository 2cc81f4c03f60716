"""The steps that `bench/ci_run.py` executes: our whole workflow and action can be read, filled and judged."""

import importlib.util
import sys
from pathlib import Path

import pytest

from probe.commands.init_files import starter_files

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def steps():
    spec = importlib.util.spec_from_file_location("ci_steps", ROOT / "bench/ci_steps.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["ci_steps"] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


VALUES = {
    "github.event_name": "pull_request",
    "github.event.pull_request.number": "7",
    "github.token": "t",
    "github.action_path": "/action",
    "inputs.model": "",
    "inputs.pairs": "p.jsonl",
    "inputs.args": "",
    "inputs.comment": "true",
    "inputs.token": "t",
}


def both(steps):
    yield steps.of_workflow(starter_files("pairs.jsonl", None)[".github/workflows/probe.yml"])
    yield steps.of_action((ROOT / "action.yml").read_text())


def test_every_step_can_be_executed_or_replaced(steps, tmp_path):
    for found in both(steps):
        assert [bool(step.run) != bool(step.uses) for step in found] == [True] * len(found)
        for step in found:
            assert "${{" not in steps.filled(step.run, VALUES)
            assert all("${{" not in steps.filled(value, VALUES) for value in step.env.values())
            steps.holds(step.when, VALUES, tmp_path)


def test_the_package_is_installed_before_it_is_run_and_the_comment_comes_after(steps):
    for found in both(steps):
        order = [
            next(i for i, s in enumerate(found) if word in s.run)
            for word in ("pip install", "probe gate", "gh pr")
        ]
        assert order == sorted(order)


def test_no_input_stands_in_a_script_itself(steps):
    """What a user types reaches a script as an environment variable, never as a part of its text."""
    for step in steps.of_action((ROOT / "action.yml").read_text()):
        assert "${{" not in step.run


def test_a_comment_needs_a_pull_request_and_a_report(steps, tmp_path):
    (comment,) = [s for s in next(both(steps)) if "gh pr" in s.run]
    assert not steps.holds(comment.when, VALUES, tmp_path)
    (tmp_path / "probe.md").write_text("x")
    assert steps.holds(comment.when, VALUES, tmp_path)
    assert not steps.holds(comment.when, {**VALUES, "github.event_name": "push"}, tmp_path)


@pytest.mark.parametrize("text", ["${{ secrets.X }}"])
def test_a_hole_is_an_error(steps, text, tmp_path):
    with pytest.raises(ValueError, match="no value"):
        steps.filled(text, VALUES)
    with pytest.raises(ValueError, match="not read here"):
        steps.holds("failure()", VALUES, tmp_path)


def test_the_paths_to_upload_are_those_that_the_gate_writes(steps):
    for found in both(steps):
        gate = next(step.run for step in found if "probe gate" in step.run)
        uploaded = [
            path for step in found if step.uses == "actions/upload-artifact" for path in steps.paths(step)
        ]
        assert uploaded and all(path in gate for path in uploaded)
