"""`probe show` prints the ids that are scored and trained, whole and visible."""

import json
from pathlib import Path

import pytest

from probe.cli import app
from probe.pairs.record import Pair
from probe.scoring.encode import make_encoder
from probe.scoring.shown import pieces_of, shown_row

ROWS = [
    {
        "prompt": "Why do diets fail?",
        "chosen": "People eat more \u202e than they burn.",
        "rejected": "No 😀 idea.",
    },
    {
        "prompt": [{"role": "user", "content": "Why?"}],
        "chosen": [{"role": "assistant", "content": "so"}],
        "rejected": [{"role": "assistant", "content": "no"}],
    },
    {"prompt": "Long? " * 60, "chosen": "so it is " * 60, "rejected": "no " * 90},
]


@pytest.fixture
def model_dir(make_tokenizer, tmp_path):
    import transformers as hf

    make_tokenizer("bpe", chat=True).save_pretrained(tmp_path / "model")
    hf.LlamaConfig(max_position_embeddings=4096).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return str(path)


def run(*words):
    from typer.testing import CliRunner

    return CliRunner().invoke(app, ["show", *words])


def test_json_has_context_scored_ids_and_end_apart(make_tokenizer, model_dir, file):
    done = run(file, "--model", model_dir, "--format", "json")
    rows = json.loads(done.stdout)
    tokenizer = make_tokenizer("bpe", chat=True)
    assert [row["line"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert set(row) == {"line", "context", "chosen", "rejected", "end", "flags"}
        for side in ("chosen", "rejected"):
            assert row["end"][side] == [tokenizer.convert_tokens_to_ids("<|end|>")]
            assert tokenizer.decode(row["context"][side]).endswith("<|turn|>assistant\n")
    assert tokenizer.decode(rows[1]["chosen"]) == "so"


@pytest.mark.parametrize("line", ["1", "2", "3"])
def test_a_pair_fits_a_screen_and_moves_no_cursor(model_dir, file, line):
    done = run(file, "--line", line, "--model", model_dir)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert "<|end|>" in done.stdout and "\u202e" not in done.stdout and "\x1b" not in done.stdout
    whole = run(file, "--line", line, "--model", model_dir, "--all").stdout
    assert ("--all" in done.stdout) == (len(whole) > len(done.stdout))


def test_scored_tokens_stand_between_bars(model_dir, file):
    shown = run(file, "--line", "2", "--model", model_dir).stdout
    assert "│s│o│" in shown or "│so│" in shown
    assert "1 token scored and the end token" in shown or "2 tokens scored and the end token" in shown


def test_a_line_without_a_pair_is_one_line_of_error(model_dir, file):
    from probe.errors import ProbeError
    from probe.scoring.session import ModelOptions, Source
    from probe.scoring.shown import show_pairs

    with pytest.raises(ProbeError, match=r"pairs\.jsonl:9: no pair stands on this line"):
        show_pairs(Source.of(Path(file), None, None, False), ModelOptions(model=model_dir), [9])


@pytest.mark.parametrize("kind", ["bpe", "spm", "wordpiece"])
def test_pieces_join_to_the_text_of_the_ids(make_tokenizer, kind):
    tokenizer = make_tokenizer(kind)
    ids = tokenizer("The answer is that people gain weight.", add_special_tokens=False)["input_ids"]
    joined = "".join(text for text, _ in pieces_of(tokenizer, ids))
    assert joined.lstrip("▁ ") == tokenizer.decode(ids).lstrip()  # a lone word mark is spelled out


def test_what_a_template_drops_is_shown_with_its_tokens(make_tokenizer):
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = (
        "{% for m in messages %}<|turn|>{{ m['role'] }}\n"
        "{{ m['content'].split('</think>')[-1] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
    )
    turns = {"role": "assistant", "content": "<think>hm</think>so"}
    pair = Pair("1", ({"role": "user", "content": "Why?"},), (turns,), ({**turns, "content": "no"},), line=1)
    row = shown_row(make_encoder(tokenizer, [pair]), pair)
    (change,) = row["changes"]
    assert (change["side"], change["flag"], change["words"]) == (
        "chosen",
        "template_dropped",
        "<think>hm</think>",
    )
    assert change["tokens"] == len(tokenizer("<think>hm</think>", add_special_tokens=False)["input_ids"])


def test_training_and_scoring_take_the_ids_that_show_prints(make_tokenizer, build, file, tmp_path):
    """`probe train` trains on `examples` of its session, `probe bias` scores by the session's encoder."""
    from probe.scoring.session import ModelOptions, Session, Source
    from probe.scoring.shown import show_pairs
    from probe.training.data import examples

    place = str(tmp_path / "whole")
    build("llama").save_pretrained(place)
    make_tokenizer("bpe", chat=True).save_pretrained(place)
    source, how = (
        Source.of(Path(file), None, None, False),
        ModelOptions(model=place, device="cpu", no_cache=True),
    )
    session = Session.open(source, how)
    trained = examples(session.source.pairs(), session.encoder)
    shown = [row["ids"] for row in show_pairs(source, how, (), first=False).rows]
    assert [item.line for item in trained] == [
        row["line"] for row in shown if "prompt_fills" not in row["flags"]
    ]
    by_line = {row["line"]: row for row in shown}
    for item in trained:
        row = by_line[item.line]
        for name, side in (("chosen", item.codes.chosen), ("rejected", item.codes.rejected)):
            assert [*row["context"][name], *row[name], *row["end"][name]] == list(side.ids)
            assert len(row["context"][name]) == side.start
    scored = {score.line: score for score in session.scores()}
    for line, score in scored.items():
        assert score.chosen.tokens == len(by_line[line]["chosen"])
        assert (score.rejected.end_logp is not None) == bool(by_line[line]["end"]["rejected"])
