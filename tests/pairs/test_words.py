"""One definition of what a response says: tool calls, parts and reasoning are words to every reader."""

import json

from probe.pairs.record import Pair, text_of
from probe.probes.contexts import with_passage, with_system
from probe.probes.data.columns import ColumnReader
from probe.probes.data.row_flags import Flag


def call(place):
    function = {"name": "soil_temp", "arguments": {"place": place}}
    return ({"role": "assistant", "content": None, "tool_calls": [{"id": place, "function": function}]},)


ASK = ({"role": "user", "content": [{"type": "text", "text": "How warm is it?"}]},)
THINKS = ({"role": "assistant", "reasoning_content": "let me look", "content": "warm"},)
PAIRS = [
    Pair("1", ASK, call("bed"), call("roof"), line=1),
    Pair("2", ASK, call("bed"), THINKS, line=2),
]


def test_calls_reasoning_and_parts_are_words():
    assert json.loads(text_of(call("bed"))) == [{"name": "soil_temp", "arguments": {"place": "bed"}}]
    assert text_of(THINKS) == "let me look\nwarm" and text_of(ASK) == "How warm is it?"


def test_the_checks_of_a_file_see_them():
    columns = ColumnReader().read(PAIRS)
    assert (columns.words > 0).all()
    assert (columns.keys[:, 1] != columns.keys[:, 2]).all()  # two calls are two texts
    assert not columns.has(Flag.IDENTICAL | Flag.NO_PROMPT | Flag.USER_INSIDE).any()


def test_a_text_put_before_content_parts_keeps_them_parts():
    (turn,) = with_passage(PAIRS[0], "Read this.").prompt
    assert [part["text"] for part in turn["content"]] == ["Read this.\n\n", "How warm is it?"]
    asked = Pair("1", ({"role": "system", "content": ASK[0]["content"]}, *ASK), "a", "b")
    assert text_of(with_system(asked, "Answer.").prompt[:1]) == "Answer.\n\nHow warm is it?"
