"""Eighteen files as people have them: no crash, the right finding, the right numbers."""

import json
from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.pairs.read import read_pairs
from probe.probes.bias.run import BiasOptions, measure_bias_in
from probe.probes.data.run import DataRequest, check_data
from probe.scoring.encode import make_encoder
from probe.scoring.session import ModelOptions, Session, Source

CHAT = Path(__file__).parents[2].parent / "shared/data/chat"
pytestmark = pytest.mark.skipif(not CHAT.is_dir(), reason="needs ../shared/data beside the checkout")
# A template of the kind that people have: tools first, reasoning of the answer dropped, calls as JSON.
CHATML = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] or '' }}"
    "{% for c in m['tool_calls'] or [] %}<call>{{ c['function'] | tojson }}</call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DROPS = CHATML.replace("m['content'] or ''", "(m['content'] or '').split('</think>')[-1]")
EMPTY_THINK = CHATML.replace(
    "{{ m['role'] }}\n", "{{ m['role'] }}\n{{ '<think></think>' if m.role == 'assistant' }}"
)
NO_GENERATION = CHATML.split("{% if add_generation_prompt")[0]
PARTS = CHATML.replace("{{ m['content'] or '' }}", "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}")
TURNS = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
)
TEXT_ALONE = CHATML.replace("m['content'] or ''", "'' ~ (m['content'] or '')")
# What `probe data` says of each file without a model, beside the number of pairs.
FOUND = {
    "all_rejected_empty.jsonl": {"PB301"},
    "alpaca_columns.jsonl": set(),
    "call_against_call.jsonl": set(),
    "call_against_text.jsonl": set(),
    "consecutive_roles.jsonl": {"PB304"},
    "content_parts.jsonl": set(),
    "messages_as_prompt.jsonl": set(),
    "messages_in_csv.csv": set(),
    "plain_turns.jsonl": set(),
    "prompt_fills_length.jsonl": set(),
    "reasoning_blocks.jsonl": set(),
    "rendered_beforehand.jsonl": {"PB351"},
    "several_turns_a_side.jsonl": {"PB352"},
    "system_question_columns.jsonl": set(),
    "text_and_chat_mixed.jsonl": {"PB353"},
    "tools_as_text.jsonl": set(),
    "ultrafeedback_shape.jsonl": set(),
}
FORM = ("PB300", "PB301", "PB302", "PB304", "PB305", "PB35", "PB34")


def test_every_file_has_its_expectation():
    files = {path.name for path in CHAT.iterdir() if path.suffix != ".md"}
    assert files == {*FOUND, "unpaired.jsonl"}


@pytest.mark.parametrize("name", FOUND)
def test_the_file_itself_is_told_rightly(name):
    run = check_data(DataRequest(CHAT / name, templates=True))
    found = {f.code: f for f in run.findings if f.code.startswith(FORM)}
    assert (run.inputs["pairs"]["n"], run.inputs["pairs"]["dropped"]) == (24, 0)
    assert set(found) == FOUND[name]
    assert all(f.lines for f in found.values())


def test_unpaired_rows_are_one_right_line():
    with pytest.raises(ProbeError, match=r"all 48 rows: unpaired \(prompt, completion, label\)"):
        list(read_pairs(CHAT / "unpaired.jsonl"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("alpaca_columns.jsonl", "instruction with input"),
        ("system_question_columns.jsonl", "question under the column system"),
        ("messages_as_prompt.jsonl", "the column messages"),
        ("messages_in_csv.csv", "chosen and rejected hold messages as JSON text"),
        ("ultrafeedback_shape.jsonl", "the sides repeat the prompt"),
    ],
)
def test_what_was_taken_as_what_is_one_line(name, told, capsys):
    from probe.pairs import read

    read.tell_reading.cache_clear()
    pairs = list(read_pairs(CHAT / name))
    said = [line for line in capsys.readouterr().err.splitlines() if name in line]
    assert len(said) == 1 and told in said[0]
    assert all(pair.prompt for pair in pairs)


@pytest.fixture
def tokenizer(make_tokenizer):
    def made(template=CHATML):
        made = make_tokenizer("bpe")
        made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        made.chat_template = template
        return made

    return made


def codes_of(tokenizer, name, template="auto", max_length=None):
    pairs = list(read_pairs(CHAT / name))
    return pairs, make_encoder(tokenizer, pairs, template, max_length).many(pairs)


def scored(tokenizer, side):
    return tokenizer.decode(side.ids[side.start :])


@pytest.mark.parametrize("name", ["call_against_call.jsonl", "call_against_text.jsonl"])
def test_a_tool_call_is_the_response(tokenizer, name):
    made = tokenizer()
    pairs, codes = codes_of(made, name)
    for pair, code in zip(pairs, codes, strict=True):
        assert "soil_temp" in scored(made, code.chosen) and pair.chosen[0]["content"] is None
        assert "soil_temp" in made.decode(code.chosen.ids[: code.chosen.start])  # the tool's schema


def test_tools_as_text_are_rendered_as_a_list(tokenizer):
    made = tokenizer()
    pairs, codes = codes_of(made, "tools_as_text.jsonl")
    assert isinstance(pairs[0].meta["tools"], str)
    assert all("<|im_start|>tools" in made.decode(code.chosen.ids[: code.chosen.start]) for code in codes)
    assert '"function"' in made.decode(codes[0].chosen.ids[: codes[0].chosen.start])


def test_all_that_follows_the_common_turns_is_scored(tokenizer):
    made = tokenizer()
    for code in codes_of(made, "several_turns_a_side.jsonl")[1]:
        assert scored(made, code.chosen).count("<|im_end|>") == 3


def test_dropped_reasoning_is_a_finding_with_words_and_lines(tokenizer, tmp_path):
    tokenizer(DROPS).save_pretrained(tmp_path)
    run = check_data(DataRequest(CHAT / "reasoning_blocks.jsonl", model=str(tmp_path)))
    (finding,) = [f for f in run.findings if f.code == "PB346"]
    assert len(finding.lines) == 24 and "The plant matters here" in finding.message
    assert "tokens" in finding.message


def test_an_empty_think_block_is_a_finding(tokenizer, tmp_path):
    tokenizer(EMPTY_THINK).save_pretrained(tmp_path)
    run = check_data(DataRequest(CHAT / "plain_turns.jsonl", model=str(tmp_path)))
    (finding,) = [f for f in run.findings if f.code == "PB347"]
    assert len(finding.lines) == 24 and "<think></think>" in finding.message


def test_without_a_generation_prompt_the_turn_marker_is_scored(tokenizer):
    """As TRL does: what follows the common beginning of tokens is the response."""
    made = tokenizer(NO_GENERATION)
    for code in codes_of(made, "plain_turns.jsonl")[1]:
        assert scored(made, code.chosen).startswith("<|im_start|>assistant\n")


def test_parts_are_scored_where_the_template_wants_them_and_named_where_it_does_not(tokenizer):
    made = tokenizer(PARTS)
    assert all("Keep" in scored(made, c.chosen) for c in codes_of(made, "content_parts.jsonl")[1][:1])
    with pytest.raises(ProbeError, match=r"line 1: .*wants text"):
        codes_of(tokenizer(TEXT_ALONE), "content_parts.jsonl")
    with pytest.raises(ProbeError, match=r"line 1: "):
        codes_of(made, "plain_turns.jsonl")


def test_refused_roles_name_the_line_and_what_the_template_said(tokenizer):
    with pytest.raises(ProbeError, match=r"line 1: .*roles must alternate"):
        codes_of(tokenizer(TURNS), "consecutive_roles.jsonl")
    pairs, codes = codes_of(tokenizer(TURNS), "consecutive_roles.jsonl", "raw")  # the remedy works
    assert len(codes) == len(pairs) == 24


def test_rendered_prompts_are_taken_raw(tokenizer, tmp_path):
    made = tokenizer()
    pairs, codes = codes_of(made, "rendered_beforehand.jsonl", "chat")
    for pair, code in zip(pairs, codes, strict=True):
        assert made.decode(code.chosen.ids).count("<|im_start|>") == pair.prompt.count("<|im_start|>")
        assert made.decode(code.chosen.ids).count("<|im_end|>") == 2  # never twice
        assert {"rendered", "typed_special"} <= set(code.flags)
    made.save_pretrained(tmp_path)
    found = {
        f.code: f
        for f in check_data(DataRequest(CHAT / "rendered_beforehand.jsonl", model=str(tmp_path))).findings
    }
    assert len(found["PB351"].lines) == len(found["PB345"].lines) == 24


def test_each_row_of_a_mixed_file_is_rendered_as_what_it_is(tokenizer):
    made = tokenizer()
    pairs, codes = codes_of(made, "text_and_chat_mixed.jsonl")
    for pair, code in zip(pairs, codes, strict=True):
        assert ("<|im_start|>" in made.decode(code.chosen.ids)) == (not isinstance(pair.prompt, str))


def test_raw_never_calls_a_chat_template(tokenizer):
    made = tokenizer("{{ raise_exception('called') }}")
    for name in FOUND:
        if name != "all_rejected_empty.jsonl":
            codes_of(made, name, "raw")


@pytest.fixture
def session(tokenizer, tmp_path):
    import torch
    import transformers as hf

    def opened(name, template=CHATML, **how):
        made = tokenizer(template)
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = hf.LlamaConfig(vocab_size=len(made), max_position_embeddings=4096, **sizes)
        place = tmp_path / name
        hf.LlamaForCausalLM(config).save_pretrained(place)
        made.save_pretrained(place)
        options = ModelOptions(model=str(place), device="cpu", no_cache=True, **how)
        return Session.open(Source.of(CHAT / name, None, None, False), options)

    return opened


QUICK = BiasOptions(templates="none", corrected=False)


@pytest.mark.parametrize(
    "name", [n for n in FOUND if n not in ("all_rejected_empty.jsonl", "content_parts.jsonl")]
)
def test_bias_measures_every_pair(name, session):
    run = measure_bias_in(session(name), QUICK).run
    assert run.estimate("gap").n == 24
    assert run.inputs["scores"]["excluded_count"] == 0


def test_pairs_left_out_stand_in_the_header_with_the_reason(session):
    from probe.reports import text

    opened = session("prompt_fills_length.jsonl", max_length=256)
    run = measure_bias_in(opened, QUICK).run
    left = run.inputs["scores"]["excluded_count"]
    assert left == 12 and run.estimate("gap").n == 12
    head = " ".join(text.render(run).split("\n\n")[0].split())
    assert f"24 pairs, 0 dropped · {left} left out: the prompt fills --max-length" in head
    (finding,) = [f for f in run.findings if f.code == "PB344"]
    assert len(finding.lines) == left


def test_nothing_but_empty_sides_is_one_line(session):
    from probe.errors import ProbeError

    with pytest.raises(ProbeError, match="is empty"):
        session("all_rejected_empty.jsonl")


def test_ultrafeedback_is_read_with_no_flags(session):
    opened = session("ultrafeedback_shape.jsonl")
    pairs = list(opened.source.pairs())
    rows = [json.loads(line) for line in (CHAT / "ultrafeedback_shape.jsonl").read_text().splitlines()]
    for pair, row in zip(pairs, rows, strict=True):
        assert pair.prompt == (row["chosen"][0],) and pair.chosen == tuple(row["chosen"][1:])
    assert opened.encoder.template == "chat"
