"""`probe data --check`, the mode of the commit hook: errors block, several files, nothing left behind."""

import json
import subprocess
import sys

GOOD = {
    "prompt": "How far is the station?",
    "chosen": "Four minutes on foot.",
    "rejected": "It is quite near.",
}
EMPTY = {"prompt": "How large is the kitchen?", "chosen": "", "rejected": "It is roomy."}


def check(folder, *names):
    command = [sys.executable, "-m", "probe", "data", "--check", *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def write(folder, name, *rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_an_error_blocks_with_file_and_line_and_nothing_is_left_behind(tmp_path):
    write(tmp_path, "a.jsonl", GOOD)
    write(tmp_path, "b.jsonl", GOOD, EMPTY)
    done = check(tmp_path, "a.jsonl", "b.jsonl")
    assert done.returncode == 1, done.stderr
    assert "b.jsonl:2: PB301" in done.stdout and "a.jsonl" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith("fixable with --fix")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_sound_files_pass_and_a_missing_one_is_a_usage_error(tmp_path):
    write(tmp_path, "a.jsonl", GOOD)
    assert check(tmp_path, "a.jsonl").returncode == 0
    assert check(tmp_path, "none.jsonl").returncode == 2
    assert check(tmp_path, "a.jsonl", "--out", "x").returncode == 2
