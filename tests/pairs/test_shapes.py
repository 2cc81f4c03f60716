"""Rows as other tools write them, read without flags."""

import json

import pytest

from probe.errors import ProbeError
from probe.pairs.read import read_pairs

USER = {"role": "user", "content": "Why is the sky blue?"}


def turn(text):
    return [{"role": "assistant", "content": text}]


def read(tmp_path, row, n=1, **options):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for _ in range(n)))
    return list(read_pairs(path, **options))


SIDES = {"chosen": "Air scatters blue.", "rejected": "The sea."}
CHATS = {"chosen": turn("Air scatters blue."), "rejected": turn("The sea.")}


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"question": "Why?", **SIDES}, "Why?"),
        ({"instruction": "Answer.", "input": "Why?", **SIDES}, "Answer.\nWhy?"),
        ({"instruction": "Answer.", "input": "", **SIDES}, "Answer."),
        ({"messages": [USER], **CHATS}, (USER,)),
        (
            {"question": "Why?", "system": "Be short.", **SIDES},
            ({"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}),
        ),
        ({"prompt": USER["content"], **{side: [USER, *turns] for side, turns in CHATS.items()}}, (USER,)),
    ],
)  # fmt: skip
def test_the_prompt_is_found(tmp_path, row, prompt):
    (pair,) = read(tmp_path, row)
    assert pair.prompt == prompt
    assert isinstance(pair.chosen, str) == isinstance(prompt, str)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Why?", "prompt": "Mine", **SIDES},
        {"messages": [USER, *CHATS["chosen"]], "prompt": [USER], **CHATS},
    ],
)
def test_a_prompt_of_its_own_wins(tmp_path, row):
    (pair,) = read(tmp_path, row)
    assert pair.prompt in ("Mine", (USER,))


def test_what_was_taken_as_what_is_said(tmp_path, capsys):
    read(tmp_path, {"question": "Why?", **SIDES}, 3)
    assert capsys.readouterr().err.count("the prompt is the column question") == 1


def test_a_fault_of_all_rows_is_one_line(tmp_path):
    with pytest.raises(ProbeError, match=r'all 30 rows: no field "chosen"') as told:
        read(tmp_path, {"text": "x"}, 30)
    assert str(told.value).count("\n") == 0
