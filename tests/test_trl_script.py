"""The script of docs/in-a-trl-script.md, run as it is printed there."""

import json
import re
import sys
from pathlib import Path

import pytest

import probe

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("datasets")

PAGE = Path(__file__).resolve().parent.parent / "docs" / "in-a-trl-script.md"
NOUNS = ("tree", "stone", "river", "cloud", "lamp", "road", "bird", "door", "leaf", "boat", "wall", "seed")
VERBS = ("grows", "falls", "turns", "waits", "shines", "bends", "sings", "opens")
LINE = "callbacks=[probe.Preflight()],"


def script():
    return re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]


def rows(kind, n=60):
    for i in range(n):
        sound = f" It {VERBS[(i + 3) % 8]} beside the {NOUNS[(i + 7) % 12]} number {i}."
        yield {
            "prompt": f"What does the {NOUNS[i % 12]} do on day {i}?",
            "chosen": f" It {VERBS[i % 8]} beside the {NOUNS[(i + 5) % 12]} number {i}.",
            "rejected": sound if kind == "sound" else f" Sorry, nothing on {i}. Please ask the support team.",
        }


@pytest.fixture
def run(tiny_model_dir, tmp_path, monkeypatch):
    """Runs the script's text; returns its trainer and the state of the random generator after it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def go(text, *, reference=None, dtype="float32", kind="sound"):
        pairs = tmp_path / f"{kind}.jsonl"
        pairs.write_text("".join(json.dumps(row) + "\n" for row in rows(kind)), encoding="utf-8")
        where = (
            str(tiny_model_dir),
            str(reference or tiny_model_dir),
            str(pairs),
            dtype,
            str(tmp_path / "out"),
        )
        monkeypatch.setattr(sys, "argv", ["train.py", *where])
        names = {}
        torch.manual_seed(7)
        exec(compile(text, str(PAGE), "exec"), names)
        return names["trainer"], torch.get_rng_state()

    return go


@pytest.fixture(scope="module")
def other_model(tiny_model_dir, tmp_path_factory):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = tmp_path_factory.mktemp("other")
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    model.save_pretrained(place)
    AutoTokenizer.from_pretrained(tiny_model_dir).save_pretrained(place)
    return place


def test_it_is_thirty_lines_and_one_of_them_is_ours():
    assert len(script().splitlines()) <= 34 and script().count(LINE) == 1


@pytest.mark.parametrize(
    ("case", "code"), [("float16", "PB001"), ("reference", "PB011"), ("templated", "PB201")]
)
def test_it_stops_what_cannot_train(run, other_model, case, code):
    how = {
        "float16": {"dtype": "float16"},
        "reference": {"reference": other_model},
        "templated": {"kind": case},
    }
    with pytest.raises(probe.PreflightFailed) as stopped:
        run(script(), **how[case])
    assert any(finding.code == code for finding in stopped.value.findings)


def test_a_good_run_is_bit_for_bit_the_run_without_it(run):
    with_it, state = run(script())
    without, other = run(script().replace(LINE, ""))
    logs = [[row["loss"] for row in t.state.log_history if "loss" in row] for t in (with_it, without)]
    assert logs[0] == logs[1] and len(logs[0]) == 4
    assert torch.equal(state, other)
    a, b = (dict(t.model.named_parameters()) for t in (with_it, without))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
