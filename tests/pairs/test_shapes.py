"""Rows as other tools write them, read without flags."""

import json

import pytest

from probe.errors import ProbeError
from probe.pairs.misread import messages_as_text, unread_prompt_columns
from probe.pairs.read import read_pairs
from probe.pairs.unpaired import read_unpaired

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


@pytest.mark.parametrize("prompt", [[USER], USER])
def test_a_side_may_be_its_one_message(tmp_path, prompt):
    """LLaMA-Factory's and Axolotl's rows of messages."""
    row = {"chosen": CHATS["chosen"][0], "rejected": CHATS["rejected"][0]}
    (pair,) = read(tmp_path, {"prompt": prompt, **row})
    assert pair.prompt == (USER,)
    assert (list(pair.chosen), list(pair.rejected)) == (CHATS["chosen"], CHATS["rejected"])
    (beside,) = read(tmp_path, {"messages": [USER], **row})
    assert (beside.prompt, beside.chosen, beside.meta) == (pair.prompt, pair.chosen, {})


def test_a_turn_of_another_role_is_told_by_it(tmp_path):
    asked = [{"from": "human", "value": "Why?"}, {"from": "function_call", "value": "{}"}]
    sides = {side: {"from": "gpt", "value": side} for side in SIDES}
    with pytest.raises(ProbeError, match='from "function_call", a role that is not known'):
        read(tmp_path, {"conversations": asked, **sides})


def test_only_what_is_read_is_told_as_turns(tmp_path, capsys):
    turns = [{"from": "user", "value": "Why?"}]
    (pair,) = read(tmp_path, {"trajectory": turns, **SIDES})
    assert unread_prompt_columns(pair) == ["trajectory"] and "ShareGPT" not in capsys.readouterr().err


@pytest.mark.parametrize("asked", [[], [USER]])
def test_a_text_prompt_beside_messages_has_a_remedy_that_keeps_it(tmp_path, asked):
    """`--fields prompt=` had been told of sides without the question, which then was lost."""
    row = {"prompt": "Why is it so?", **{side: [*asked, *turns] for side, turns in CHATS.items()}}
    with pytest.raises(ProbeError) as told:
        read(tmp_path, row)
    assert ("--fields prompt=" in str(told.value)) == bool(asked)
    if asked:
        (pair,) = read(tmp_path, row, fields={"prompt": ""})
        assert pair.prompt == (USER,)


def test_a_role_that_sharegpt_does_not_have_is_named(tmp_path):
    row = {"prompt": "Why?", **SIDES, "chosen": [{"from": "somebody", "value": "Air."}]}
    with pytest.raises(ProbeError, match=r"pairs\.jsonl:1: .*from \"somebody\", a role"):
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


ASKED, BOT = [USER], {"role": "assistant", "content": "Yes."}
THEIR_NAMES = {"system": "rule", "input": "text", "prompt": "task", "chosen": "good", "rejected": "bad"}
SHAPES = {
    "question": {"question": "Why?", **SIDES},
    "question with an input": {"question": "Why?", "input": "Here.", **SIDES},
    "question, system and input": {"question": "Why?", "system": "Be short.", "input": "Here.", **SIDES},
    "question under a system text": {"question": "Why?", "system": "Be short.", **SIDES},
    "Alpaca": {"instruction": "Answer.", "input": "Why?", **SIDES},
    "Alpaca under a system text": {"instruction": "Answer.", "input": "Why?", "system": "Be short.", **SIDES},
    "messages": {"messages": ASKED, "system": "Be short.", **CHATS},
    "conversations": {"conversations": [{"from": "human", "value": "Why?"}], "system": "Be short.", **CHATS},
    "ShareGPT sides": {"prompt": ASKED, **{side: {"from": "gpt", "value": side} for side in SIDES}},
    "messages as JSON text": {
        "prompt": USER["content"], **{s: json.dumps([USER, *t]) for s, t in CHATS.items()}
    },
    "ms-swift": {"messages": [USER, BOT], "rejected": "No.", "system": ""},
    "text prompt": {"prompt": "Why?", "system": "Be short.", "input": "Here.", **SIDES},
    "text prompt, chat sides": {"prompt": "Why?", "system": "Be short.", **CHATS},
    "chat prompt": {"prompt": ASKED, "system": "Be short.", **CHATS},
    "the same system text twice": {
        "prompt": [{"role": "system", "content": "Be short."}, USER], "system": "Be short.", **CHATS
    },
    "UltraFeedback": {
        "prompt": USER["content"], "system": "Be short.", **{s: [USER, *t] for s, t in CHATS.items()}
    },
    "dialogues": {"system": "Be short.", **{side: [USER, *turns] for side, turns in CHATS.items()}},
    "no prompt at all": {"system": "Be short.", **SIDES},
}  # fmt: skip


def in_their_names(row):
    """The row with other column names, and the mapping that tells them."""
    fields = {ours: theirs for ours, theirs in THEIR_NAMES.items() if ours in row}
    return {fields.get(name, name): value for name, value in row.items()}, fields


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mapped_column_is_read_as_one_that_has_our_name(tmp_path, shape):
    row = {**SHAPES[shape], "topic": "sky"}
    (ours,) = read(tmp_path, row, fields={name: name for name in ("system", "input") if name in row})
    renamed, fields = in_their_names(row)
    (theirs,) = read(tmp_path, renamed, fields=fields)
    assert (theirs.prompt, theirs.chosen, theirs.rejected) == (ours.prompt, ours.chosen, ours.rejected)
    assert theirs.meta == ours.meta == {"topic": "sky"}


@pytest.mark.parametrize("shape", [s for s in SHAPES if "prompt" not in SHAPES[s] and "input" not in s])
def test_a_shape_that_is_read_without_flags_is_read_so_with_them(tmp_path, shape):
    row = {
        key: value
        for key, value in SHAPES[shape].items()
        if shape not in ("dialogues", "no prompt at all") or key != "system"
    }
    (plain,) = read(tmp_path, row)
    (mapped,) = read(tmp_path, row, fields={name: name for name in ("system", "input") if name in row})
    assert (mapped.prompt, mapped.chosen, mapped.rejected) == (plain.prompt, plain.chosen, plain.rejected)


@pytest.mark.parametrize("shape", [s for s in SHAPES if "system" in SHAPES[s]])
def test_no_turn_is_lost_or_doubled_under_a_system_text(tmp_path, shape):
    row, fields = in_their_names(SHAPES[shape])
    (pair,) = read(tmp_path, row, fields=fields)
    roles = [turn["role"] for turn in pair.prompt]
    no_question = shape == "no prompt at all"
    assert roles == ["system"] * bool(SHAPES[shape]["system"]) + ["user"] * (not no_question)
    assert [turn["role"] for side in (pair.chosen, pair.rejected) for turn in side] == ["assistant"] * 2


HUMAN = {side: f"\n\nHuman: Why?\n\nAssistant: {text}" for side, text in SIDES.items()}


@pytest.mark.parametrize(
    ("row", "name", "told"),
    [
        ({"prompt": ASKED, "rule": "Here.", **CHATS}, "input", "cannot follow a prompt of chat messages"),
        ({"messages": ASKED, "rule": "Here.", **CHATS}, "input", "cannot follow a prompt of chat messages"),
        ({"rule": "Here.", **HUMAN}, "input", "or one inside the sides"),
        ({"rule": "Here.", **SIDES}, "input", "no prompt that"),
        ({"rule": "Be short.", **HUMAN}, "system", "dialogues that are written as text"),
        (
            {"prompt": [{"role": "system", "content": "Be long."}, USER], "rule": "Be short.", **CHATS},
            "system", "another system text",
        ),
        ({"prompt": "Why?", "rule": 5, **SIDES}, "input", "is a number"),
        ({"prompt": "Why?", "rule": ["Be short."], **SIDES}, "system", "is a list"),
    ],
)  # fmt: skip
def test_a_mapped_text_that_cannot_be_joined_is_told(tmp_path, row, name, told):
    with pytest.raises(ProbeError, match=told) as error:
        read(tmp_path, row, fields={name: "rule"})
    assert told in str(error.value) and str(error.value).count("\n") == 0
    assert read(tmp_path, {**row, "rule": None}, fields={name: "rule"})


def test_a_column_under_a_name_that_is_mapped_elsewhere_is_kept_aside(tmp_path):
    row = {"question": "Why?", "rule": "Be short.", "system": "Be long.", **SIDES}
    (pair,) = read(tmp_path, row, fields={"system": "rule"})
    assert pair.prompt[0]["content"] == "Be short." and pair.meta == {"system": "Be long."}


def test_what_was_taken_is_told_in_the_names_of_the_file(tmp_path, capsys):
    read(tmp_path, {"question": "Why?", "rule": "Be short.", **SIDES}, fields={"system": "rule"})
    assert "the prompt is the column question under the column rule" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["chosen", "rejected"])
def test_a_mapped_side_that_is_missing_is_not_looked_for_elsewhere(tmp_path, missing):
    row = {"messages": [USER, BOT], "rejected": "No.", "chosen": "Yes."}
    row = {name: value for name, value in row.items() if name != missing}
    with pytest.raises(ProbeError, match='no field "good"'):
        read(tmp_path, row, fields={missing: "good"})


def test_answers_with_a_label_have_the_same_shapes(tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    row = {"question": "Why?", "rule": "Be short.", "completion": "Air.", "label": True}
    path.write_text(json.dumps(row) + "\n")
    (answer,) = read_unpaired(path, {"system": "rule"}).rows
    assert [turn["content"] for turn in answer.prompt] == ["Be short.", "Why?"]
    assert "the prompt is the column question" in capsys.readouterr().err


def test_a_prompt_that_is_only_a_system_text_leaves_the_question_unread(tmp_path):
    row = {"query": "Why?", "rule": "Be short.", **SIDES}
    (pair,) = read(tmp_path, row, fields={"system": "rule"})
    assert unread_prompt_columns(pair) == ["query"]


@pytest.mark.parametrize(
    ("row", "unread"),
    [
        ({"prompt": "Why?", "initial_reason_steps": "Step 1: air.", **SIDES}, ["initial_reason_steps"]),
        ({"post": "I ate it.", **SIDES}, ["post"]),
        ({"inputs": "Why?", **SIDES}, ["inputs"]),
        ({"frage": "Warum ist der Himmel blau?", **SIDES}, ["frage"]),
        ({"问题": "天空为什么是蓝色的？", **SIDES}, ["问题"]),
        ({"prompt": "Why?", "input": "Why?", **SIDES}, []),
        ({"prompt": "Why?", "gen_input_configs": {"temperature": 1}, **SIDES}, []),
        ({"prompt": "Why?", "note": "Is this one too easy for us?", **SIDES}, []),
    ],
)
def test_what_may_be_a_part_of_the_prompt_is_told_and_no_more(tmp_path, row, unread):
    (pair,) = read(tmp_path, row)
    assert unread_prompt_columns(pair) == unread


@pytest.mark.parametrize(
    ("row", "written"),
    [
        (
            {
                "chosen": "{'role': 'assistant', 'content': 'so'}",
                "rejected": '{"content": "no", "role": "assistant"}',
            },
            1,
        ),
        ({"prompt": '["Why?"]', "chosen": '["so"]', "rejected": '["no", "never"]'}, 1),
        ({"chosen": '{"role": "user", "content": "so"}', "rejected": "no"}, 0),
        ({"prompt": "As JSON.", "chosen": '["so"]', "rejected": '["no"]'}, 0),
        ({"chosen": '{"role": "admin", "content": "so"}', "rejected": '{"role": "guest"}'}, 0),
    ],
)
def test_messages_that_became_text_are_seen(tmp_path, row, written):
    (pair,) = read(tmp_path, {"prompt": "Why?", **row})
    assert messages_as_text(pair) == bool(written)
