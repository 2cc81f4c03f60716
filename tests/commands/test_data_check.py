"""`probe data --check`, the mode of the commit hook: errors block, several files, nothing left behind."""

import json

GOOD = {
    "prompt": "How far is the station?",
    "chosen": "Four minutes on foot.",
    "rejected": "It is quite near.",
}
EMPTY = {"prompt": "How large is the kitchen?", "chosen": "", "rejected": "It is roomy."}


def write(folder, name, *rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_an_error_blocks_with_file_and_line_and_nothing_is_left_behind(probe, tmp_path):
    write(tmp_path, "a.jsonl", GOOD)
    write(tmp_path, "b.jsonl", GOOD, EMPTY)
    done = probe("data", "--check", "a.jsonl", "b.jsonl")
    assert done.code == 1, done.err
    assert "b.jsonl:2: PB301" in done.out and "a.jsonl" not in done.out
    assert done.out.splitlines()[-1].endswith("fixable with --fix")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_sound_files_pass_and_a_missing_one_is_a_usage_error(probe, tmp_path):
    write(tmp_path, "a.jsonl", GOOD)
    assert probe("data", "--check", "a.jsonl").code == 0
    assert probe("data", "--check", "none.jsonl").code == 2
    assert probe("data", "--check", "a.jsonl", "--out", "x").code == 2


def test_a_file_that_cannot_be_read_does_not_hide_what_the_others_hold(probe, tmp_path):
    write(tmp_path, "b.jsonl", GOOD, EMPTY)
    for order in (("b.jsonl", "none.jsonl"), ("none.jsonl", "b.jsonl")):
        done = probe("data", "--check", *order)
        assert done.code == 2 and "b.jsonl:2: PB301" in done.out and "none.jsonl: No such file" in done.err


def test_a_name_that_promises_another_form_is_refused_before_anything_is_read(probe, tmp_path):
    """Written as JSON Lines all the same, such a file could not be read again."""
    write(tmp_path, "b.jsonl", GOOD, EMPTY)
    for name in ("x.csv", "x.jsonl.gz", "x.parquet"):
        done = probe("data", "b.jsonl", "--fix", name)
        assert done.code == 2 and "Call it x.jsonl." in done.err and not (tmp_path / name).exists()
    assert probe("data", "b.jsonl", "--fix", "x.jsonl").code == 0


def test_an_accepted_finding_blocks_nothing_until_its_last_day(probe, tmp_path):
    write(tmp_path, "a.jsonl", GOOD, EMPTY)
    for until, code in (("2999-01-01", 0), ("2020-01-01", 1)):
        entry = f'[[accept]]\ncode = "PB301"\nreason = "empty on purpose"\nuntil = {until}\n'
        (tmp_path / "probe.toml").write_text(entry)
        assert probe("data", "--check", "a.jsonl").code == code
        shown = probe("data", "a.jsonl").out
        assert ("empty on purpose" in shown) and ("PB701" in shown) is bool(code)
    (tmp_path / "probe.toml").write_text(entry.replace("PB301", "PB320").replace("2020", "2999"))
    assert probe("data", "--check", "a.jsonl").code == 1


def test_what_is_accepted_stands_against_no_file(probe, tmp_path):
    """The hook passed such a file, and the report beside it said that it was not fit to train on."""
    rows = [{**GOOD, "prompt": f"{GOOD['prompt']} {i}", "chosen": f"{GOOD['chosen']} {i}"} for i in range(30)]
    write(tmp_path, "a.jsonl", *rows, {"prompt": "Which?", "chosen": "Both.", "rejected": "Both."})
    before = probe("data", "a.jsonl").out
    assert "not fit to train on" in before and "fixable with --fix" in before
    (tmp_path / "probe.toml").write_text('[[accept]]\ncode = "PB302"\nreason = "a control pair"\n')
    assert probe("data", "--check", "a.jsonl").code == 0
    done = probe("data", "a.jsonl")
    assert "not fit" not in done.out and "fixable" not in done.out
    assert "--fix" in before.split("MEASURED")[0] and "--fix" not in done.out
    assert "MEASURED  0 errors" in done.out and "1 accepted" in done.out
    assert "~ PB302" in done.out and "accepted: a control pair" in done.out
