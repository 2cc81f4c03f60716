"""What a command may write over, what it may read, and what is checked before it starts."""

import errno
import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from probe import files
from probe.__main__ import _interrupted, main
from probe.errors import CannotMeasure, ProbeError
from probe.pairs.read import read_pairs
from probe.runs import STARTED, save_run

PAIRS = [
    {"prompt": f"What is {i}?", "chosen": f"It is the number {i} itself.", "rejected": f"No idea {i} at all."}
    for i in range(8)
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    files.protect([])


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path


@pytest.fixture
def run_file(gate_run, tmp_path):
    read = {**gate_run.inputs["pairs"], "path": "pairs.jsonl"}
    return save_run(replace(gate_run, inputs={**gate_run.inputs, "pairs": read}), tmp_path / "run")


def probe(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["probe", *map(str, arguments)])
    code = main()
    return code, *capsys.readouterr()


def snapshot(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


WRITERS = {
    "bias --format": ("bias", "pairs.jsonl", "--format", "json=pairs.jsonl"),
    "by another name": ("bias", "pairs.jsonl", "--format", "json=./run/../pairs.jsonl"),
    "by a link": ("bias", "pairs.jsonl", "--format", "json=link"),
    "data --fix": ("data", "pairs.jsonl", "--fix", "pairs.jsonl"),
    "data --fix, against": ("data", "pairs.jsonl", "--against", "other.jsonl", "--fix", "other.jsonl"),
    "label --export": ("label", "pairs.jsonl", "--report", "--export", "pairs.jsonl"),
    "negatives --export-trimmed": ("negatives", "pairs.jsonl", "--export-trimmed", "pairs.jsonl"),
    "negatives --drop-suspect": ("negatives", "pairs.jsonl", "--drop-suspect", "pairs.jsonl"),
    "trial --export-trimmed": ("trial", "pairs.jsonl", "--export-trimmed", "pairs.jsonl"),
    "sample --to": ("sample", "pairs.jsonl", "--to", "pairs.jsonl"),
    "report": ("report", "run/run.json", "--format", "html=run/run.json"),
    "report of a directory": ("report", "run", "--format", "html=run/run.json"),
    "report, the pairs of the run": ("report", "run", "--format", "json=pairs.jsonl"),
    "reports, the pairs of a run": ("report", "run", "run", "--format", "html=pairs.jsonl"),
    "gate of a saved run, its pairs": ("gate", "run", "--format", "junit=pairs.jsonl"),
    "gate --out": ("gate", "run", "--out", "run"),
    "gate --baseline": ("gate", "pairs.jsonl", "--baseline", "run", "--format", "json=run/run.json"),
    "the config": ("report", "run", "--format", "json=probe.toml"),
    "autopsy": ("autopsy", "run/run.json", "--out", "run"),
}


@pytest.mark.parametrize("arguments", WRITERS.values(), ids=WRITERS)
def test_an_input_is_never_overwritten(arguments, pairs, run_file, tmp_path, monkeypatch, capsys):
    (tmp_path / "other.jsonl").write_text(pairs.read_text())
    (tmp_path / "probe.toml").write_text("seed = 1\n")
    (tmp_path / "link").symlink_to("pairs.jsonl")
    before = snapshot(tmp_path)
    code, out, err = probe(monkeypatch, capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert snapshot(tmp_path) == before


def test_a_link_is_followed_and_stays_a_link(run_file, tmp_path, monkeypatch, capsys):
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "link.json").symlink_to("target.json")
    assert probe(monkeypatch, capsys, "report", run_file, "--format", "json=link.json")[0] == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "target.json").read_text())["schema_version"] == 1


@pytest.mark.parametrize("kind", ["fifo", "dangling", "device", "directory", "loop"])
def test_what_is_no_file_is_never_replaced(kind, run_file, tmp_path, monkeypatch, capsys):
    place = tmp_path / "place"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind in ("dangling", "loop"):
        place.symlink_to("nothing" if kind == "dangling" else "place")
    elif kind == "device":
        place = Path("/dev/null")
    else:
        place.mkdir()
    before = os.lstat(place)
    code, _, err = probe(monkeypatch, capsys, "report", run_file, "--format", f"json={place}")
    assert (code, err.count("\n")) == (2, 1)
    assert stat.S_IFMT(os.lstat(place).st_mode) == stat.S_IFMT(before.st_mode)
    assert os.lstat(place).st_ino == before.st_ino


@pytest.mark.parametrize(
    "command", ["bias", "data", "gate", "negatives", "label", "sample", "report", "autopsy"]
)
@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/dev/null"])
def test_a_pipe_or_device_is_refused_at_once(command, kind, tmp_path, monkeypatch, capsys):
    path = tmp_path / "pipe.jsonl" if kind == "fifo" else Path(kind)
    if kind == "fifo":
        os.mkfifo(path)
    code, out, err = probe(monkeypatch, capsys, command, path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pipe or device" in err
    with pytest.raises(ProbeError, match="pipe or device"):
        list(read_pairs(path))


def test_out_is_checked_before_anything_is_read(pairs, run_file, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing" / "deep")
    for out in ("file", "file/below", "/proc/nowhere/x", "dangling", "dangling/below"):
        for command in (("bias", "pairs.jsonl"), ("gate", "pairs.jsonl"), ("data", "pairs.jsonl")):
            code, printed, err = probe(monkeypatch, capsys, *command, "--out", out)
            assert (code, printed, err.count("\n")) == (2, "", 1), err
    assert not (tmp_path / ".probe").exists()


def test_a_gate_is_reported_though_it_cannot_be_noted(pairs, tmp_path, monkeypatch, capsys):
    """A working directory that cannot be written: `.probe` is a file there, which stops root as well."""
    (tmp_path / ".probe").write_text("")
    off = [f"--no-{name}" for name in ("numerics", "bias", "negatives", "trial")]
    code, out, err = probe(monkeypatch, capsys, "gate", pairs, *off, "--out", tmp_path / "elsewhere")
    assert code == 1
    assert "inconclusive" in out.lower() and (tmp_path / "elsewhere" / "run.json").exists()
    assert "not noted" in err


@pytest.mark.parametrize(
    "command",
    ["bias", "data", "negatives", "gate", "trial", "label --report", "levers --shots 2", "effects", "sample"],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(
    command, pairs, tmp_path, monkeypatch, capsys
):
    """All had been measured first, and "exit code 0" printed, and the end was 3 with "free some space"."""
    (tmp_path / ".probe").write_text("")
    name, *more = command.split()
    model = [] if name in ("data", "label") else ["--model", "/nowhere"]
    code, out, err = probe(monkeypatch, capsys, name, pairs, *more, *model)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert ".probe: not a directory" in err and "--out names one" in err and "space" not in err


def test_what_writes_no_run_needs_no_place_for_one(pairs, run_file, tmp_path, monkeypatch, capsys):
    (tmp_path / ".probe").write_text("")
    assert probe(monkeypatch, capsys, "data", pairs, "--check")[0] == 0
    assert probe(monkeypatch, capsys, "report", run_file)[0] == 0
    assert probe(monkeypatch, capsys, "data", pairs, "--out", tmp_path / "elsewhere")[0] == 0


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "Free some space or choose another place."), (errno.EROFS, "Choose another place.")],
)
def test_space_is_asked_for_where_it_is_lacking(number, remedy, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.tempfile, "mkstemp", refused)
    with pytest.raises(CannotMeasure, match=rf"file: {os.strerror(number)}\. {remedy}$"):
        files.write_text(tmp_path / "file", "x")


@pytest.mark.parametrize("stem", ["x" * 240, "好" * 80])
def test_a_long_name_of_a_pair_file_is_measured(stem, pairs, tmp_path, monkeypatch, capsys):
    """The directory of its run had a name that is too long, told after the measuring."""
    pairs.rename(tmp_path / f"{stem}.jsonl")
    assert probe(monkeypatch, capsys, "data", f"{stem}.jsonl")[0] == 0
    (made,) = (tmp_path / ".probe/runs").iterdir()
    assert f"-data-{stem[:60]}" in made.name
    fixed = f"{'x' * 236}.jsonl"  # which leaves no room for the name of its log
    code, _, err = probe(monkeypatch, capsys, "data", f"{stem}.jsonl", "--fix", fixed)
    assert (code, err.count("\n")) == (2, 1) and "has at most 255" in err


@pytest.mark.parametrize(
    "arguments",
    [("NAME",), ("pairs.jsonl", "--fix", "NAME"), ("pairs.jsonl", "--out", "NAME"),
     ("pairs.jsonl", "--format", "html=NAME"), ("pairs.jsonl", "--against", "NAME")],
)  # fmt: skip
def test_a_name_that_no_file_can_have_is_one_line(arguments, pairs, monkeypatch, capsys):
    given = [word.replace("NAME", f"{'x' * 300}.jsonl") for word in arguments]
    code, out, err = probe(monkeypatch, capsys, "data", *given)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "a name of 306 bytes" in err


@pytest.mark.parametrize(
    "arguments",
    [("--fix", "f.jsonl", "--format", "markdown=f.jsonl"), ("--out", "d", "--format", "html=d/run.json"),
     ("--format", "json=f", "--format", "html=./f"),
     ("--fix", "f.jsonl", "--format", "json=f.jsonl.dropped.jsonl")],
)  # fmt: skip
def test_two_outputs_are_never_one_file(arguments, pairs, tmp_path, monkeypatch, capsys):
    code, out, err = probe(monkeypatch, capsys, "data", pairs, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and "Give each its own name" in err
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_outputs_of_their_own_names_are_all_written(pairs, tmp_path, monkeypatch, capsys):
    given = ("--fix", "f.jsonl", "--out", "d", "--format", "html=d/report.html", "--format", "json=j")
    assert probe(monkeypatch, capsys, "data", pairs, *given)[0] == 0
    assert {path.name for path in tmp_path.rglob("*")} >= {"f.jsonl", "run.json", "report.html", "j"}


@pytest.mark.parametrize(
    ("words", "claimed", "told"),
    [
        (["train", "p.jsonl"], None, "the same command goes"),
        (["train", "p.jsonl"], ".probe/runs/1-train-p", "the same command with --resume goes"),
        (["train", "p.jsonl", "--out", "o"], "o", "the same command with --resume goes"),
        (["train", "p.jsonl", "--out=o"], ".probe/runs/1-train-p", "the same command goes"),
        (["train", "p.jsonl", "--resume"], ".probe/runs/1-train-p", "the same command goes"),
        (["bias", "p.jsonl"], ".probe/runs/1-train-p", "the same command goes"),
    ],
)
def test_resume_is_named_once_there_is_something_to_resume(
    words, claimed, told, tmp_path, monkeypatch, capsys
):
    """Before the training had a directory, --resume found "no earlier training on it"."""
    monkeypatch.setattr(sys, "argv", ["probe", *words])
    if claimed:
        (tmp_path / claimed).mkdir(parents=True)
        (tmp_path / claimed / STARTED).write_text("{}")
    old = tmp_path / ".probe/runs/0-train-p"
    old.mkdir(parents=True)
    (old / STARTED).write_text("{}")
    os.utime(old / STARTED, (0, 0))  # an earlier training's
    assert _interrupted() == 130 and f"{told} on from there" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_training_asks_for_its_place_before_the_model_is_loaded(method, pairs, tmp_path, monkeypatch, capsys):
    """Without --out it would write its first checkpoint into a working directory that cannot be written."""
    (tmp_path / ".probe").write_text("")
    path = tmp_path / "answers.jsonl"
    rows = [{"prompt": f"p{i}", "completion": f"c{i}", "label": i % 2 == 0} for i in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = path if method == "kto" else pairs
    code, out, err = probe(monkeypatch, capsys, "train", read, "--method", method, "--model", "/nowhere")
    assert (code, out, err.count("\n")) == (2, "", 1) and ".probe: not a directory" in err


@pytest.mark.parametrize("text", ["[tool.other\nx", "\xff\xfe", "a = [" * 2000])
def test_another_tools_broken_pyproject_stops_nothing(text, pairs, tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_bytes(text.encode("latin-1"))
    assert probe(monkeypatch, capsys, "data", pairs)[0] == 0


@pytest.mark.parametrize(
    "text",
    ["[tool.probe]\nx = = 1", "[tool.probe]\nnonsense = 1", '[tool.probe]\nalpha = "a"', "[tool]\nprobe = 1"],
)
def test_our_own_broken_config_stops_what_needs_it_only(text, pairs, tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_text(text)
    code, out, err = probe(monkeypatch, capsys, "data", pairs)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert probe(monkeypatch, capsys, "explain", "PB101")[0] == 0
    assert probe(monkeypatch, capsys, "data", "--help")[0] == 0


def test_a_truncated_zst_is_an_error_wherever_it_ends(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    content = "".join(
        json.dumps({**row, "prompt": os.urandom(64).hex()}) + "\n" for row in PAIRS * 400
    ).encode()
    frame = zstandard.ZstdCompressor().compress(content)
    path = tmp_path / "p.jsonl.zst"
    for whole in (frame, frame + frame.replace(b"", b"")):
        path.write_bytes(whole)
        assert sum(1 for _ in read_pairs(path)) == 3200 * (len(whole) // len(frame))
    for end in {1, 5, len(frame) // 3, len(frame) // 2, len(frame) - 5, len(frame) - 1}:
        path.write_bytes(frame[:end])
        with pytest.raises(ProbeError, match="cannot be unpacked"):
            list(read_pairs(path))
    path.write_bytes(frame + frame[: len(frame) // 2])
    with pytest.raises(ProbeError, match="cannot be unpacked"):
        list(read_pairs(path))


BROKEN = [
    *PAIRS,
    {"id": "3", **PAIRS[0], "prompt": "an id that a line number takes"},
    {"id": "twice", **PAIRS[1], "prompt": "a"},
    {"id": "twice", **PAIRS[2], "prompt": "b"},
    {"prompt": "p", "chosen": "  ", "rejected": "x y"},
    {"prompt": "p", "chosen": "...", "rejected": "x y"},
    {"prompt": "p", "chosen": 5, "rejected": "x y"},
    {"prompt": "p", "chosen": "a b"},
]


def test_what_fix_writes_is_read(tmp_path, monkeypatch, capsys):
    path, fixed = tmp_path / "b.jsonl", tmp_path / "fixed.jsonl"
    lines = [json.dumps(row) for row in BROKEN]
    path.write_text(
        "\n".join([*lines, '{"prompt": "p", "chosen": "q r", "rejected": "x y", "m": NaN}', "{"]) + "\n"
    )
    code, _, err = probe(monkeypatch, capsys, "data", path, "--fix", fixed)
    assert code == 0, err
    kept = list(read_pairs(fixed))
    log = [json.loads(line) for line in Path(f"{fixed}.dropped.jsonl").read_text().splitlines()]
    assert len(kept) + len(log) == len(BROKEN) + 2
    assert f"{len(kept)} rows kept, {len(log)} dropped" in err
    assert all(row["reason"] for row in log)


def test_a_store_that_turns_out_damaged_is_set_aside(tmp_path):
    import numpy as np

    from probe.scoring.scores import EncodedSide
    from probe.scoring.store import Store

    sides = [EncodedSide(tuple(range(i, i + 40)), 4, 90) for i in range(400)]
    values = [np.full(36, -1, dtype=np.float32) for _ in sides]
    path = tmp_path / "scores.sqlite"
    store = Store(path, b"key")
    store.put(sides, values)
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)  # the header and the schema stay whole
    path.write_bytes(data)
    store = Store(path, b"key")
    assert store.get(sides[:3]) == [None] * 3
    assert path.with_name("scores.sqlite.bad").exists()
    store.put(sides, values)
    assert all(found is not None for found in store.get(sides))
    store.close()


def test_pairs_that_a_killed_sample_left_are_its_own(tmp_path):
    from probe.probes.sample.output import write_new

    target = tmp_path / "to.jsonl"
    write_new(PAIRS, target)
    before = target.stat()
    write_new(PAIRS, target)  # the same command again
    after = target.stat()  # which reads it: the time of the last access may change
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    with pytest.raises(ProbeError, match="other pairs"):
        write_new(PAIRS[:-1], target)
    assert [path.name for path in tmp_path.iterdir()] == ["to.jsonl"]


@pytest.mark.parametrize("left", ["nothing", "these pairs", "other pairs"])
def test_where_a_disk_has_no_links_new_pairs_are_written_all_the_same(tmp_path, monkeypatch, left):
    """As on exFAT, where `link` is not permitted."""
    from probe.probes.sample.output import write_new

    target = tmp_path / "to.jsonl"
    if left != "nothing":
        write_new(PAIRS if left == "these pairs" else PAIRS[:-1], target)
    before = target.read_bytes() if target.exists() else b""

    def refused(source, name):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    if left == "other pairs":
        with pytest.raises(ProbeError, match="other pairs"):
            write_new(PAIRS, target)
        assert target.read_bytes() == before
    else:
        write_new(PAIRS, target)
        assert [json.loads(line) for line in target.read_text().splitlines()] == PAIRS
    assert [path.name for path in tmp_path.iterdir()] == ["to.jsonl"]


@pytest.fixture
def homeless(monkeypatch):
    """A user without HOME and without an entry in the list of users, as in a container run by a number."""
    for name in ("HOME", "USERPROFILE", "PROBE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    files._homeless.cache_clear()
    yield
    files._homeless.cache_clear()


def test_without_a_home_the_cache_is_a_folder_of_the_process(homeless, capsys):
    place = files.cache_dir()
    assert place.is_dir() and files.cache_dir() == place
    assert capsys.readouterr().err.count("no home directory") == 1


@pytest.mark.parametrize("variable", ["PROBE_CACHE", "XDG_CACHE_HOME"])
def test_a_cache_that_is_named_needs_no_home(homeless, monkeypatch, tmp_path, capsys, variable):
    monkeypatch.setenv(variable, str(tmp_path / "own"))
    assert files.cache_dir().is_relative_to(tmp_path / "own") and capsys.readouterr().err == ""


@pytest.mark.parametrize("variable", ["PROBE_CACHE", "XDG_CACHE_HOME"])
def test_a_cache_in_the_home_is_no_folder_of_that_sign(variable, monkeypatch, tmp_path):
    """No shell has read the value where a workflow or a service file sets it."""
    monkeypatch.delenv("PROBE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(variable, "~/own")
    assert files.cache_dir().is_relative_to(tmp_path / "home/own")


def test_a_path_in_a_home_that_is_not_there_is_as_it_stands(homeless):
    assert files.in_home("~/model") == Path("~/model")


@pytest.mark.parametrize("option", ["--model", "--tokenizer", "--adapter"])
def test_a_home_of_nobody_is_one_line(probe, option, tmp_path, tiny_model_dir):
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    model = {
        "--model": [],
        "--adapter": ["--model", tiny_model_dir],
        "--tokenizer": ["--model", "http://127.0.0.1:9/v1"],
    }
    done = probe("bias", "pairs.jsonl", *model[option], option, "~nobody-of-this-name/model")
    assert done.code == 2 and "~nobody-of-this-name/model" in done.line
