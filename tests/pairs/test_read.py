"""The reader: any bytes give pairs or one clear error, and what TRL reads is read the same."""

from __future__ import annotations

import doctest
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.errors import CannotMeasure, ProbeError
from probe.pairs.fields import parse_fields, parse_sides
from probe.pairs.implicit import split_shared
from probe.pairs.read import Reading, read_pairs
from probe.pairs.record import Pair, text_of

SHARED = Path(__file__).parents[2].parent / "shared/data"
GOOD = {"prompt": "Why is the sky blue?", "chosen": "It scatters light.", "rejected": "It is paint."}


def write(path: Path, *rows: object) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def error_of(path: Path, **options: object) -> str:
    with pytest.raises(ProbeError) as caught:
        list(read_pairs(path, **options))  # type: ignore[arg-type]
    return str(caught.value).replace(f"{path}:", "f:")


def test_row_becomes_pair(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {**GOOD, "id": 7, "group": "sky", "score": 1.5}, "", GOOD)
    first, second = read_pairs(path)
    assert first == Pair("7", *GOOD.values(), group="sky", meta={"score": 1.5}, line=1)
    assert second == Pair("3", *GOOD.values(), line=3)


def test_fields_are_mapped_and_the_rest_is_meta(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {"q": "Q", "cico": "A", "insulin": "B", "id": "x", "prompt": "note"})
    (pair,) = read_pairs(path, fields=parse_fields("prompt=q, chosen=cico,rejected=insulin,id="))
    assert pair == Pair("1", "Q", "A", "B", meta={"id": "x", "prompt": "note"}, line=1)


def test_absent_prompt_is_a_minimal_pair(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {"chosen": "They have left.", "rejected": "They has left."})
    (pair,) = read_pairs(path)
    assert (pair.prompt, pair.chosen, pair.rejected) == (None, "They have left.", "They has left.")


@pytest.mark.parametrize("text", ["prompt", "colour=x", "chosen=", "id=a,id=b", "=x"])
def test_bad_field_mappings(text: str) -> None:
    with pytest.raises(ProbeError, match="--fields"):
        parse_fields(text)


@pytest.mark.parametrize("text", ["", "one", "a,a", "a,b,c", "a,"])
def test_bad_sides(text: str) -> None:
    with pytest.raises(ProbeError, match="--sides"):
        parse_sides(text)


def test_sides_are_named() -> None:
    assert parse_sides("CICO, insulin") == ("CICO", "insulin")
    assert parse_sides(None) == ("chosen", "rejected")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


BAD = [
    ("{", "f:1: not JSON (expecting property name"),
    ('{"chosen": "c", "rejected": "d"} ,', "f:1: a comma follows the row. Take it out: in JSON Lines"),
    ("[1]", "f:1: holds a number, not an object."),
    ("null", "f:1: holds null, not an object."),
    ({"prompt": "a", "chosen": "b"}, "f:1: no field \"rejected\" (there: 'prompt', 'chosen'). Map it with"),
    ({**GOOD, "chosen": 3}, 'f:1: "chosen" is a number. Write text or a list of chat messages.'),
    ({**GOOD, "chosen": " \n"}, 'f:1: "chosen" is empty. Each pair needs two non-empty responses.'),
    ({**GOOD, "chosen": []}, 'f:1: "chosen" is an empty list. Write at least one message.'),
    ({**GOOD, "chosen": [assistant("x")]}, "f:1: one side is text, the other chat messages."),
    (
        {**GOOD, "chosen": [assistant("x")], "rejected": [assistant("y")]},
        "f:1: the prompt is text, the responses are chat messages.",
    ),
    ({**GOOD, "prompt": [user("x")]}, "f:1: the prompt is chat messages, the responses are text."),
    ({"chosen": ["b"], "rejected": ["c"]}, 'f:1: "chosen" is a list of 1 text. Write one text, or a list'),
    (
        {"prompt": ["a", "b"], "chosen": ["c", "d"], "rejected": ["e", "f"]},
        'f:1: "chosen" is a list of 2 texts.',
    ),
    ({"prompt": "a", "response": "b", "score": 3}, 'f:1: one response, "response", where two are needed.'),
    ({"instruction": "a", "completions": [{"response": "b"}] * 2}, 'f:1: "completions" lists responses,'),
    ({"prompt": "a", "responses": ["b", "c"], "ranking": [1, 2]}, 'f:1: "responses" lists responses,'),
    ({"chosen": [{"content": "x"}], "rejected": [user("y")]}, 'f:1: message 1 of "chosen" has no role.'),
    (
        {"chosen": [{"role": "user", "content": [{"type": "image"}]}], "rejected": [user("y")]},
        'f:1: message 1 of "chosen" holds more than text. Leave images and audio out.',
    ),
    ({**GOOD, "id": [1]}, 'f:1: "id" is a list. Write text or a number as id.'),
    ({**GOOD, "group": True}, 'f:1: "group" is a truth value.'),
    ('{"prompt": "a", "prompt": "b", "chosen": "c", "rejected": "d"}', 'f:1: "prompt" appears twice.'),
    ('{"chosen": "c", "rejected": "d", "score": NaN}', "f:1: NaN is not JSON. Write null."),
    ('{"chosen": "c", "rejected": "\\ud800"}', "f:1: holds half of a surrogate pair"),
    ('{"chosen": "c", "rejected": ' + "[" * 200_000, "f:1: nested too deeply."),
    ('{"chosen": "c", "rejected": ' + "9" * 5000 + "}", "f:1: not JSON (Exceeds the limit"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_malformed_line_says_place_fact_remedy(tmp_path: Path, row: object, message: str) -> None:
    assert error_of(write(tmp_path / "p.jsonl", row)).startswith(message)


def test_named_field_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", GOOD)
    for name in ("prompt", "id", "group"):
        assert 'no field "x"' in error_of(path, fields={name: "x"})


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"chosen": "caf\xe9", "rejected": "b"}\n')
    assert "byte 0xe9 in column 16 is not UTF-8" in error_of(path)


def test_bom_and_crlf_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n" + json.dumps(GOOD).encode())
    assert [pair.line for pair in read_pairs(path)] == [1, 3]


def test_overlong_line_is_one_bad_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probe.pairs.jsonl.MAX_LINE", 200)
    path = write(tmp_path / "p.jsonl", {**GOOD, "chosen": "x" * 1000}, GOOD)
    reading = read_pairs(path, skip_bad=True)
    assert [pair.line for pair in reading] == [2]
    assert [bad.line for bad in reading.bad] == [1]
    assert "longer than" in reading.bad[0].reason


def test_all_bad_lines_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", GOOD, *["{}"] * 25, GOOD)
    lines = error_of(path).splitlines()
    assert [line.split(":")[1] for line in lines[:-1]] == [str(n) for n in range(2, 22)]
    assert lines[-1] == "f: and 5 more bad lines. --skip-bad goes on without them."


def test_skip_bad_goes_on_and_reports(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", GOOD, "{", {**GOOD, "id": "1"})
    reading = read_pairs(path, skip_bad=True)
    assert [pair.line for pair in reading] == [1]
    assert [bad.line for bad in reading.bad] == [2, 3]
    assert reading.bad[1].reason.startswith('id "1" is taken by line 1.')
    assert reading.n == 1


@pytest.mark.parametrize("content", [b"", b"\n \r\n"])
def test_no_pairs_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    assert "holds no pairs" in error_of(path)
    assert "holds no pairs" in error_of(path, skip_bad=True)


def test_skip_bad_with_nothing_left_is_an_error(tmp_path: Path) -> None:
    assert error_of(write(tmp_path / "p.jsonl", "{}"), skip_bad=True).startswith("f:1: no field")


def test_missing_file_and_directory(tmp_path: Path) -> None:
    assert "No such file" in error_of(tmp_path / "absent.jsonl")
    assert "neither a file here nor a dataset" in error_of(tmp_path)


def test_empty_sides_and_repeated_ids_pass_for_those_who_count_them(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {**GOOD, "rejected": " ", "id": "a"}, {**GOOD, "id": "a"})
    assert [pair.rejected for pair in read_pairs(path, lenient=True)] == [" ", GOOD["rejected"]]


def test_reading_is_a_stream(tmp_path: Path) -> None:
    """The first pair comes although the second line is bad: nothing is read ahead."""
    reading = iter(read_pairs(write(tmp_path / "p.jsonl", GOOD, "{")))
    assert next(reading).line == 1
    with pytest.raises(ProbeError):
        next(reading)


def test_repeated_id_is_told_with_the_line_that_has_it(tmp_path: Path) -> None:
    rows = [{**GOOD, "id": "a"}, {**GOOD, "id": 3}, GOOD]  # the third has its line number as id
    message = error_of(write(tmp_path / "p.jsonl", *rows, {**GOOD, "id": "a"}))
    assert [line.partition(". ")[0] for line in message.splitlines()] == [
        'f:3: id "3" is taken by line 2',
        'f:4: id "a" is taken by line 1',
    ]


def test_no_room_for_ids_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite is told to hold two pages, as if the disk were full."""
    connect = sqlite3.connect

    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        table = connect(*args, **options)
        table.execute("PRAGMA max_page_count = 2")
        return table

    monkeypatch.setattr(sqlite3, "connect", small)
    rows = [{**GOOD, "id": f"{n}" * 100} for n in range(100, 200)]
    with pytest.raises(CannotMeasure, match=r"line \d+: its id cannot be kept .* full"):
        list(read_pairs(write(tmp_path / "p.jsonl", *rows)))


MEMORY = """
import resource, sys
from pathlib import Path
from probe.pairs.read import read_pairs
assert sum(1 for _ in read_pairs(Path(sys.argv[1]))) == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """100,000 more ids of 33 letters: as Python text in a dict they would take 14 MiB, here 2 MiB at most."""
    path, peaks = tmp_path / "p.jsonl", []
    for n in (20_000, 120_000):
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f'{{"id": "{n:033}", "chosen": "a", "rejected": "b"}}\n' for n in range(n))
        command = [sys.executable, "-c", MEMORY, str(path), str(n)]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True, text=True).stdout))
    kib = 1 if sys.platform == "linux" else 1024  # macOS counts bytes
    assert (peaks[1] - peaks[0]) / kib < 6 * 1024


DIALOGUE = "\n\nHuman: Hi there\n\nAssistant: Hello\n\nHuman: Say a fruit\n\nAssistant:"


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        (DIALOGUE + " An apple.", DIALOGUE + " An apricot.", DIALOGUE),  # not after " An ap"
        (DIALOGUE + " Same.", DIALOGUE + " Same.", DIALOGUE),
        (DIALOGUE + " An apple", DIALOGUE + " An apple and more", DIALOGUE),
        # The user's turn differs: it belongs to the sides, marker and all.
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: c\n\nAssistant: d", None),
        ("A sentence about cats.", "A sentence about dogs.", None),
        ("[INST] go [/INST] yes", "[INST] go [/INST] no", "[INST] go [/INST]"),
    ],
)
def test_text_dialogues_split_at_the_last_shared_turn(chosen: str, rejected: str, prompt: str | None) -> None:
    n = len(prompt or "")
    assert split_shared(chosen, rejected) == (prompt, chosen[n:], rejected[n:])


@pytest.mark.parametrize(
    ("user", "assistant"),
    [
        ("Human: ", "\nAssistant: "),
        ("\n\nHuman: ", "\n\nAssistant: "),
        ("User: ", "\nAssistant: "),
        ("USER: ", " ASSISTANT: "),
        ("<|user|>\n", "</s>\n<|assistant|>\n"),
        ("<|prompter|>", "<|endoftext|><|assistant|>"),
        ("<｜User｜>", "<｜Assistant｜>"),
    ],
)
def test_a_written_dialogue_is_cut_at_its_last_shared_turn(user: str, assistant: str) -> None:
    for head in (f"{user}Why is it?{assistant}", f"{user}a{assistant}b\n{user}c{assistant}"):
        prompt, chosen, rejected = split_shared(f"{head}People eat.", f"{head}People say so.")
        assert (str(prompt).rstrip(), chosen.strip(), rejected.strip()) == (
            head.rstrip(),
            "People eat.",
            "People say so.",
        )


def test_differing_user_turn_stays_with_its_side() -> None:
    head = "\n\nHuman: a\n\nAssistant: b"
    prompt, chosen, rejected = split_shared(
        f"{head}\n\nHuman: c\n\nAssistant: d", f"{head}\n\nHuman: e\n\nAssistant: f"
    )
    assert prompt == head
    assert chosen == "\n\nHuman: c\n\nAssistant: d"
    assert rejected == "\n\nHuman: e\n\nAssistant: f"


def test_chat_lists_split_where_messages_differ(tmp_path: Path) -> None:
    row = {"chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]}
    (pair,) = read_pairs(write(tmp_path / "p.jsonl", row))
    assert pair.prompt == (user("q"),)
    assert (pair.chosen, pair.rejected) == ((assistant("a"),), (assistant("b"),))


def test_text_parts_stay_for_templates_that_want_them(tmp_path: Path) -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    row = {"prompt": [parts], "chosen": [assistant("x")], "rejected": [assistant("y")]}
    (pair,) = read_pairs(write(tmp_path / "p.jsonl", row))
    assert pair.prompt == (parts,)
    assert text_of(pair.prompt) == "ab"


messages = st.builds(
    lambda role, text: {"role": role, "content": text}, st.sampled_from("ua"), st.text(max_size=2)
)


@pytest.mark.oracle
@given(
    st.lists(messages, max_size=3),
    st.lists(messages, min_size=1, max_size=3),
    st.lists(messages, min_size=1, max_size=3),
)
def test_chat_lists_split_as_trl_does(head: list, chosen: list, rejected: list) -> None:  # type: ignore[type-arg]
    extract_prompt = pytest.importorskip("trl.data_utils").extract_prompt
    theirs = extract_prompt({"chosen": head + chosen, "rejected": head + rejected})
    prompt, ours_chosen, ours_rejected = split_shared(tuple(head + chosen), tuple(head + rejected))
    assert list(prompt or ()) == theirs["prompt"]
    assert (list(ours_chosen), list(ours_rejected)) == (theirs["chosen"], theirs["rejected"])


@pytest.mark.oracle
def test_trls_own_examples_are_split_the_same() -> None:
    """The examples in the docstring of `extract_prompt`, run as they stand there."""
    extract_prompt = pytest.importorskip("trl.data_utils").extract_prompt
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(extract_prompt.__doc__):
        if example.source.startswith(("example =", "dataset_dict =")):
            exec(example.source, names)
    columns = names["dataset_dict"]
    rows = [
        names["example"],
        *(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)),
    ]
    assert len(rows) == 3
    for row in rows:
        theirs = extract_prompt(row)
        ours = split_shared(tuple(row["chosen"]), tuple(row["rejected"]))
        assert [list(part or ()) for part in ours] == [theirs[k] for k in ("prompt", "chosen", "rejected")]


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("chosen", "rejected"), [(" Same.", " Same."), (" An apple", " An apple and more"), ("", " Something")]
)
def test_rows_that_trl_mangles_keep_their_responses(tmp_path: Path, chosen: str, rejected: str) -> None:
    """TRL leaves one letter of equal sides, and of one that begins the other; here answers stay whole."""
    extract_prompt = pytest.importorskip("trl.data_utils").extract_prompt
    row = {"chosen": DIALOGUE + chosen, "rejected": DIALOGUE + rejected}
    assert extract_prompt(row)["chosen"] != chosen
    (pair,) = read_pairs(write(tmp_path / "p.jsonl", row), lenient=True)
    assert (pair.prompt, pair.chosen, pair.rejected) == (DIALOGUE, chosen, rejected)


@pytest.mark.oracle
def test_real_dialogues_split_as_trl_does_but_at_turns() -> None:
    """TRL cuts where the characters differ; we cut at the last turn before it. The whole text is the same."""
    path = SHARED / "hh_harmless.jsonl"
    if not path.exists():
        pytest.skip("the shared data is absent")
    extract_prompt = pytest.importorskip("trl.data_utils").extract_prompt
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    pairs = list(read_pairs(path, lenient=True))  # three chosen sides are empty
    assert len(pairs) == len(rows) == 1000
    for pair, row in zip(pairs, rows, strict=True):
        assert isinstance(pair.prompt, str) and isinstance(pair.chosen, str)
        theirs = extract_prompt(row)
        assert pair.prompt + pair.chosen == theirs["prompt"] + theirs["chosen"] == row["chosen"]
        assert theirs["prompt"].startswith(pair.prompt) or theirs["prompt"] == pair.prompt
        assert pair.prompt.endswith("\n\nAssistant:")
        assert "\n\nAssistant:" not in theirs["prompt"][len(pair.prompt) :]


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
sides = json_values | st.lists(
    st.fixed_dictionaries({"role": json_values, "content": json_values}), max_size=2
)
rows = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("prompt", "chosen", "rejected", "id", "group"), sides)
)


def check_bytes(path: Path, content: bytes, skip_bad: bool) -> Reading:
    path.write_bytes(content)
    reading = read_pairs(path, skip_bad=skip_bad)
    try:
        pairs = list(reading)
    except ProbeError as error:
        assert str(error).startswith(f"{path}:")
    else:
        assert pairs and len(pairs) == reading.n
        assert skip_bad or not reading.bad
        json.dumps([pair.meta for pair in pairs], ensure_ascii=False).encode()
    return reading


quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(content=st.binary() | st.text().map(str.encode), skip_bad=st.booleans())
def test_arbitrary_bytes_give_pairs_or_one_clear_error(
    tmp_path: Path, content: bytes, skip_bad: bool
) -> None:
    check_bytes(tmp_path / "p.jsonl", content, skip_bad)


@quick
@given(content=st.lists(rows, max_size=4), skip_bad=st.booleans())
def test_arbitrary_rows_give_pairs_or_one_clear_error(tmp_path: Path, content: list, skip_bad: bool) -> None:  # type: ignore[type-arg]
    text = "".join(json.dumps(row) + "\n" for row in content)
    reading = check_bytes(tmp_path / "p.jsonl", text.encode(), skip_bad)
    assert reading.n + len(reading.bad) == len(content)
