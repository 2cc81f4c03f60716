"""How a row was meant: columns that are not read, values that are missing, scores that say the opposite."""

import json

import pytest

from probe.pairs.misread import unread_prompt_columns
from probe.pairs.read import read_pairs
from probe.pairs.record import Pair, text_of
from probe.probes.data.row_flags import Flag, chat_flags
from probe.probes.data.run import DataRequest, check_data
from probe.probes.data.said import said_flags
from probe.scoring.changes import changed, text_changes
from probe.scoring.encode import make_encoder
from probe.scoring.told import example_of

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


TURNED = [
    {"score_chosen": 1, "score_rejected": 2}, {"chosen_score": 1.5, "rejected_score": "2"},
    {"chosen-rating": 3, "rejected-rating": 5}, {"reward_chosen": -2, "reward_rejected": 0},
    {"scoreChosen": 1, "scoreRejected": 2}, {"margin": -3}, {"score_diff": "-0.5"},
    {"chosen_rank": 2, "rejected_rank": 1}, {"rank_chosen": "3", "rank_rejected": "2"},
    {"scores": {"chosen": 1, "rejected": 5}}, {"ranking": {"chosen": 2, "rejected": 1}},
    {"metadata": {"score_chosen": 1, "score_rejected": 5}},
    {"chosen_info": {"score": 1}, "rejected_info": {"score": 5}},
    {"chosen_toxicity_score": 0.9, "rejected_toxicity_score": 0.1},
    {"score_error_chosen": 5, "score_error_rejected": 1},
    {"chosen_reward_loss": 3, "rejected_reward_loss": 2},
]  # fmt: skip


def turned_round(value):
    return {k: turned_round(v) for k, v in value.items()} if isinstance(value, dict) else -float(value)


@pytest.mark.parametrize("scores", TURNED)
def test_scores_and_ranks_that_say_the_opposite_are_told(scores):
    assert said_flags(scores) == Flag.SCORES_SWAPPED
    assert said_flags(turned_round(scores)) == Flag(0)
    as_mapped = json.loads(json.dumps(scores).replace("chosen", "good").replace("rejected", "bad"))
    assert "Chosen" in str(scores) or said_flags(as_mapped, ("good", "bad")) == Flag.SCORES_SWAPPED


@pytest.mark.parametrize("scores", TURNED)
def test_equal_scores_are_a_tie_and_a_margin_of_nothing_none(scores):
    def level(value):
        return {k: level(v) for k, v in value.items()} if isinstance(value, dict) else 3

    margin = scores.keys() & {"margin", "score_diff"}
    assert said_flags(dict.fromkeys(margin, 0) if margin else level(scores)) == (
        Flag(0) if margin else Flag.TIED
    )


@pytest.mark.parametrize(
    "meta",
    [
        {"chosen_helpfulness_score": 4, "rejected_helpfulness_score": 2,
         "chosen_verbosity_score": 1, "rejected_verbosity_score": 3},
        {"chosen_scores": {"verbosity": 1}, "rejected_scores": {"verbosity": 3}},
        {"chosen_rank_score": 2, "rejected_rank_score": 1}, {"chosen_length": 1, "rejected_length": 2},
        {"score_chosen": None, "score_rejected": 3}, {"score_chosen": 1}, {"rank": 2}, {"score": 10**400},
        {"label": "rejected-by-moderation"}, {"preference": ""}, {"choice": "A"}, {"status": "rejected"},
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_no_contradiction(meta):
    assert said_flags(meta) == Flag(0)


@pytest.mark.parametrize(("one", "other"), [("C", "A"), ("b", "A+"), ("F", "E-")])
def test_letter_grades_are_scores(one, other):
    assert said_flags({"chosen_grade": one, "rejected_grade": other}) == Flag.SCORES_SWAPPED
    assert said_flags({"chosen_grade": other, "rejected_grade": one}) == Flag(0)
    assert said_flags({"grade_chosen": one, "grade_rejected": one}) == Flag.TIED


@pytest.mark.parametrize("name", ["preference", "winner", "better", "preferred", "choice"])
def test_a_column_that_names_the_rejected_side_is_told(name):
    assert said_flags({name: " Rejected"}) == Flag.SCORES_SWAPPED
    assert said_flags({name: "chosen"}) == Flag(0)
    assert said_flags({name: "tie"}) == Flag.TIED
    assert said_flags({name: "model"}, ("human", "model")) == Flag.SCORES_SWAPPED
    assert said_flags({name: "chosen"}, ("rejected", "chosen")) == Flag.SCORES_SWAPPED
    assert said_flags({name: "rejected"}, ("rejected", "chosen")) == Flag(0)


@pytest.mark.parametrize(
    ("columns", "codes"),
    [
        ([{"label": "chosen"}, {"label": "rejected"}], {"PB355": 20}),
        ([{"label": "approved"}, {"label": "rejected"}], {}),
        ([{"label": "rejected"}], {}),
        ([{"chosen_rank": 2, "rejected_rank": 1}], {"PB355": 40}),
        ([{"score_chosen": 4, "score_rejected": 4}], {"PB336": 40}),
        ([{"winner": "tie"}, {"winner": "chosen"}], {"PB336": 20}),
        ([{"score_chosen": 4, "score_rejected": 4}] + [{"score_chosen": 4, "score_rejected": 2}] * 19, {}),
        ([{"score_chosen": 4, "score_rejected": 2}], {}),
    ],
)
def test_columns_of_a_whole_file(tmp_path, columns, codes):
    rows = [
        {"prompt": f"What is {i}?", "chosen": f"It is {i}.", "rejected": f"It is {i + 1}."} for i in range(40)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row | columns[i % len(columns)]) + "\n" for i, row in enumerate(rows)))
    found = {f.code: len(f.lines) for f in check_data(DataRequest(path)).findings}
    assert {code: n for code, n in found.items() if code in ("PB336", "PB355")} == codes


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


SAYS = (
    "{% for m in messages if m.role != 'system' %}<|turn|>"
    "{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}"
)
WRITES = (
    "{% for m in messages %}<|turn|>{{ m.role }} {{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c }}{% endfor %}{% endfor %}"
)
TOOLS = "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}"
OFFERED = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
ASKED = {"role": "user", "content": "Rain?"}
CALLED = {"role": "assistant", "content": "", "tool_calls": OFFERED}
THOUGHT = {"role": "assistant", "content": "<think>hm</think>No."}  # which templates leave out on purpose


@pytest.mark.parametrize(
    ("template", "prompt", "tools", "lost"),
    [
        (SAYS, [{"role": "system", "content": "Speak  French."}, ASKED], None, ["Speak  French."]),
        (WRITES, [{"role": "system", "content": "Speak  French."}, ASKED], None, []),
        ("{{ messages | map(attribute='content') | join(' ') | replace('  ', ' ') }}",
         [{"role": "system", "content": "Speak  French."}, ASKED], None, []),  # white space alone
        (WRITES, [ASKED], OFFERED, ["weather"]),
        (WRITES, [ASKED], json.dumps(OFFERED), ["weather"]),
        (TOOLS + WRITES, [ASKED], OFFERED, []),
        (SAYS, [ASKED, CALLED, ASKED], None, ["weather"]),
        (WRITES, [ASKED, CALLED, ASKED], None, []),
        (SAYS, [ASKED, THOUGHT, ASKED], None, []),
        (SAYS, "Rain?", None, []),
    ],
)  # fmt: skip
def test_what_a_template_leaves_out_of_the_prompt_is_told(make_tokenizer, template, prompt, tools, lost):
    """A base model's template without system turns or tools trained the answers unasked, in silence."""
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = template
    say = lambda words: ({"role": "assistant", "content": words},)  # noqa: E731
    pair = Pair("1", prompt if isinstance(prompt, str) else tuple(prompt), say("Yes."), say("No."), line=1,
                meta={"tools": tools} if tools else {})  # fmt: skip
    encoder = make_encoder(tokenizer, [pair], "chat")
    assert [change.words for change in changed(encoder, pair)["prompt"]] == lost
    assert ("prompt_dropped" in encoder(pair).flags) == bool(lost)
    if lost:
        assert lost[0].split()[0] in example_of("prompt_dropped", encoder, pair)


def test_every_unread_column_is_named(tmp_path):
    found = flags(tmp_path, system="Be brief.", input="Why?", order=["a"])
    assert found == (Flag.UNREAD, ["system", "input"])
