"""The boundary between prompt and response, special tokens and truncation: the pitfalls, one by one."""

from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from probe.errors import ProbeError
from probe.pairs.implicit import says_rendered
from probe.pairs.record import Pair
from probe.scoring.encode import make_encoder
from probe.scoring.ending import lead_of
from probe.scoring.scores import EncodedSide
from probe.scoring.service import side_score


def pair(prompt, chosen, rejected=" no", **meta):
    return Pair("1", prompt, chosen, rejected, meta=meta, line=1)


def encoded(tokenizer, prompt, chosen, rejected=" no", template="raw", max_length=None, **meta):
    one = pair(prompt, chosen, rejected, **meta)
    return make_encoder(tokenizer, [one], template, max_length)(one)


def words(tokenizer, side):
    """The text of the scored tokens, end token aside."""
    return tokenizer.decode(side.ids[side.start : len(side.ids) - side.ends], skip_special_tokens=False)


def test_scored_tokens_spell_the_response(any_tokenizer):
    codes = encoded(any_tokenizer, "Why do diets fail?", " The answer is that people eat more.")
    assert (
        words(any_tokenizer, codes.chosen).split()
        == any_tokenizer.decode(
            any_tokenizer(" The answer is that people eat more.", add_special_tokens=False)["input_ids"]
        ).split()
    )
    assert codes.flags == ()
    assert codes.chosen.bytes == len(" The answer is that people eat more.")


def test_a_boundary_merge_is_counted_and_flagged(make_tokenizer):
    """Pitfall 1: "The ans" + "wer" is one or two tokens that cross the boundary."""
    tokenizer = make_tokenizer("bpe")
    codes = encoded(tokenizer, "The ans", "wer is", " is")
    assert "merged" in codes.flags
    assert "answer" in words(tokenizer, codes.chosen)
    assert len(codes.chosen.ids) - codes.chosen.ends > codes.chosen.start


def test_a_prompt_that_ends_in_a_space_still_scores_the_response(any_tokenizer):
    """Pitfall 2: the space joins the first word's token, which then belongs to the response, unflagged."""
    codes = encoded(any_tokenizer, "The answer is ", "that people", "people")
    assert words(any_tokenizer, codes.chosen).split() == ["that", "people"]
    assert codes.flags == ()


@pytest.mark.parametrize("kind", ["bpe", "spm", "wordpiece"])
def test_bos_is_there_once_whoever_writes_it(make_tokenizer, kind):
    """Pitfall 3: automatic, already written in the text, or absent."""
    adds, silent = make_tokenizer(kind, bos=True), make_tokenizer(kind)
    assert lead_of(adds) == (adds.bos_token_id,)
    assert encoded(adds, "Why?", " no", " so").chosen.ids.count(adds.bos_token_id) == 1
    assert encoded(adds, "<s>Why?", " no", " so").chosen.ids.count(adds.bos_token_id) == 1
    assert silent.bos_token_id not in encoded(silent, "Why?", " no", " so").chosen.ids


def test_an_empty_prompt_scores_from_bos_or_one_token_less(make_tokenizer):
    tokenizer = make_tokenizer("bpe")
    codes = encoded(tokenizer, None, "The answer is", "The answer")
    assert codes.chosen.ids[0] == tokenizer.bos_token_id
    assert codes.chosen.start == 1
    assert codes.flags == ()
    bare = make_tokenizer("bpe", bos_token=None)
    codes = encoded(bare, None, "The answer is", "The answer")
    whole = bare("The answer is", add_special_tokens=False)["input_ids"]
    assert len(codes.chosen.ids) - codes.chosen.start - codes.chosen.ends == len(whole) - 1
    assert codes.flags == ("first_token_unscored",)


def test_an_automatic_eos_never_stands_inside_and_only_once_at_the_end(make_tokenizer):
    """Pitfall 4: a tokenizer that adds EOS would put one after the prompt, or two at the end."""
    tokenizer = make_tokenizer("bpe", bos=True, eos=True)
    for response in (" no", " no</s>"):
        codes = encoded(tokenizer, "Why?", response, " so")
        assert codes.chosen.ids.count(tokenizer.eos_token_id) == 1
        assert codes.chosen.ids[-1] == tokenizer.eos_token_id


def test_padding_that_is_eos_drops_nothing(make_tokenizer):
    """Pitfall 5: here pad = EOS; an EOS inside a response is a token like any other."""
    tokenizer = make_tokenizer("bpe")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    codes = encoded(tokenizer, "Why?", " so</s> and so", " no")
    assert codes.chosen.ids.count(tokenizer.eos_token_id) == 2


def test_truncation_is_counted_per_side_and_excludes_what_is_left_empty(make_tokenizer):
    """Pitfall 12."""
    tokenizer = make_tokenizer("bpe")
    long = " people" * 50
    codes = encoded(tokenizer, "Why?", long, " no", max_length=20)
    assert codes.flags == ("truncated_chosen",)
    assert len(codes.chosen.ids) == 20
    assert not codes.chosen.ends
    assert encoded(tokenizer, "Why?", long, long + " no", max_length=20).flags == (
        "truncated_chosen",
        "truncated_rejected",
        "identical",
    )
    assert "nothing_left" in encoded(tokenizer, "Why? " * 30, " yes", " no", max_length=20).flags


def test_a_limit_that_only_the_end_token_passes_cuts_no_response(make_tokenizer):
    tokenizer = make_tokenizer("bpe")
    full = encoded(tokenizer, "Why?", " people eat", " eat")
    codes = encoded(tokenizer, "Why?", " people eat", " eat", max_length=len(full.chosen.ids) - 1)
    assert codes.flags == ()
    assert codes.chosen.ids == full.chosen.ids[:-1]
    assert not codes.chosen.ends


def test_an_empty_side_is_nothing_left(any_tokenizer):
    assert "nothing_left" in encoded(any_tokenizer, "Why?", "", " no").flags


def test_chat_scores_the_answer_and_keeps_the_end_of_turn_apart(make_tokenizer):
    """Pitfall 13: the prefix is the generation prompt, the end token what follows the answer."""
    tokenizer = make_tokenizer("bpe", chat=True)
    codes = encoded(tokenizer, "Why?", "The answer", "no", template="chat")
    assert words(tokenizer, codes.chosen) == "The answer"
    assert tokenizer.convert_ids_to_tokens(codes.chosen.ids[-1]) == "<|end|>"
    assert codes.chosen.ends
    messages = Pair(
        "1",
        ({"role": "user", "content": "Why?"},),
        ({"role": "assistant", "content": "The answer"},),
        ({"role": "assistant", "content": "no"},),
        line=1,
    )
    assert make_encoder(tokenizer, [messages])(messages) == codes
    assert tokenizer.apply_chat_template([*messages.prompt, *messages.chosen])["input_ids"][
        : len(codes.chosen.ids)
    ] == list(codes.chosen.ids)


def test_white_space_behind_the_end_token_is_not_the_end_token(make_tokenizer):
    """Gemma's vocabulary has the line break that its template writes there as an added token."""
    tokenizer = make_tokenizer("bpe", chat=True)
    plain = encoded(tokenizer, "Why?", "The answer", "no", template="chat")
    tokenizer.add_tokens(["\n"])
    codes = encoded(tokenizer, "Why?", "The answer", "no", template="chat")
    assert words(tokenizer, codes.chosen) == "The answer"
    assert tokenizer.convert_ids_to_tokens(codes.chosen.ids[-1]) == "<|end|>"
    assert codes.chosen.ids[codes.chosen.start :] == plain.chosen.ids[plain.chosen.start :]


@pytest.mark.parametrize(
    ("prompt", "rendered"),
    [
        ("What does the <s> tag do in HTML?", False),
        ("Fill the [MASK] in: an <unk> word, </s>", False),
        ("<s>Why?", True),
        ("[INST] Why? [/INST]", True),
        ("<|user|>\nWhy?<|assistant|>\n", True),
        ("Why?<|end|>", True),
    ],
)
def test_a_prompt_that_mentions_a_token_is_not_rendered(prompt, rendered):
    special = ["<s>", "</s>", "<unk>", "[MASK]", "<|end|>"]
    assert says_rendered(prompt, special) is rendered


def test_what_a_template_writes_into_a_response_is_scored_and_flagged(make_tokenizer):
    tokenizer = make_tokenizer("bpe", chat=True)
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{% if add_generation_prompt %}", "{% if false %}"
    )
    codes = encoded(tokenizer, "Why?", "The answer", "no", template="chat")
    assert codes.flags == ("template_added",)
    assert words(tokenizer, codes.chosen) == "<|turn|>assistant\nThe answer"


def test_raw_never_calls_a_chat_template(make_tokenizer):
    tokenizer = make_tokenizer("bpe", chat=True)
    tokenizer.chat_template = "{{ raise_exception('called') }}"
    chat = Pair(
        "1",
        ({"role": "user", "content": "Why?"},),
        ({"role": "assistant", "content": " a"},),
        ({"role": "assistant", "content": " b"},),
        line=1,
    )
    assert words(tokenizer, make_encoder(tokenizer, [chat], "raw")(chat).chosen) == " a"


def test_tools_and_template_arguments_reach_the_template(make_tokenizer):
    tokenizer = make_tokenizer("bpe", chat=True)
    tokenizer.chat_template = "{{ mood }}" + tokenizer.chat_template
    codes = encoded(tokenizer, "Why?", "so", "no", template="chat", chat_template_kwargs={"mood": "helpful"})
    assert tokenizer.decode(codes.chosen.ids).startswith("helpful")


@pytest.mark.parametrize(
    ("prompt", "chosen", "chat", "expected"),
    [
        ("Why?", " so", True, "raw"),
        ("Why? ", "so", True, "raw"),
        (None, "The answer", True, "raw"),
        ("Why?", "so", True, "chat"),
        ("Why?", "so", False, "qa"),
    ],
)
def test_auto_takes_the_template_the_boundary_asks_for(make_tokenizer, prompt, chosen, chat, expected):
    one = Pair("1", prompt, chosen, chosen + " no", line=1)
    assert make_encoder(make_tokenizer("bpe", chat=chat), [one]).template == expected


def test_question_answer_and_own_templates_keep_the_space_with_the_response(make_tokenizer):
    tokenizer = make_tokenizer("bpe")
    for template in ("qa", "Ask: {prompt}\nSay: "):
        codes = encoded(tokenizer, "Why?", "people eat", "no", template=template)
        assert words(tokenizer, codes.chosen) == " people eat"
        assert codes.flags == ()


def test_messages_without_a_chat_template_are_refused_in_one_line(make_tokenizer):
    chat = Pair(
        "1", None, ({"role": "assistant", "content": "a"},), ({"role": "assistant", "content": "b"},), line=1
    )
    with pytest.raises(ProbeError, match="no chat template"):
        make_encoder(make_tokenizer("bpe"), [chat])


def test_a_template_that_refuses_names_the_line(make_tokenizer):
    tokenizer = make_tokenizer("bpe", chat=True)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ProbeError, match=r"line 1: .*roles must alternate"):
        encoded(tokenizer, "Why?", "so", template="chat")


def test_unknown_templates_are_refused(make_tokenizer):
    with pytest.raises(ProbeError, match="unknown"):
        encoded(make_tokenizer("bpe"), "Why?", "so", template="alpaca")
    with pytest.raises(ProbeError, match="no chat template"):
        encoded(make_tokenizer("bpe"), "Why?", "so", template="chat")


def test_odd_characters_keep_an_exact_boundary(any_tokenizer):
    codes = encoded(any_tokenizer, "naïve 😀?", " café 😀 — tabs\tand\nnewlines", " no")
    assert "merged" not in codes.flags
    prefix = any_tokenizer("naïve 😀?", add_special_tokens=False)["input_ids"]
    lead = len(lead_of(any_tokenizer))
    assert list(codes.chosen.ids[lead : codes.chosen.start]) == prefix


def test_a_tokenizer_without_offsets_finds_the_same_boundary(make_tokenizer):
    fast = make_tokenizer("bpe")

    class Slow:
        is_fast = False
        bos_token_id, eos_token_id, chat_template = fast.bos_token_id, fast.eos_token_id, None

        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": fast(text, add_special_tokens=add_special_tokens)["input_ids"]}

    one = pair("Why do diets fail?", " The answer is that people eat", " no")
    slow, quick = (make_encoder(t, [one], "raw")(one) for t in (Slow(), fast))
    assert slow == quick


def test_a_prompt_is_rendered_once_and_with_its_own_options(make_tokenizer, monkeypatch):
    from probe.scoring import templates

    asked = []
    whole = templates._apply
    monkeypatch.setattr(
        templates, "_apply", lambda t, turns, o, **more: asked.append(more) or whole(t, turns, o, **more)
    )
    tokenizer = make_tokenizer("bpe", chat=True)
    tokenizer.chat_template = "{{ mark }}" + tokenizer.chat_template
    prompt = ({"role": "user", "content": "Why?"},)
    pairs = [
        Pair(str(i), prompt, "a", "b", meta={"chat_template_kwargs": {"mark": f"m{i % 2}"}}) for i in range(6)
    ]
    encode = make_encoder(tokenizer, pairs)
    codes = encode.many(pairs)
    assert sum("add_generation_prompt" in more for more in asked) == 2
    alone = [make_encoder(tokenizer, pairs)(pair) for pair in pairs]
    assert codes == alone and codes[0] != codes[1]
    tokenizer.chat_template = "{{ 'new' }}" + tokenizer.chat_template
    assert encode.many(pairs) != codes


@pytest.mark.parametrize(("rejected", "met"), [("a YES.", True), ("A yes.", False)])
def test_sides_that_the_template_makes_equal_are_told_from_equal_sides(make_tokenizer, rejected, met):
    tokenizer = make_tokenizer("bpe", chat=True)
    tokenizer.chat_template = tokenizer.chat_template.replace("m['content']", "m['content'].lower()")
    flags = encoded(tokenizer, "why?", "A yes.", rejected, template="chat").flags
    assert "identical" in flags and ("same_under_template" in flags) is met


@pytest.mark.parametrize("template", ["qa", "Q: {prompt}\nA:"])
def test_a_prompt_that_is_rendered_already_is_not_wrapped_again(make_tokenizer, template):
    tokenizer = make_tokenizer("bpe", chat=True)
    rendered = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    wrapped, raw = (encoded(tokenizer, rendered, "So", template=name) for name in (template, "raw"))
    assert wrapped.chosen.ids == raw.chosen.ids
    plain, raw = (encoded(tokenizer, "Why?", " So", template=name) for name in (template, "raw"))
    assert plain.chosen.ids != raw.chosen.ids


@pytest.mark.parametrize(
    ("full", "lead"),
    [
        ([7], ()),
        ([1, 7], (1,)),
        ([7, 2], ()),
        ([1, 5, 7, 2, 3], (1, 5)),
        ([1, 8, 2], (1,)),
        ([8], ()),
        ([1], ()),
    ],
)
def test_what_a_tokenizer_puts_before_a_text(full, lead):
    """The letter is 7, or 8 where it is read otherwise beside what is added; 1 and 2 are special."""

    class Tokenizer:
        all_special_ids = (1, 2)

        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": full if add_special_tokens else [7]}

    assert lead_of(Tokenizer()) == lead


@pytest.mark.parametrize(
    ("length", "start", "flags"),
    [
        (9, 2, set()), (6, 2, set()), (5, 2, set()), (4, 2, {"truncated"}), (3, 2, {"truncated"}),
        (2, 2, {"truncated", "prompt_fills", "nothing_left"}),
        (3, 4, {"truncated", "prompt_fills", "nothing_left"}),
    ],
)  # fmt: skip
def test_a_length_keeps_the_start_and_says_what_it_cut(make_tokenizer, length, start, flags):
    """Five tokens and an end token: at 5 the end token alone is cut, at `start` nothing is left to score."""
    encoder = make_encoder(make_tokenizer("bpe"), [pair("a", "b")], "raw", length)
    side, found = encoder._cut([1, 2, 3, 4, 5, 0], start, 9, True, set())
    assert side.ids == (1, 2, 3, 4, 5, 0)[:length] and side.ends == (length >= 6)
    assert found == flags


def test_only_a_template_is_surprised_by_a_rendered_prompt(make_tokenizer):
    """Under `raw` a prompt may hold turn markers; under a template they would stand twice."""
    tokenizer = make_tokenizer("bpe")
    for template, flags in (("raw", ()), ("qa", ("rendered",))):
        assert encoded(tokenizer, "<|im_start|>user Why?", " so", template=template).flags == flags
        assert encoded(tokenizer, "Why?", " so", template=template).flags == ()


def test_answers_are_generated_from_the_prompt_as_it_is_scored(make_tokenizer):
    """A text row up to where its response begins; a chat with the turn of the assistant opened."""
    tokenizer = make_tokenizer("bpe", chat=True)
    chat = Pair("1", ({"role": "user", "content": "Why?"},), ({"role": "assistant", "content": "so"},), "no")
    text = pair("Why do diets fail?", " so")
    encoder = make_encoder(tokenizer, [chat, text])
    codes = encoder.many([chat, text])
    for ids, code in zip(encoder.contexts([chat, text]), codes, strict=True):
        assert ids == code.chosen.ids[: code.chosen.start]


TWO_ENDS = (
    "{% for m in messages %}<|turn|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>{% else %}{{ eos_token }}{% endif %}"
)


@pytest.fixture
def two_ends(make_tokenizer):
    """A tokenizer whose template ends a turn as Phi-3's does: its mark, a line break, the end of the text."""
    tokenizer = make_tokenizer("bpe", chat=True)
    tokenizer.chat_template = TWO_ENDS
    tokenizer.add_tokens(["</tool_call>"])
    return tokenizer


@pytest.mark.parametrize("answer", ["The answer", "", "a </tool_call>"])
def test_all_that_closes_a_response_is_kept_apart(two_ends, answer):
    """The first of two end tokens counted as a word of the response."""
    codes = encoded(two_ends, "Why?", answer, "no", template="chat").chosen
    assert words(two_ends, codes) == answer
    closing = two_ends.convert_ids_to_tokens(codes.ids[len(codes.ids) - codes.ends :])
    assert (closing[0], closing[-1], codes.ends) == ("<|end|>", two_ends.eos_token, len(closing))


def test_a_length_that_cuts_between_two_end_tokens_keeps_the_first_apart(two_ends):
    pairs = [pair("Why?", "The answer")]
    whole = make_encoder(two_ends, pairs, "chat")(pairs[0]).chosen
    cut = make_encoder(two_ends, pairs, "chat", len(whole.ids) - 1)(pairs[0]).chosen
    assert (cut.ids, cut.ends) == (whole.ids[:-1], whole.ends - 1)
    assert words(two_ends, cut) == words(two_ends, whole) == "The answer"


def test_the_log_probs_of_all_that_closes_are_one_sum():
    side = EncodedSide((1, 2, 3, 4, 5), 2, 3, ends=2)
    score = side_score(side, np.array([-1.0, -2.0, -4.0], np.float32))
    assert (score.token_logps.tolist(), score.end_logp) == ([-1.0], -6.0)
    assert side_score(replace(side, ends=0), np.array([-1.0], np.float32)).end_logp is None


@pytest.mark.parametrize("template", ["raw", "qa"])
def test_a_cut_response_counts_the_bytes_that_are_scored(make_tokenizer, template):
    """Gaps by byte divided the log-probs of what was kept by the bytes of what was not."""
    tokenizer = make_tokenizer("bpe")
    long = " people" * 50
    whole = encoded(tokenizer, "Why?", long, " no", template=template)
    cut = encoded(tokenizer, "Why?", long, " no", template=template, max_length=20)
    kept = len(cut.chosen.ids) - cut.chosen.start
    assert "truncated_chosen" in cut.flags and cut.rejected.bytes == whole.rejected.bytes
    assert cut.chosen.bytes == len(tokenizer.decode(cut.chosen.ids[cut.chosen.start :]).encode())
    share = kept / (len(whole.chosen.ids) - whole.chosen.start)
    assert cut.chosen.bytes == pytest.approx(share * whole.chosen.bytes, rel=0.1)


@pytest.mark.parametrize(
    "prompt", ["Is this a", "He is in a bo", "Where did she fi", "fi", "Why?", "Is it so "]
)
def test_a_prompt_that_would_join_the_answer_is_generated_from_whole(prompt):
    """Behind "a" the letter that stands for an answer makes " ax", one token: the word had been left out."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>"], initial_alphabet=letters, show_progress=False
    )
    backend.train_from_iterator(["an ax in a box", "fix a max box", "a fix of an ax"] * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="<s>")
    assert len(tokenizer(" ax")["input_ids"]) == len(tokenizer(" fix")["input_ids"]) == 1
    encoder = make_encoder(tokenizer, [pair(prompt, " so")], "raw")
    told = tokenizer.decode(encoder.contexts([pair(prompt, " so")])[0], skip_special_tokens=True)
    assert told.rstrip() == prompt.rstrip()


BASE = "{{ bos_token }}{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}"
STARTS = "{% if add_generation_prompt %}<|turn|>assistant\n<think>\n{% endif %}"


@pytest.mark.parametrize(
    ("answer", "flags"),
    [
        ("<think>\nhm\n</think>\n\nIt is so.", ()),
        ("<think>hm</think>It is so.", ("template_changed",)),
        ("It is so.", ()),
    ],
)
def test_words_that_the_generation_prompt_wrote_are_not_dropped(make_tokenizer, answer, flags):
    """Qwen3-Thinking and others write `<think>` before the answer: "lose words" was said of every pair."""
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = (BASE + STARTS).replace(
        "{{ m.content }}",
        "{% if '</think>' in m.content %}<think>\n{{ m.content.split('</think>')[0][7:] | trim }}\n"
        "</think>\n\n{{ m.content.split('</think>')[1] | trim }}{% else %}{{ m.content }}{% endif %}",
    )
    other = answer.replace("hm", "oh").replace("so", "never")
    code = encoded(tokenizer, "Why?", answer, other, template="chat")
    assert code.flags == flags
    assert words(tokenizer, code.chosen).endswith("It is so.")


def test_a_prompt_that_is_rendered_otherwise_before_an_answer_is_told(make_tokenizer):
    """Mistral's template: the system text stands in the prompt alone, and no trainer trains with it."""
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = (
        "{{ bos_token }}{% set system = messages[0].content if messages[0].role == 'system' %}"
        "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}<|turn|>"
        "{% if loop.last and system %}{{ system }}\n\n{% endif %}{{ m.content }}<|turn|>"
        "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    asked = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"})
    sides = [({"role": "assistant", "content": text},) for text in ("so", "no")]
    for prompt, lost in ((asked, True), (asked[1:], False)):
        made = Pair("1", prompt, *sides)
        code = make_encoder(tokenizer, [made])(made)
        assert ("prompt_dropped" in code.flags) == lost
        assert "Be kind." not in tokenizer.decode(code.chosen.ids)


@pytest.mark.parametrize("closes", [True, False])
def test_an_added_token_that_is_a_word_ends_no_answer(make_tokenizer, closes):
    """GLM's template closes no turn: the last token of a call was taken for its end."""
    tokenizer = make_tokenizer("bpe")
    tokenizer.add_tokens(["</tool_call>", "<|done|>"])
    tokenizer.chat_template = BASE.replace("<|end|>", "<|done|>" if closes else "") + "{{ '' }}"
    code = encoded(tokenizer, "Why?", "a </tool_call>", "no", template="chat")
    assert code.chosen.ends == closes
    assert words(tokenizer, code.chosen).endswith("a </tool_call>")


ASKS_TEXT = "{{ m.content + (m.tool_calls[0].function.arguments if m.tool_calls else '') }}"
ASKS_OBJECT = (
    "{{ m.content }}{% if m.tool_calls %}{% for k, v in m.tool_calls[0].function.arguments.items() %}"
    "{{ k }}{% endfor %}{% endif %}"
)


@pytest.mark.parametrize("content", ["", None])
@pytest.mark.parametrize(
    ("asks", "refused", "taken", "remedy"),
    [
        (ASKS_TEXT, {"food": "fern"}, '{"food": "fern"}', "arguments of calls as JSON text"),
        (ASKS_OBJECT, '{"food": "fern"}', {"food": "fern"}, "arguments of calls as objects"),
    ],
)
def test_a_template_that_refuses_arguments_says_what_it_wants(
    make_tokenizer, asks, refused, taken, remedy, content
):
    """The remedy had been "Correct their roles"."""
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = BASE.replace("{{ m.content }}", asks)

    def code(arguments, content):
        call = {"type": "function", "function": {"name": "weigh", "arguments": arguments}}
        sides = (
            [{"role": "assistant", "content": content, "tool_calls": [call]}],
            [{"role": "assistant", "content": "no"}],
        )
        made = Pair("1", ({"role": "user", "content": "Why?"},), *map(tuple, sides), line=1)
        return make_encoder(tokenizer, [made])(made)

    null = asks == ASKS_TEXT and content is None
    with pytest.raises(ProbeError, match=remedy) as told:
        code(refused, content)
    assert ("for a content that is null" in str(told.value)) == null
    assert code(taken, "" if null else content).chosen.ids


def test_a_template_that_refuses_for_a_reason_of_its_own_blames_no_role(make_tokenizer):
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = "{{ raise_exception('Tool call IDs should have length 9!') }}"
    with pytest.raises(ProbeError, match=r"length 9!\)\. Write them as it asks"):
        encoded(tokenizer, "Why?", "so", "no", template="chat")
