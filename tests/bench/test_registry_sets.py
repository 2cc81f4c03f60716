"""The sets of a public wheel: the right side is the chosen one, whatever its letter or number."""

import json
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
registry_sets, validity = import_module("registry_sets"), import_module("validity")

SAMPLES = {
    "social": [
        ("Kim lost a key. What will Kim do? A: sing a song; B: look for it; C: sleep.", "B"),
        ("No endings here.", "A"),
    ],
    "swapped": [('Swap:"ab cd"', '"cd ab"')],
    "likelihood": [("I boil water. How will this change it?", "more likely")],
    "calque": [
        ("Я _______ прийду.\n\n1 - так.\n2 - теж.", "2 - теж."),
        ("Я _______.\n\n1 - а.\n2 - а.", "1 - а."),
    ],
}


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "made.whl"
    with zipfile.ZipFile(path, "w") as made:
        for name, samples in SAMPLES.items():
            lines = [
                json.dumps({"input": [{"role": "user", "content": question}], "ideal": ideal})
                for question, ideal in samples
            ]
            made.writestr(f"evals/registry/data/{registry_sets.SETS[name][0]}.jsonl", "\n".join(lines))
    return path


def test_the_right_side_is_chosen_and_the_bench_reads_the_sets(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["registry_sets.py", str(wheel), str(tmp_path / "sets")])
    assert registry_sets.main() == 0
    monkeypatch.setattr(validity, "FOLDERS", [tmp_path / "sets"])
    (social,) = validity.rows_of("social")
    assert (social["prompt"], social["chosen"]) == ("Kim lost a key. What will Kim do?", "Look for it.")
    assert social["rejected"] in ("Sing a song.", "Sleep.")
    (swapped,) = validity.rows_of("swapped")
    assert (swapped["chosen"], swapped["rejected"]) == ('"cd ab"', '"ab cd"')
    (likelihood,) = validity.rows_of("likelihood")
    assert likelihood["chosen"] == "More likely." and likelihood["rejected"] != likelihood["chosen"]
    (calque,) = validity.rows_of("calque")
    assert (calque["chosen"], calque["rejected"]) == ("теж", "так")
