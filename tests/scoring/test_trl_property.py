"""Whatever the conversation and the template: our ids are TRL's, or a named error says why there are none.

`TRL_EXAMPLES=100` draws more conversations than the few that every run of the suite draws.
"""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.pairs.record import Pair
from probe.scoring.encode import make_encoder

trl = pytest.importorskip("trl")
by_trl = pytest.importorskip("trl_ids").by_trl
SHIPPED = {
    path.stem: path.read_text()
    for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
}
TURN = "<|turn|>{{ m['role'] }}\n{{ m['content'] or '' }}<|end|>"
LOOP = "{% for m in messages %}" + TURN + "{% endfor %}"
ASKS = "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
REFUSES = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
CONSECUTIVE = (
    "{% for m in messages %}{% if not loop.first and m.role == messages[loop.index0 - 1].role %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
)
SHAPES = {
    "ignores the generation prompt": LOOP,
    "trims": (LOOP + ASKS).replace("m['content'] or ''", "(m['content'] or '') | trim"),
    "drops reasoning": (LOOP + ASKS).replace(
        "m['content'] or ''", "(m['content'] or '').split('</think>')[-1]"
    ),
    "refuses system": REFUSES + TURN + "{% endfor %}" + ASKS,
    "refuses consecutive roles": CONSECUTIVE + TURN + "{% endfor %}" + ASKS,
    "wants parts": (LOOP + ASKS).replace(
        "{{ m['content'] or '' }}", "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}"
    ),
    "writes an empty think block": (LOOP + ASKS).replace("\n{{ m", "\n<think>\n\n</think>\n\n{{ m"),
    "text after the end": (LOOP + ASKS).replace("<|end|>", "<|end|>\n"),
}
TEMPLATES = {**SHIPPED, **SHAPES}
TOOL = {
    "type": "function",
    "function": {
        "name": "weigh",
        "description": "Weighs food.",
        "parameters": {"type": "object", "properties": {"food": {"type": "string"}}},
    },
}
WORDS = st.sampled_from(
    [
        "Why?", " so ", "no<|end|> and", "<think>\nhm\n</think>\n\nyes", "naïve 😀 café", "\u200bodd\u202e",
        "a\n\n\nb", "\tTabs ", "</s>", "日本語", "x" * 40, "It's 12 + 7!",
    ]
)  # fmt: skip


def said(role, content, **more):
    return {"role": role, "content": content, **more}


@st.composite
def contents(draw, parts):
    words = draw(WORDS)
    return [{"type": "text", "text": words}] if parts else words


@st.composite
def answers(draw, parts, tools, last):
    """An answer: text, text with reasoning apart, or a call (with its result and an answer after it)."""
    kind = draw(st.sampled_from(["text", "text", "reasoning", *(["call"] if tools else [])]))
    if kind == "call":
        function = {"name": "weigh", "arguments": {"food": draw(st.sampled_from(["fern", "é"]))}}
        call = said("assistant", "", tool_calls=[{"type": "function", "function": function}])
        result = said("tool", draw(WORDS), name="weigh")
        return [call] if last else [call, result, said("assistant", draw(contents(parts)))]
    more = {"reasoning_content": draw(WORDS)} if kind == "reasoning" else {}
    return [said("assistant", draw(contents(parts)), **more)]


@st.composite
def conversations(draw):
    """(prompt, chosen, rejected, meta): a system text or none, one to five turns, sides of one or two."""
    parts, tools = draw(st.booleans()), draw(st.booleans())
    prompt = [said("system", draw(contents(parts)))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 4))):
        prompt += [said("user", draw(contents(parts))), *draw(answers(parts, tools, last=False))]
    prompt.append(said("user", draw(contents(parts))))
    sides = [draw(answers(parts, tools, last=True)) for _ in range(2)]
    if draw(st.integers(0, 4)) == 0:
        more = [said("user", draw(contents(parts))), *draw(answers(parts, tools, last=True))]
        sides = [[*side, *more] for side in sides]
    given_tools = [TOOL] if draw(st.booleans()) else json.dumps([TOOL])
    return prompt, *sides, {"tools": given_tools} if tools else {}


AGREED: dict[str, int] = {}
EXAMPLES = int(os.environ.get("TRL_EXAMPLES", "4"))  # conversations for each template and tokenizer
LOST = re.compile(r"drops the user's words|writes content parts out as code")


@pytest.mark.parametrize("kind", ["bpe", "spm", "wordpiece"])
@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
@given(row=conversations())
def test_ids_are_those_of_trl_or_a_named_error(make_tokenizer, kind, template, row):
    tokenizer = make_tokenizer(kind)
    tokenizer.chat_template = TEMPLATES[template]
    prompt, chosen, rejected, meta = row
    pair = Pair("1", tuple(prompt), tuple(chosen), tuple(rejected), meta=meta, line=1)
    try:
        codes = make_encoder(tokenizer, [pair])(pair)
    except ProbeError as error:
        assert str(error).startswith("line 1: ") and "Traceback" not in str(error)
        if not LOST.search(str(error)):  # what TRL would train on without a word; all else it refuses too
            with pytest.raises(Exception):  # noqa: B017 - a template raises what it likes
                by_trl(tokenizer, prompt, chosen, rejected, meta)
        return
    start, *sides = by_trl(tokenizer, prompt, chosen, rejected, meta)
    for ours, theirs in zip((codes.chosen, codes.rejected), sides, strict=True):
        assert ours.start == max(start, 1)
        assert list(ours.ids) == theirs[: len(ours.ids)]
        assert not tokenizer.decode(theirs[len(ours.ids) :]).strip()  # white space behind the end token
    AGREED[template] = AGREED.get(template, 0) + 1


def test_most_templates_were_compared_and_not_refused():
    """Runs last: a template that refuses every conversation would prove nothing."""
    if len(AGREED) < 2:
        pytest.skip("only with the test above")
    assert set(SHAPES) <= set(AGREED)
    assert len(AGREED) >= 0.8 * len(TEMPLATES)
