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
        read(tmp_path, {"text": "x", "other": "y"}, 30)
    assert str(told.value).count("\n") == 0


def test_sharegpt_turns_are_messages(tmp_path):
    asked = [{"from": "system", "value": "Be short."}, {"from": "human", "value": "Why?"}]
    row = {
        "conversations": asked,
        "chosen": {"from": "gpt", "value": "Air scatters blue."},
        "rejected": [{"from": "gpt", "value": "The sea."}],
    }
    (pair,) = read(tmp_path, row)
    assert pair.prompt == (
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Why?"},
    )
    assert (list(pair.chosen), list(pair.rejected)) == (CHATS["chosen"], CHATS["rejected"])


def test_a_role_that_sharegpt_does_not_have_is_named(tmp_path):
    row = {"prompt": "Why?", **SIDES, "chosen": [{"from": "somebody", "value": "Air."}]}
    with pytest.raises(ProbeError, match=r"pairs\.jsonl:1: .*\"chosen\" has no role"):
        read(tmp_path, row)


@pytest.mark.parametrize("sides", [SIDES, CHATS])
@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"system": "rule", "input": "text"}, "Answer.\nWhy?"),
        ({"system": "rule"}, "Answer."),
    ],
)
def test_system_and_input_are_read_where_they_are_mapped(tmp_path, sides, fields, prompt):
    row = {"prompt": "Answer.", "rule": "Be short.", "text": "Why?", **sides}
    (pair,) = read(tmp_path, row, fields=fields)
    assert pair.prompt == ({"role": "system", "content": "Be short."}, {"role": "user", "content": prompt})
    assert (list(pair.chosen), list(pair.rejected)) == (CHATS["chosen"], CHATS["rejected"])


def test_input_alone_leaves_texts_texts(tmp_path):
    (pair,) = read(tmp_path, {"prompt": "Answer.", "text": "Why?", **SIDES}, fields={"input": "text"})
    assert (pair.prompt, pair.chosen) == ("Answer.\nWhy?", SIDES["chosen"])


def test_an_empty_system_text_is_no_turn(tmp_path):
    (pair,) = read(tmp_path, {"prompt": "Why?", "rule": " ", **SIDES}, fields={"system": "rule"})
    assert (pair.prompt, pair.chosen) == ("Why?", SIDES["chosen"])


@pytest.mark.parametrize("name", ["system", "input"])
def test_a_mapped_field_that_is_missing_is_named(tmp_path, name):
    with pytest.raises(ProbeError, match=r'pairs\.jsonl:1: no field "rule"'):
        read(tmp_path, {"prompt": "Why?", **SIDES}, fields={name: "rule"})


@pytest.mark.parametrize(
    "beside",
    [
        {"rejected_response": "No."},
        {"rejected": "No."},
        {
            "rejected_messages": [
                {"role": "user", "content": "Is it?"},
                {"role": "assistant", "content": "No."},
            ]
        },
    ],
)
def test_messages_that_end_on_the_chosen_answer_are_read(tmp_path, beside):
    """ms-swift's rows: the other answer stands in a column of its own."""
    turns = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "Yes."}]
    (pair,) = read(tmp_path, {"messages": turns, **beside})
    assert pair.prompt == (turns[0],) and pair.chosen == (turns[1],)
    assert pair.rejected == ({"role": "assistant", "content": "No."},) and not pair.meta
