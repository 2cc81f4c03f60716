"""Chat rows are scored on the token ids that TRL's DPO trainer makes, whatever the template does."""

import json
from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.pairs.record import Pair
from probe.scoring.encode import make_encoder

trl = pytest.importorskip("trl")
by_trl = pytest.importorskip("trl_ids").by_trl
TEMPLATES = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
TOOL = {
    "type": "function",
    "function": {
        "name": "weigh",
        "description": "Weighs food.",
        "parameters": {"type": "object", "properties": {"food": {"type": "string"}}},
    },
}


def said(role, content, **more):
    return {"role": role, "content": content, **more}


def call(food):
    function = {"name": "weigh", "arguments": {"food": food}}
    return said("assistant", "", tool_calls=[{"type": "function", "function": function}])


ROWS = {
    "plain": ([said("user", "Why?")], [said("assistant", "so")], [said("assistant", "no")], {}),
    "system": (
        [said("system", "Be helpful."), said("user", "Why?")],
        [said("assistant", " so ")],
        [said("assistant", "no<|end|> and")],
        {},
    ),
    "turns": (
        [said("user", "Why?")],
        [said("assistant", "so"), said("user", "And?"), said("assistant", "diets")],
        [said("assistant", "no"), said("user", "And?"), said("assistant", "fail")],
        {},
    ),
    "reasoning": (
        [said("user", "Why?")],
        [said("assistant", "<think>\nhm\n</think>\n\nso")],
        [said("assistant", "no", reasoning_content="hm")],
        {},
    ),
    "call": ([said("user", "Why?")], [call("fern")], [said("assistant", "no")], {"tools": [TOOL]}),
    "tools as text": ([said("user", "Why?")], [call("a")], [call("b")], {"tools": json.dumps([TOOL])}),
    "no tools": ([said("user", "Why?")], [said("assistant", "so")], [said("assistant", "no")], {"tools": []}),
    "no tools as text": (
        [said("user", "Why?")],
        [said("assistant", "so")],
        [said("assistant", "no")],
        {"tools": "[]"},
    ),
    "parts": (
        [said("user", [{"type": "text", "text": "Why?"}])],
        [said("assistant", [{"type": "text", "text": "so"}])],
        [said("assistant", [{"type": "text", "text": "no"}])],
        {},
    ),
}


@pytest.mark.parametrize("kind", ["bpe", "spm", "wordpiece"])
@pytest.mark.parametrize("row", ROWS)
def test_ids_are_those_of_trl_or_a_named_error(make_tokenizer, kind, row):
    tokenizer = make_tokenizer(kind)
    prompt, chosen, rejected, meta = ROWS[row]
    pair = Pair("1", tuple(prompt), tuple(chosen), tuple(rejected), meta=meta, line=1)
    compared = 0
    for template in TEMPLATES:
        tokenizer.chat_template = template.read_text()
        try:
            codes = make_encoder(tokenizer, [pair])(pair)
        except ProbeError as error:
            assert str(error).startswith("line 1: ")
            continue
        start, *sides = by_trl(tokenizer, *ROWS[row])
        compared += 1
        for ours, theirs in zip((codes.chosen, codes.rejected), sides, strict=True):
            assert ours.start == max(start, 1), template.name
            assert list(ours.ids) == theirs[: len(ours.ids)], template.name
            assert not tokenizer.decode(theirs[len(ours.ids) :]).strip(), template.name
    assert compared > 5


@pytest.mark.parametrize("missing", [{"content": None}, {}])
def test_a_template_that_refuses_null_content_is_told_to_have_text(make_tokenizer, missing):
    """The remedy is tried before it is given, so it works; roles are blamed for roles alone."""
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = (
        "{% for m in messages %}<|turn|>{{ m['role'] + '\n' + m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
    )
    asked, answer = said("user", "Why?"), said("assistant", "so")
    bare = {key: value for key, value in call("fern").items() if key != "content"} | missing

    def codes(chosen, prompt=(asked,)):
        pair = Pair("1", tuple(prompt), (chosen,), (answer,), meta={}, line=1)
        return make_encoder(tokenizer, [pair])(pair)

    with pytest.raises(ProbeError, match=r'line 1: .*\. Write "" for a content that is null') as told:
        codes(bare)
    assert "roles" not in str(told.value)
    assert codes({**bare, "content": ""}).chosen.ids
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ProbeError, match=r"roles must alternate\)\. Correct their roles"):
        codes(bare)
