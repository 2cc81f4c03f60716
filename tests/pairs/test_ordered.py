"""Two responses and a column that says which is better: refused with its name, counted where mapped."""

import json

import pytest

from probe.errors import ProbeError
from probe.pairs.fields import parse_fields
from probe.pairs.ordered import contradicts
from probe.pairs.read import read_pairs
from probe.pairs.record import text_of
from probe.pairs.unpaired import read_unpaired
from probe.probes.data.run import DataRequest, check_data

# (the two columns, the ordering column, values that prefer the first, the second, and none)
FORMS = [
    ("response_0", "response_1", "better_response_id", 0, 1, None),
    ("response_0", "response_1", "safer_response_id", 0, 1, -1),
    ("human_ref_A", "human_ref_B", "labels", 1, 0, None),
    ("response1", "response2", "overall_preference", -2, 1, 0),
    ("response_a", "response_b", "winner", "model_a", "model_b", "tie"),
    ("answer_1", "answer_2", "preferred", "answer_1", "2", "alpha"),
    ("text_a", "text_b", "preference", "A", "B", "alpha"),
    ("response_1", "response_2", "preference_strength", -2, 3, 0),
    ("orig_response_A", "orig_response_B", "orig_preference", "A", "B", "C"),
    ("answer1", "answer2", "pairwise", "left", "right", "middle"),
    ("answer1_body", "answer2_body", "winner", "1", "2", "12"),
    ("left_text", "right_text", "preferred", "left", "right", "both"),
]


@pytest.mark.parametrize(("one", "other", "by", "first", "second", "none"), FORMS)
def test_the_column_says_which_side_is_better(one, other, by, first, second, none):
    for sides, better, worse in (((one, other), first, second), ((other, one), second, first)):
        assert contradicts({by: worse}, sides)
        assert not contradicts({by: better}, sides) and not contradicts({by: none}, sides)
    assert not contradicts({by: second}, ("good", "bad")) and not contradicts({}, (one, other))


def written(tmp_path, rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("one", "other", "by", "first", "second", "none"), FORMS)
def test_such_rows_are_told_by_that_column_and_counted_where_mapped(
    tmp_path, one, other, by, first, second, none
):
    values = (first, second, second, none)
    rows = [{"prompt": f"q {i}", one: f"a {i}", other: f"b {i}", by: v} for i, v in enumerate(values)]
    with pytest.raises(ProbeError, match=f'"{one}" and "{other}", which "{by}" puts in order'):
        list(read_pairs(written(tmp_path, rows[:1])))
    request = DataRequest(written(tmp_path, rows), fields=f"prompt=prompt,chosen={one},rejected={other}")
    (told,) = [finding for finding in check_data(request).findings if finding.code == "PB355"]
    assert told.lines == (2, 3) and told.message.startswith("2 of 4 pairs")


# (the two columns, their scores, which of them are of the first's and the second's side, the order)
SCORED = [
    ("answer_0", "answer_1", "score_0", "score_1", 1),
    ("conv_A", "conv_B", "conv_A_rating", "conv_B_rating", 1),
    ("response_a", "response_b", "winner_model_a", "winner_model_b", 1),
    ("response_1", "response_2", "rank_1", "rank_2", -1),
]


@pytest.mark.parametrize(("one", "other", "mine", "theirs", "sign"), SCORED)
def test_scores_of_two_responses_put_them_in_order(tmp_path, one, other, mine, theirs, sign):
    """webgpt, the arena and others: mapped in the order of the columns, half of the rows are swapped."""
    rows = [
        {"prompt": f"q {i}", one: f"a {i}", other: f"b {i}", mine: sign * (i % 2), theirs: 0}
        for i in range(1, 5)
    ]
    path = written(tmp_path, rows)
    with pytest.raises(
        ProbeError, match=f'"{one}" and "{other}", which "{mine}" and "{theirs}" put in order'
    ):
        list(read_pairs(path))
    for sides, swapped in (((other, one), (1, 3)), ((one, other), ())):
        request = DataRequest(path, fields=f"prompt=prompt,chosen={sides[0]},rejected={sides[1]}")
        told = [f.lines for f in check_data(request).findings if f.code == "PB355"]
        assert told == ([swapped] if swapped else [])


@pytest.mark.parametrize(
    ("beside", "one"),
    [
        ({"c_root_id_A": "x", "c_root_id_B": "y", "human_ref_A": "so", "human_ref_B": "no"}, "human_ref_A"),
        ({"model_a": "x", "model_b": "y", "response_a": "so", "response_b": "no"}, "response_a"),
        (
            {"response_1_source": "x", "response_2_source": "y", "response_1": "so", "response_2": "no"},
            "response_1",
        ),
    ],
)
def test_who_wrote_a_response_is_none(tmp_path, beside, one):
    """ "Write the better one as chosen" had named the columns of the models."""
    with pytest.raises(ProbeError, match=f'two responses, "{one}" and .*no column that is known here says'):
        list(read_pairs(written(tmp_path, [{"prompt": "q", **beside}])))


TEXTS = {"response_a": "Air scatters blue.", "response_b": "The sea is in it."}
POINTERS = [("A", "B"), ("response_b", "response_a"), ("Response A", "Response B"), ("gpt", "llama")]


@pytest.mark.parametrize("named", POINTERS)
@pytest.mark.parametrize("fields", [None, {"chosen": "better", "rejected": "worse"}])
def test_sides_that_name_the_columns_of_the_responses_are_refused(tmp_path, named, fields):
    """They had been read as the responses themselves: "A" against "B", without a word."""
    good, bad = fields.values() if fields else ("chosen", "rejected")
    row = {"prompt": "Why?", "model_a": "gpt", "model_b": "llama", **TEXTS, good: named[0], bad: named[1]}
    with pytest.raises(
        ProbeError, match=f'"{good}" and "{bad}" name the columns "response_a" and "response_b"'
    ):
        list(read_pairs(written(tmp_path, [row]), fields=fields))
    # The remedy.
    texts = dict(zip((good, bad), TEXTS.values(), strict=True))
    assert list(read_pairs(written(tmp_path, [{**row, **texts}]), fields=fields))


@pytest.mark.parametrize(
    "row",
    [
        {
            "prompt": f"Which is better? {' or '.join(TEXTS.values())}",
            **TEXTS,
            "chosen": "A",
            "rejected": "B",
        },
        {"prompt": "Which?", "option_a": "air", "option_b": "sea", "chosen": "A", "rejected": "B"},
        {"prompt": "Which vitamin?", **TEXTS, "chosen": "vitamin A", "rejected": "none"},
        {"prompt": "Why?", **TEXTS, "chosen": TEXTS["response_a"], "rejected": TEXTS["response_b"]},
        {"prompt": "x = ?", **TEXTS, "chosen": "x = a", "rejected": "x = b"},
    ],
)
def test_an_answer_that_is_a_letter_is_one(tmp_path, row):
    (pair,) = read_pairs(written(tmp_path, [row]))
    assert (pair.chosen, pair.rejected) == (row["chosen"], row["rejected"])


@pytest.mark.parametrize("chosen", ["A", "response_b", 1])
def test_a_chosen_that_says_which_is_told_as_such(tmp_path, chosen):
    """The remedy had been to map the other response as the rejected one, beside "A" as the chosen."""
    with pytest.raises(ProbeError, match='"response_a" and "response_b", which "chosen" puts in order'):
        list(read_pairs(written(tmp_path, [{"prompt": "Why?", **TEXTS, "chosen": chosen}])))


SAID = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Air."}]


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"instruction": "Why?", "output": "Air.", "kto_tag": True}, "completion=output,label=kto_tag"),
        ({"prompt": "Why?", "response": "Air.", "is_safe": False}, "completion=response,label=is_safe"),
        ({"messages": SAID, "label": True}, "completion=messages"),
    ],
)
def test_labelled_answers_under_other_names_are_told_with_a_command_that_reads_them(tmp_path, row, fields):
    path = written(tmp_path, [row])
    with pytest.raises(ProbeError, match=f"`probe unpaired FILE --fields {fields}` reads it"):
        list(read_pairs(path))
    (answer,) = read_unpaired(path, parse_fields(fields)).rows
    assert text_of(answer.prompt) == "Why?" and text_of(answer.completion) == "Air."


@pytest.mark.parametrize(
    "row",
    [
        {"schemaVersion": "bedrock-conversation-2024", "messages": SAID[:1]},
        {"data": {"prompt": "Why?"}, "annotations": [{"result": []}]},
        {"problem": "Why?", "steps": [{"rating": 1}]},
        {"messages": SAID, "is_multi_turn": True},
    ],
)
def test_what_is_no_response_is_not_told_as_one(tmp_path, row):
    with pytest.raises(ProbeError, match='no field "chosen"'):
        list(read_pairs(written(tmp_path, [row])))


def test_two_outputs_in_a_list_are_told(tmp_path):
    path = written(tmp_path, [{"instruction": "Why?", "output": ["Air.", "The sea."]}])
    with pytest.raises(ProbeError, match='"output" lists responses'):
        list(read_pairs(path))


def test_ranked_lists_are_told(tmp_path):
    path = written(tmp_path, [{"prompt": "q", "answers": [{"answer": "a", "rank": 1}]}])
    with pytest.raises(ProbeError, match='"answers" lists responses with a rank'):
        list(read_pairs(path))


def test_a_mapping_that_is_wrong_is_told_as_such(tmp_path):
    path = written(tmp_path, [{"response_0": "a", "response_1": "b", "better_response_id": 0}])
    with pytest.raises(ProbeError, match='no field "respons_0"'):
        list(read_pairs(path, fields={"chosen": "respons_0", "rejected": "response_1"}))
