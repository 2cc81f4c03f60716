"""Pair files that are damaged, endless or hostile: read, or refused line by line; never a crash."""

import gzip
import json
import random
import struct

import pytest
from in_process import PAIRS

from probe.pairs import delimited, jsonl

ROW = json.dumps(PAIRS[0])
TEXTS = [
    "\x1b]0;title\x07",
    "::error::x",
    "\u202etrap",
    "\x00",
    "a\rb",
    "\ud7ff",
    "🙂" * 50,
    "%0A::warning",
    "x" * 5000,
]
FILES = {
    "empty": b"",
    "blank": b"\n \n\t\n",
    "bom-alone": b"\xef\xbb\xbf",
    "utf-16": ROW.encode("utf-16"),
    "latin-1": '{"prompt": "é", "chosen": "a", "rejected": "b"}'.encode("latin-1"),
    "noise": bytes(random.Random(0).randbytes(5000)),
    "nul": b"\0" * 4096,
    "deep": b'{"prompt": ' + b"[" * 100_000,
    "deep-array": b"[" * 100_000,
    "cut": ROW[:-5].encode(),
    "number": b"1\n2\n",
    "huge-number": b'{"prompt": 1' + b"0" * 10_000 + b', "chosen": "a", "rejected": "b"}',
    "nan": b'{"prompt": NaN, "chosen": "a", "rejected": "b"}',
    "half-surrogate": b'{"prompt": "\\ud800", "chosen": "a", "rejected": "b"}',
    "twice": b'{"prompt": "a", "prompt": "b", "chosen": "c", "rejected": "d"}',
    "array-of-null": b"[null, null]",
    "array-cut": f"[{ROW},".encode(),
    "lists": b'{"prompt": [], "chosen": [], "rejected": []}',
    "turns-without-role": b'{"prompt": "p", "chosen": [{"content": "a"}], "rejected": [{"content": "b"}]}',
    "turns-of-numbers": b'{"prompt": "p", "chosen": [1], "rejected": [{"role": 1, "content": {}}]}',
    "nothing-in-it": b'{"prompt": "", "chosen": "", "rejected": ""}\n' * 5,
    "same-sides": b'{"prompt": "p", "chosen": "a", "rejected": "a"}\n' * 5,
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello\x94.",
    "page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123\n",
    "key-with-escapes": '{"\u001b[31mprompt": "a", "chosen": "b"}'.encode(),
}  # fmt: skip
PACKED = {
    "no.gz": ("a.jsonl.gz", ROW.encode()),
    "cut.gz": ("a.jsonl.gz", gzip.compress(ROW.encode() * 50)[:40]),
    "bad-sum.gz": ("a.jsonl.gz", gzip.compress(ROW.encode())[:-8] + struct.pack("<II", 1, 2)),
    "no.zst": ("a.jsonl.zst", ROW.encode()),
    "no.parquet": ("a.parquet", ROW.encode()),
    "cut.parquet": ("a.parquet", b"PAR1" + b"\0" * 50),
    "quote.csv": ("a.csv", b'prompt,chosen,rejected\n"a,b,c\n'),
    "wide.csv": ("a.csv", b"prompt,chosen,rejected\n1,2,3,4\n"),
    "twice.csv": ("a.csv", b"prompt,prompt,chosen\n1,2,3\n"),
    "bytes.tsv": ("a.tsv", b"prompt\tchosen\trejected\n\xff\t\xfe\tc\n"),
}


def check(done):
    if done.code == 2:
        assert done.out == "" and any(line.startswith("probe: ") for line in done.err.splitlines()), done


@pytest.mark.parametrize("command", [("data",), ("bias", "--stop-early")], ids=lambda c: c[0])
@pytest.mark.parametrize("name", FILES)
def test_a_file(probe, tmp_path, tiny_model_dir, command, name):
    (tmp_path / "pairs.jsonl").write_bytes(FILES[name])
    model = ("--model", tiny_model_dir) if command[0] == "bias" else ()
    done = probe(command[0], "pairs.jsonl", *model)
    check(done)
    if command[0] == "bias" and name not in ("latin-1",):
        assert done.code in (2, 3), done


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_file_or_table(probe, tmp_path, name):
    file, data = PACKED[name]
    (tmp_path / file).write_bytes(data)
    done = probe("data", file)
    check(done)
    assert done.code in (1, 2), done


def test_texts_with_controls_go_through_every_report(probe, tmp_path, tiny_model_dir):
    rows = [{"prompt": f"{a}{i}", "chosen": b, "rejected": f"{a} no", "id": f"{a}{i}", "group": b}
            for i, (a, b) in enumerate(zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True))]  # fmt: skip
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = probe("bias", "pairs.jsonl", "--model", tiny_model_dir, "--templates", "none", "--out", "run")
    assert done.code == 0, done
    for format in ("text", "markdown", "html", "json", "junit", "github"):
        assert probe("data", "pairs.jsonl", "--format", format).code in (0, 1)
        assert probe("report", "run", "--format", format).code == 0


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.json"])
def test_a_line_without_end_ends_at_a_limit(probe, tmp_path, monkeypatch, name):
    """A small packed file can unpack to a line of any length: it is not read to its end, nor kept."""
    for module in (jsonl, delimited):
        monkeypatch.setattr(module, "MAX_LINE", 1 << 20)
    monkeypatch.setattr(jsonl, "MAX_ARRAY", 1 << 22)
    data = b"[" * (name == "a.json") + b"a" * (1 << 24)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    done = probe("bias", name)
    check(done)
    assert done.code == 2 and (
        "longer than" in done.err or "more than" in done.err or "not JSON" in done.err
    ), done
