"""Values of other columns: whatever holds them, they are JSON that `probe` reads back."""

import datetime
import decimal
import json
import math
import uuid
from pathlib import Path

import numpy as np
import pytest

from probe.api_inputs import pair_file
from probe.errors import ProbeError
from probe.pairs.read import read_pairs
from probe.plain import plain_json
from probe.probes.data.fix import write_fixed
from probe.probes.negatives.trimming import export_trimmed
from probe.runs import save_rows
from probe.training.held_out import HELD_OUT_FILE, write_held_out

DAY = datetime.datetime(2024, 1, 2, 3, 4, 5)
VALUES = {
    "NaN": (math.nan, None),
    "infinity": (-math.inf, None),
    "a time": (DAY, "2024-01-02T03:04:05"),
    "a date": (DAY.date(), "2024-01-02"),
    "bytes that are text": ("été".encode(), "été"),
    "other bytes": (b"\x89PNG", {"unread": "bytes"}),
    "a decimal": (decimal.Decimal("1.5"), 1.5),
    "a list of them": ([1.0, math.nan], [1.0, None]),
    "an object of them": ({"a": math.nan, "b": DAY}, {"a": None, "b": "2024-01-02T03:04:05"}),
}
OF_CODE = {
    "a NumPy number": (np.float32(0.5), 0.5),
    "a NumPy whole number": (np.int64(7), 7),
    "a NumPy truth value": (np.bool_(True), True),
    "a NumPy NaN": (np.float64("nan"), None),
    "an array": (np.array([[1.0, np.nan]]), [[1.0, None]]),
    "a NumPy time": (np.datetime64("2024-01-02T03:04:05.123456789"), "2024-01-02T03:04:05.123456789"),
    "no NumPy time": (np.datetime64("NaT"), None),
    "an id": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "a path": (Path("x"), {"unread": type(Path("x")).__name__}),
    "a set": ({1}, {"unread": "set"}),
}
EVERY = VALUES | OF_CODE


def rows(value):
    return [
        {"prompt": f"Why {i}?", "chosen": f"yes {i}", "rejected": f"no {i}", "more": value if i else None}
        for i in range(3)
    ]


@pytest.mark.parametrize("name", EVERY)
def test_a_value_is_json_that_is_read_back(name):
    value, wanted = EVERY[name]
    plain = plain_json({"more": value})
    assert plain == {"more": wanted}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@pytest.mark.parametrize("name", EVERY)
def test_rows_of_code_are_read_as_those_of_a_file(name, tmp_path):
    value, wanted = EVERY[name]
    with pair_file(rows(value)) as path:
        assert [pair.meta["more"] for pair in read_pairs(path)] == [None, wanted, wanted]
    save_rows(rows(value), tmp_path / "saved.jsonl")
    assert [pair.meta["more"] for pair in read_pairs(tmp_path / "saved.jsonl")] == [None, wanted, wanted]


def parquet(path, value):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows(value)), path)
    return path


@pytest.mark.parametrize("name", VALUES)
def test_what_is_written_of_a_parquet_file_is_read_back_whole(name, tmp_path):
    value, wanted = VALUES[name]
    source = parquet(tmp_path / "pairs.parquet", value)
    assert write_fixed(source, tmp_path / "fixed.jsonl", {})[1:] == (3, 0)
    export_trimmed(source, tmp_path / "trimmed.jsonl", {}, "length")
    write_held_out(source, tmp_path, {1, 2, 3})
    for written in (source, *(tmp_path / n for n in ("fixed.jsonl", "trimmed.jsonl", HELD_OUT_FILE))):
        assert [pair.meta["more"] for pair in read_pairs(written)] == [None, wanted, wanted]


def test_a_number_beyond_every_float_is_read_as_none(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "Why?", "chosen": "yes", "rejected": "no", "score": 1e999}\n')
    (pair,) = read_pairs(path)
    assert pair.meta == {"score": None}


def test_no_text_is_made_of_what_is_none():
    row = {"prompt": "Why?", "chosen": Path("x"), "rejected": "no"}
    with pair_file([row]) as path, pytest.raises(ProbeError, match='"chosen" is an object'):
        list(read_pairs(path))
