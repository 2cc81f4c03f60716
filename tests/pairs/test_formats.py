"""Every format gives the same pairs as JSON Lines, with the place of each, and clear errors."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.pairs.fields import parse_fields
from probe.pairs.formats import OPENERS
from probe.pairs.read import read_pairs
from probe.pairs.record import Pair

SHARED = Path(__file__).parents[2].parent / "shared/data"
ROWS = [
    {"prompt": "Why, though?", "chosen": 'Because\nof "light".', "rejected": "Ünïcödé", "group": "sky"},
    {"prompt": "Who\tthen?", "chosen": "Nobody.", "rejected": "Some one.", "group": "people"},
]
WANTED = [(row["prompt"], row["chosen"], row["rejected"], row["group"]) for row in ROWS]


def table(delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode("utf-8-sig")


def parquet() -> bytes:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


def arrow(kind: str) -> bytes:
    """A stream, as `datasets` keeps its tables, and a file, as Feather is."""
    pa = pytest.importorskip("pyarrow")
    made = pa.Table.from_pylist(ROWS)
    sink = io.BytesIO()
    writer = (pa.ipc.new_stream if kind == ".arrow" else pa.ipc.new_file)(sink, made.schema)
    writer.write_table(made)
    writer.close()
    return sink.getvalue()


def contents(kind: str) -> bytes:
    match kind:
        case ".jsonl":
            return "\n".join(map(json.dumps, ROWS)).encode()
        case ".json":
            return json.dumps(ROWS, indent=2).encode()
        case ".csv" | ".tsv":
            return table("," if kind == ".csv" else "\t")
        case ".arrow" | ".feather":
            return arrow(kind)
        case _:
            return parquet()


def packed(data: bytes, packing: str) -> bytes:
    if packing in (".gz", ".bz2", ".xz"):
        return {".gz": gzip, ".bz2": bz2, ".xz": lzma}[packing].compress(data)
    return pytest.importorskip("zstandard").compress(data) if packing == ".zst" else data


def fields_of(pairs: list[Pair]) -> list[tuple[object, ...]]:
    return [(pair.prompt, pair.chosen, pair.rejected, pair.group) for pair in pairs]


@pytest.mark.parametrize("packing", ["", ".gz", ".zst", ".bz2", ".xz"])
@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather"])
def test_every_format_gives_the_same_pairs(tmp_path: Path, kind: str, packing: str) -> None:
    path = tmp_path / f"p{kind}{packing}"
    path.write_bytes(packed(contents(kind), packing))
    assert fields_of(list(read_pairs(path))) == WANTED


def lines_of(path: Path, content: str) -> list[int]:
    path.write_text(content, encoding="utf-8")
    return [pair.line for pair in read_pairs(path)]


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    row = '{"chosen": "a b", "rejected": "c d"}'
    assert lines_of(tmp_path / "a.json", f"[\n{row},\n\n{row}\n]\n") == [2, 4]
    assert lines_of(tmp_path / "b.json", f"[{row}, {row}]") == [1, 2]  # one line: rows are numbered
    assert lines_of(tmp_path / "c.json", f"{row}\n{row}\n") == [1, 2]  # JSON Lines by another name
    assert lines_of(tmp_path / "d.csv", 'chosen,rejected\n"a\n b",c\nd,e\n') == [2, 4]


def error_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ProbeError) as caught:
        list(read_pairs(path))
    return str(caught.value).replace(str(path), "f")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"chosen": "a", "rejected": "b"},\n{"chosen"', "f:2: not JSON (expecting"),
        ("a.json", b'[{"chosen": "a", "rejected": "b"}', "f:1: the array goes on without a comma"),
        ("a.json", b'[\n{"chosen": "a", "rejected": "b"},\n]', "f:2: a comma ends the array."),
        ("a.json", b'[{"chosen": "a", "rejected": "b"}] 5', "f:1: something follows the array."),
        ("a.json", b"[]", "f: holds no pairs."),
        ("a.json", b"[\n\xff]", "f:2: byte 0xff"),
        ("a.csv", b"chosen,rejected\na,b,c\n", "f:2: 3 fields under a header of 2."),
        ("a.csv", b"chosen,chosen\na,b\n", 'f:2: the header names "chosen" twice.'),
        ("a.csv", b'chosen,rejected\na,"b\n', "f:2: not CSV (unexpected end of data)."),
        ("a.csv", b"chosen,rejected\na,\xff\n", "f:2: holds bytes that are not UTF-8."),
        ("a.csv", b"chosen,rejected\n", "f: holds no pairs."),
        ("a.jsonl.gz", b"no gzip", "f: cannot be unpacked (Not a gzipped file"),
        ("a.jsonl.zst", b"no zstd", "f: cannot be unpacked (zstd"),
        ("a.jsonl.bz2", b"no bz2", "f: Invalid data stream."),
        ("a.jsonl.xz", b"no xz", "f: cannot be unpacked (Input format not supported"),
        ("a.parquet", b"no parquet", "f: not Parquet that can be read"),
        ("a.arrow", b"no arrow", "f: not Arrow that can be read"),
        ("a.jsonl", '{"chosen": "a"}'.encode("utf-16"), "f: the text is UTF-16. Save it as UTF-8"),
        ("a.json", "[{}]".encode("utf-16-be"), "f: the text is UTF-16. Save it as UTF-8"),
        ("a.csv", "chosen,rejected".encode("utf-16"), "f: the text is UTF-16. Save it as UTF-8"),
        (
            "a.json",
            b'{"train": [{"chosen": "a", "rejected": "b"}]}',
            'f: one object that holds the rows under "train".',
        ),
        ("a.json", b'{\n "data": [\n {"prompt": "a"}]}', 'f: one object that holds the rows under "data".'),
    ],
)
def test_broken_files_say_where(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    assert error_of(tmp_path / name, content).startswith(message)


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".feather", ".gz", ".zst", ".bz2", ".xz"])
def test_a_file_of_another_kind_than_its_name_says_is_read_once_renamed(tmp_path: Path, ending: str) -> None:
    data = packed(contents(".jsonl"), ending) if ending in OPENERS else contents(ending)
    told = error_of(tmp_path / "rows.jsonl", data)
    assert "not text" in told
    new = tmp_path / told.split("Rename it to ")[1].removesuffix(".")
    (tmp_path / "rows.jsonl").rename(new)
    assert fields_of(list(read_pairs(new))) == WANTED


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
def test_such_a_file_that_is_packed_is_read_once_renamed(tmp_path: Path, ending: str) -> None:
    told = error_of(tmp_path / "rows.jsonl.gz", packed(contents(ending), ".gz"))
    new = tmp_path / told.split("Rename it to ")[1].removesuffix(".")
    (tmp_path / "rows.jsonl.gz").rename(new)
    assert fields_of(list(read_pairs(new))) == WANTED
    twice = packed(packed(contents(".jsonl"), ".gz"), ".gz")
    assert error_of(tmp_path / "rows.jsonl.gz", twice).endswith("packed by gzip, not text. Unpack it once.")


@pytest.mark.parametrize("name", ["pairs.xlsx", "pairs.jsonl", "pairs.csv"])
def test_a_workbook_is_called_one(tmp_path: Path, name: str) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    told = error_of(tmp_path / name, sink.getvalue())
    assert told.startswith("f: this is a zip archive or a workbook") and "CSV" in told


def test_cut_gzip_is_told(tmp_path: Path) -> None:
    data = gzip.compress(contents(".jsonl"))
    assert "cannot be unpacked" in error_of(tmp_path / "a.jsonl.gz", data[: len(data) // 2])


def test_missing_library_comes_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    assert "pip install 'prefprobe[datasets]'" in error_of(tmp_path / "a.jsonl.zst", b"")


def test_dataset_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "one"))
    assert fields_of(list(read_pairs(tmp_path / "one"))) == WANTED
    splits = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    )
    splits.save_to_disk(str(tmp_path / "two"))
    assert [pair.line for pair in read_pairs(tmp_path / "two")] == [1, 2]


def test_hosted_services_form(tmp_path: Path) -> None:
    ask = [{"role": "user", "content": "q"}]
    good, bad = [{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}]
    row = {
        "input": {"messages": ask, "tools": []},
        "preferred_output": good,
        "non_preferred_output": bad,
        "id": "x",
    }
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    (pair,) = read_pairs(path)
    assert pair == Pair("x", tuple(ask), tuple(good), tuple(bad), meta={"tools": []}, line=1)
    del row["non_preferred_output"]
    assert '"preferred_output" is given alone' in error_of(path, json.dumps(row).encode())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"tools": "{"}, '"tools" is text, but not JSON.'),
        ({"tools": {}}, '"tools" is not a list.'),
        ({"chat_template_kwargs": []}, '"chat_template_kwargs" is not an object.'),
    ],
)
def test_chat_template_fields_as_trl_has_them(tmp_path: Path, extra: dict[str, object], message: str) -> None:
    good = {"tools": "[]", "chat_template_kwargs": {"enable_thinking": False}}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({**ROWS[0], **good}), encoding="utf-8")
    assert [pair.meta for pair in read_pairs(path)] == [good]
    assert message in error_of(path, json.dumps({**ROWS[0], **extra}).encode())


def test_crows_pairs_as_it_comes() -> None:
    path = SHARED / "crows_pairs.csv"
    if not path.exists():
        pytest.skip("the shared data is absent")
    fields = parse_fields("chosen=sent_less,rejected=sent_more,group=bias_type")
    pairs = list(read_pairs(path, fields=fields))
    assert len(pairs) == 1508
    assert len({pair.group for pair in pairs}) == 9
    assert all(pair.prompt is None for pair in pairs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    kind=st.sampled_from([".json", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".jsonl.zst"]),
    body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    head=st.sampled_from([b"", b"[", b"chosen,rejected\n", b"PAR1"]),
)
def test_arbitrary_bytes_give_pairs_or_one_clear_error(
    tmp_path: Path, kind: str, head: bytes, body: bytes
) -> None:
    path = tmp_path / f"p{kind}"
    path.write_bytes(head + body)
    try:
        assert list(read_pairs(path))
    except ProbeError as error:
        assert str(error).startswith(f"{path}:")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_table_with_another_delimiter_is_read_as_its_header_says(tmp_path: Path, delimiter: str) -> None:
    """Excel writes semicolons where a comma is the decimal sign."""
    path = tmp_path / "p.csv"
    path.write_bytes(table(delimiter))
    assert fields_of(list(read_pairs(path))) == WANTED


def skipping(path: Path) -> list[str]:
    return [str(pair.prompt) for pair in read_pairs(path, skip_bad=True)]


def numbered(n: int) -> list[dict[str, str]]:
    return [{"prompt": f"q{i}", "chosen": f"yes {i}.", "rejected": f"no {i}."} for i in range(n)]


@pytest.mark.parametrize("broken", ['{"prompt": NaN}', '{"a": 1, "a": 2}', r'{"prompt": "\ud800"}'])
@pytest.mark.parametrize("between", [",\n", ", "])
def test_a_row_of_an_array_that_holds_no_json_costs_that_row_alone(
    tmp_path: Path, broken: str, between: str
) -> None:
    rows = [json.dumps(row) for row in numbered(6)]
    path = tmp_path / "a.json"
    path.write_text("[" + between.join([*rows[:2], broken, *rows[2:]]) + "]")
    assert skipping(path) == [f"q{i}" for i in range(6)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '[{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "d" "e"}, {"prompt": "f"}]'),
        ("a.json", '[{"prompt": "a", "chosen": "b", "rejected": "c"} {"prompt": "d"}]'),
        ("a.csv", 'prompt,chosen,rejected\na,b,c\nd,"e" x,f\ng,h,i\n'),
    ],
)
def test_rows_behind_one_whose_end_is_not_told_are_not_left_out_in_silence(
    tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ProbeError, match=r"Nothing behind it was read\.$"):
        skipping(path)


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
def test_a_quote_that_takes_in_rows_is_told(tmp_path: Path, name: str, delimiter: str) -> None:
    """A cell begins with a quote that nothing closes, and forty rows on another one ends with one."""
    rows = [list(row.values()) for row in numbered(60)]
    rows[2][1], rows[42][2] = '"yes, as he says', 'no, he has 15"'
    path = tmp_path / name
    text = "\n".join(delimiter.join(row) for row in [["prompt", "chosen", "rejected"], *rows])
    path.write_text(
        text if delimiter == "\t" else text.replace("yes, as", "yes as").replace("no, he", "no he")
    )
    with pytest.raises(ProbeError, match=r"a.[ct]sv:4: a quote that opens here takes in 39 rows as its text"):
        skipping(path)


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
def test_a_cell_of_many_lines_is_a_cell(tmp_path: Path, name: str, delimiter: str) -> None:
    """Prose, lists and code over several lines, with commas and quotes."""
    said = 'First, look, "so".\nThen, well, go.\n1, 2\n\n- a, b, c\nif x:\n    f(a, b, c)\nend'
    with (path := tmp_path / name).open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([["prompt", "chosen", "rejected"], ["q", said, "no"], ["r", "yes", said]])
    assert [(pair.chosen, pair.rejected) for pair in read_pairs(path)] == [(said, "no"), ("yes", said)]


def test_a_group_named_all_is_not_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{**row, "group": group} for row, group in zip(numbered(2), ("all", "b"), strict=True)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [pair.group for pair in read_pairs(path)] == ["group all", "b"]


def test_messages_as_json_text_hold_whole_characters(tmp_path: Path) -> None:
    turns = [json.dumps([{"role": "assistant", "content": said}]) for said in ("\ud83d", "fine")]
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": "q", "chosen": turns[k], "rejected": turns[1]} for k in range(2)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ProbeError, match="holds half of a surrogate pair"):
        list(read_pairs(path))


def test_a_folder_that_is_read_draws_no_bar_into_a_file(tmp_path):
    pytest.importorskip("datasets")
    row = {"prompt": "Why?", "chosen": "Because it is so.", "rejected": "No idea."}
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").write_text(json.dumps(row) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "probe", "data", "rows"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "1 pair" in done.stdout
    assert done.stderr.startswith("Wrote ")
