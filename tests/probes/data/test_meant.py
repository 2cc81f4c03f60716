"""How a row was meant: columns that are not read, values that are missing, scores that say the opposite."""

import json

import pytest

from probe.pairs.misread import unread_prompt_columns
from probe.pairs.read import read_pairs
from probe.pairs.record import text_of
from probe.probes.data.row_flags import Flag, chat_flags
from probe.scoring.changes import text_changes

SIDES = {"chosen": " a good answer", "rejected": " a bad answer"}


def flags(tmp_path, **row):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(SIDES | row) + "\n")
    (pair,) = read_pairs(path)
    return Flag(chat_flags(pair)), unread_prompt_columns(pair)


@pytest.mark.parametrize(
    "name", ["user_prompt", "UserPrompt", "prompt_text", "the-question", "PROMPT_EN", "inputText", "dialogue"]
)
def test_a_column_that_is_named_like_a_prompt_is_told(tmp_path, name):
    found, column = flags(tmp_path, **{name: "What is it?"})
    assert Flag.UNREAD in found and column == [name]


@pytest.mark.parametrize(
    "name", ["prompt_id", "question_type", "input_tokens", "user_id", "prompt_length", "source", "prompter"]
)
def test_a_column_about_a_prompt_is_none(tmp_path, name):
    assert flags(tmp_path, **{name: "x7"}) == (Flag(0), [])


@pytest.mark.parametrize(
    ("name", "value"), [("history", [["a", "b"]]), ("images", ["a.png"]), ("system", "Be brief.")]
)
def test_what_belongs_to_a_prompt_and_is_left_out_is_told_beside_one(tmp_path, name, value):
    assert flags(tmp_path, prompt="What?", **{name: value})[1] == [name]


@pytest.mark.parametrize(
    "scores",
    [
        {"score_chosen": 1, "score_rejected": 2}, {"chosen_score": 1.5, "rejected_score": "2"},
        {"chosen-rating": 3, "rejected-rating": 5}, {"reward_chosen": -2, "reward_rejected": 0},
        {"margin": -3}, {"score_diff": "-0.5"},
    ],
)  # fmt: skip
def test_scores_that_say_the_opposite_are_told(tmp_path, scores):
    assert Flag.SCORES_SWAPPED in flags(tmp_path, **scores)[0]
    turned = {name: -float(value) for name, value in scores.items()}
    assert Flag.SCORES_SWAPPED not in flags(tmp_path, **turned)[0]


@pytest.mark.parametrize("value", ["None", "nan", " null ", "<NA>"])
def test_the_name_of_a_missing_value_is_no_answer(tmp_path, value):
    assert Flag.NO_VALUE in flags(tmp_path, rejected=value)[0]
    assert Flag.NO_VALUE not in flags(tmp_path, rejected=f"{value} of them")[0]


def test_a_prompt_that_is_messages_as_text_is_told(tmp_path):
    prompt = json.dumps([{"role": "user", "content": "What?"}])
    assert Flag.WRITTEN_OUT in flags(tmp_path, prompt=prompt)[0]


@pytest.mark.parametrize("lost", [None, "", "absent"])
def test_rows_without_a_prompt_among_rows_with_one_are_told(tmp_path, lost, capsys, monkeypatch):
    from probe.__main__ import main

    rows = [SIDES | {"prompt": f"Say {i}"} for i in range(12)]
    for row in rows[::3]:
        row |= {"prompt": lost}
        if lost == "absent":
            del row["prompt"]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("sys.argv", ["probe", "data", str(path)])
    main()
    told = " ".join(capsys.readouterr().out.split())
    assert "PB357 4 of 12 pairs have no prompt, and the others have one" in told


@pytest.mark.parametrize(
    ("shared", "told"),
    [
        ("Q: Why do diets fail in town?\nA: ", True),
        ("<human> Why do diets fail here? <bot>", True),
        ("Frage: Warum ist das so in der Stadt?\n\nAntwort: ", True),
        ("Student | Why do diets fail here? | Tutor | ", True),
        ("Why do diets fail in town? Because ", True),
        ("Human: Why do diets fail?\nAssistant: ", False),  # known, so cut
        ("The cat that the dogs had chased ", False),  # a minimal pair is no question
        ("Note: ", False),
    ],
)
@pytest.mark.parametrize("prompt", [None, "Why?"])
def test_a_question_inside_both_sides_is_told(tmp_path, shared, told, prompt):
    """Unknown marks: the question was scored with both answers, and nothing said so."""
    sides = {"chosen": f"{shared}people eat more.", "rejected": f"{shared}it is the moon."}
    row = sides if prompt is None else sides | {"prompt": prompt}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (pair,) = read_pairs(path)
    assert bool(chat_flags(pair) & Flag.SHARED_START) is (told and prompt is None)


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_and_calls_that_a_template_leaves_out_are_told(name):
    """It compared the content alone, and said nothing where a template renders no more than that."""
    turn = {"role": "assistant", "content": "42.", name: "six by seven"}
    assert text_of((turn,)) == "six by seven\n42."
    call = {"role": "assistant", "content": "So:", "tool_calls": [{"function": {"name": "multiply"}}]}
    assert [(c.flag, c.words) for c in text_changes("42.", [turn])] == [("template_dropped", "six by seven")]
    assert text_changes("<think>six by seven</think>42.", [turn]) == []  # the file's words, in their frame
    (added,) = text_changes("<think></think>42.", [{"role": "assistant", "content": "42."}])
    assert (added.flag, added.words) == ("template_added", "<think></think>")
    assert [(c.flag, c.words) for c in text_changes("So:", [call])] == [("template_dropped", "multiply")]
    assert text_changes('So:{"name": "multiply"}', [call]) == []


def test_every_unread_column_is_named(tmp_path):
    found = flags(tmp_path, system="Be brief.", input="Why?", order=["a"])
    assert found == (Flag.UNREAD, ["system", "input"])
