"""Every command that takes pairs on files as people have them: no crash, the right finding and numbers."""

import dataclasses
import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
import torch
import transformers as hf
from rich.console import Console
from tiny_models import make_tokenizer  # noqa: F401

from probe.commands.label_screen import question_lines
from probe.pairs.audit import AnswerLog, LabelAnswer, Question, log_path, questions
from probe.pairs.misread import MISREAD_CODES
from probe.pairs.read import read_pairs
from probe.pairs.record import text_of
from probe.records import Decision, Reason
from probe.runs import load_run, save_run
from probe.scoring.told import FLAG_WORDINGS
from probe.training.shipped import shipped_values

CHAT = Path(__file__).parents[2].parent / "shared/data/chat"
pytestmark = [
    pytest.mark.skipif(not CHAT.is_dir(), reason="needs ../shared/data beside the checkout"),
]
CHATML = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] or '' }}"
    "{% for c in m['tool_calls'] or [] %}<call>{{ c['function'] | tojson }}</call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "drops": CHATML.replace("m['content'] or ''", "(m['content'] or '').split('</think>')[-1]"),
    "think": CHATML.replace(
        "{{ m['role'] }}\n", "{{ m['role'] }}\n{{ '<think></think>' if m.role == 'assistant' }}"
    ),
    "parts": CHATML.replace(
        "{{ m['content'] or '' }}", "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}"
    ),
    "turns": "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<|im_start|>{{ m['content'] }}<|im_end|>"
    "{% endfor %}",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A file under a template: codes of what the encoder meets and of the file alone, each with its number of
    lines; pairs left out of scores; the words of the line that refuses it, or its export."""

    template: str = "chatml"
    met: dict[str, int] = dataclasses.field(default_factory=dict)
    file: dict[str, int] = dataclasses.field(default_factory=dict)
    left_out: int = 0
    refused: str = ""
    not_exported: str = ""
    more: tuple[str, ...] = ()


CASES = {
    "all_rejected_empty.jsonl": Case(refused="all 24 rows: "),
    "alpaca_columns.jsonl": Case(),
    "call_against_call.jsonl": Case(),
    "call_against_text.jsonl": Case(),
    "consecutive_roles.jsonl": Case(file={"PB304": 24}),
    "consecutive_roles.jsonl under turns": Case("turns", refused="line 1: the chat template refuses"),
    "content_parts.jsonl": Case(refused="line 1: the chat template wants text"),
    "content_parts.jsonl under parts": Case("parts"),
    "messages_as_prompt.jsonl": Case(),
    "messages_in_csv.csv": Case(),
    "plain_turns.jsonl": Case("think", met={"PB347": 24}),
    "prompt_fills_length.jsonl": Case(
        met={"PB344": 12}, file={"PB341": 12}, left_out=12, more=("--max-length", "256")
    ),
    "reasoning_blocks.jsonl": Case("drops", met={"PB346": 24}),
    "rendered_beforehand.jsonl": Case(met={"PB345": 24}, file={"PB351": 24}),
    "several_turns_a_side.jsonl": Case(file={"PB352": 24}),
    "system_question_columns.jsonl": Case(),
    "text_and_chat_mixed.jsonl": Case(file={"PB353": 12}, not_exported="line 2: these chat messages"),
    "tools_as_text.jsonl": Case(),
    "ultrafeedback_shape.jsonl": Case(),
    "unpaired.jsonl": Case(refused="all 48 rows: unpaired"),
}
FORM = ("PB30", "PB34", "PB35")
QUICK = {
    "bias": ("--templates", "none", "--no-corrected"),
    "negatives": ("--no-surface", "--no-numerics", "--no-alone", "--most", "24"),
    "trial": ("--pairs", "24", "--steps", "1", "--samples", "0"),
    "levers": ("--shots", "0", "--no-steering", "--system", "Answer.", "--most", "24"),
    "effects": ("--no-builtin", "--trait", "calm: You are calm.", "--most", "24"),
    "train": ("--steps", "1", "--samples", "0"),
    "gate": ("--no-trial", "--no-numerics", "--no-negatives"),
}


def path_of(name):
    return CHAT / name.partition(" ")[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_tokenizer):  # noqa: F811
    """A tiny random model under each template, by its name."""
    place = tmp_path_factory.mktemp("models")
    for name, template in TEMPLATES.items():
        tokenizer = make_tokenizer("bpe")
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.chat_template = template
        torch.manual_seed(0)
        sizes = {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        }
        config = hf.LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=4096, **sizes)
        hf.LlamaForCausalLM(config).save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
    return place


def squeezed(text):
    return "".join(text.split())


def codes_of(run):
    return {f.code: len(f.lines) for f in run.findings if f.code.startswith(FORM)}


def test_every_file_has_its_case():
    assert {path.name for path in CHAT.iterdir() if path.suffix != ".md"} == {
        path_of(name).name for name in CASES
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("command", QUICK)
def test_what_was_met_is_told(command, name, models, probe, tmp_path):
    case = CASES[name]
    done = probe(
        command, path_of(name), "--model", models / case.template, *case.more, *QUICK[command],
        "--no-cache", "--out", tmp_path / "run",
    )  # fmt: skip
    if case.refused:
        unpaired = (
            command in ("gate", "train", "trial") and name == "unpaired.jsonl"
        )  # taken, without these options
        assert done.code == 2 and ("answers with a label" if unpaired else case.refused) in done.line, done
        return
    assert done.code == 0 or command == "gate", done
    run = load_run(tmp_path / "run")
    amiss = {
        code: n for code, n in case.file.items() if code in MISREAD_CODES
    }  # told wherever pairs are read
    assert codes_of(run) == case.met | (case.file if command == "gate" else amiss)
    assert run.inputs["pairs"]["n"] == 24
    if command != "train":
        assert run.inputs["scores"]["excluded_count"] == case.left_out
    if command == "bias":
        assert run.estimate("gap").n == 24 - case.left_out


@pytest.mark.parametrize("name", CASES)
def test_show(name, models, probe):
    case = CASES[name]
    done = probe(
        "show", path_of(name), "--model", models / case.template, *case.more, "--format", "json", "--all"
    )
    if case.refused:
        assert done.code == 2 and case.refused in done.line, done
        return
    rows = json.loads(done.out)
    assert [row["line"] for row in rows] == [pair.line for pair in read_pairs(path_of(name))]
    told = {FLAG_WORDINGS[flag].code for row in rows for flag in row["flags"] if flag in FLAG_WORDINGS}
    assert told == set(case.met)
    one = probe(
        "show", path_of(name), "--model", models / case.template, *case.more, "--line", rows[-1]["line"]
    )
    assert one.code == 0 and len(one.out.splitlines()) <= 40


@pytest.mark.parametrize("name", CASES)
def test_sample(name, models, probe, tmp_path):
    """The prompts of every file are answered, those of unpaired rows too, or refused in a line."""
    case = CASES[name]
    to = tmp_path / "sampled.jsonl"
    words = ("--temperatures", "0", "--tokens", "2", "--keep-if", "length-ratio>=0", "--to", to)
    done = probe(
        "sample",
        path_of(name),
        "--model",
        models / case.template,
        *words,
        "--no-cache",
        "--out",
        tmp_path / "r",
    )
    if case.refused and name not in ("all_rejected_empty.jsonl", "unpaired.jsonl"):
        assert done.code == 2 and case.refused in done.line, done
        return
    assert done.code == 0, done
    made = load_run(tmp_path / "r").inputs["pairs"]["n"]
    assert made == (48 if name == "unpaired.jsonl" else 24)


@pytest.mark.parametrize("name", CASES)
def test_label(name, probe, tmp_path):
    """The words of both sides are on the screen whole, and answers are exported with their pairs."""
    path = shutil.copy(path_of(name), tmp_path / path_of(name).name)
    if CASES[name].refused.startswith("all"):
        assert probe("label", path, "--report").code == 2
        return
    pairs = list(read_pairs(path))
    console = Console(file=StringIO(), width=40, force_terminal=True, _environ={})
    for pair in pairs[:3]:
        lines = question_lines(Question(pair, "d", "chosen"), console, 40)
        shown = squeezed("".join(segment.text for line in lines for segment in line))
        for content in (pair.prompt, pair.chosen, pair.rejected):
            turns = [content] if isinstance(content, str) else [(message,) for message in content]
            assert all(squeezed(text_of(turn)) in shown for turn in turns)
    log = AnswerLog.open(log_path(path, "ann"))
    for question in questions(pairs, "ann", 0):
        log.add(
            LabelAnswer(
                question.digest, question.pair.id, "chosen", question.left, 1.0, "2026-11-26T00:00:00Z"
            )
        )
    done = probe("label", path, "--name", "ann", "--n", "24", "--report", "--export", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert done.code in (0, 1) and len(rows) == 24


@pytest.mark.parametrize("name", CASES)
def test_export(name, models, probe, tmp_path):
    """What a gate measured goes to TRL row by row as it was measured, but for pairs without a score, or is
    refused by line."""
    case = CASES[name]
    if case.refused:
        pytest.skip("the gate refuses it")
    words = ("--no-trial", "--no-numerics", "--no-negatives", "--no-data", "--no-cache")
    probe(
        "gate", path_of(name), "--model", models / case.template, *case.more, *words, "--out", tmp_path / "g"
    )
    run = load_run(tmp_path / "g")
    decision = Decision(
        "dpo", ("dpo",), shipped_values("dpo", parameters=None, n=24), (Reason("", "x", "y"),)
    )
    save_run(dataclasses.replace(run, decision=decision), tmp_path / "g")
    done = probe("export", tmp_path / "g", "--to", "trl", "--out", tmp_path / "e")
    if case.not_exported:
        assert done.code == 2 and case.not_exported in done.line, done
        return
    assert done.code == 0, done
    rows = [json.loads(line) for line in (tmp_path / "e/data-dpo/train.jsonl").read_text().splitlines()]
    left_out = {row["line"] for row in run.inputs["scores"]["excluded"]}
    pairs = [pair for pair in read_pairs(path_of(name)) if pair.line not in left_out]
    assert len(rows) == len(pairs) == 24 - case.left_out
    chat = run.inputs["model"]["template"] == "chat"
    assert all(isinstance(row["chosen"], list) == chat for row in rows)
    for row, pair in zip(rows, pairs, strict=True):
        assert not pair.meta.get("tools") or row["tools"]


def test_a_whole_gate_on_the_shape_of_ultrafeedback_has_no_flags(models, probe, tmp_path):
    words = ("--model", models / "chatml", "--no-cache", "--trial-pairs", "24", "--out", tmp_path / "g")
    done = probe("gate", path_of("ultrafeedback_shape.jsonl"), *words)
    run = load_run(tmp_path / "g")
    states = {state for name, state in run.details["probes"].items() if name != "effects"}
    assert done.code in (0, 1) and states == {"done"}
    assert run.inputs["scores"]["flags"] == [] and run.inputs["scores"]["excluded_count"] == 0
    assert codes_of(run) == {}
