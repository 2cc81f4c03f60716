"""What a path given to the gate is: a saved run, or a pair file."""

import pytest

from probe.gate.settings import is_run

KEY = '"schema_version"'


@pytest.mark.parametrize(
    ("name", "text", "run"),
    [
        ("run.json", None, True),  # it is not there, and is told so as a run
        ("other.json", None, False),
        ("pairs.jsonl", None, False),
        ("run.json", "{" + KEY, True),
        ("other.json", "{" + KEY, True),
        ("run.json", "[]", False),
        ("pairs.jsonl", "{" + KEY, False),
        ("other.json", KEY.rjust(200), True),
        ("other.json", KEY.rjust(201), False),
    ],
)
def test_a_saved_run_is_known_by_how_it_begins(tmp_path, name, text, run):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    assert is_run(path) is run


def test_a_directory_is_a_run_where_it_holds_one(tmp_path):
    assert not is_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert is_run(tmp_path)
