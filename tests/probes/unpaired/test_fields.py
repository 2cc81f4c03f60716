"""Answers under other column names and files with broken rows, through each command that takes answers."""

import json

import pytest
from typer.testing import CliRunner

import probe
from probe.cli import app
from probe.errors import ProbeError
from probe.pairs.fields import parse_fields
from probe.pairs.read import read_pairs
from probe.pairs.unpaired import as_pair, is_unpaired, read_unpaired

WORDS = ("tree", "stone", "river", "cloud", "lamp", "road", "bird", "door", "leaf", "boat", "wall", "seed")
FIELDS = "prompt=question,completion=said,label=good,id=key,group=of"
COMMANDS = {
    "unpaired": ("--no-model",),
    "gate": ("--no-trial",),
    "trial": ("--steps", "1"),
    "train": ("--method", "kto", "--steps", "1"),
}
BROKEN = ({"question": "Q", "said": "A", "good": "yes"}, {"question": "Q", "good": True}, [1])


def rows(n=24):
    for i in range(2 * n):
        said = f"It is by the {WORDS[(i * 7 + 1) % 12]}."
        yield {"question": f"Where is {i // 2}?", "said": said, "good": i % 2 == 0, "key": f"k{i}", "of": "a"}


@pytest.fixture
def file(tmp_path):
    def write(*given):
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
        return path

    return write


def run_of(command, path, *more):
    done = CliRunner().invoke(app, [command, str(path), *COMMANDS[command], "--fields", FIELDS, *more])
    if isinstance(done.exception, ProbeError):
        raise done.exception
    assert done.exit_code in (0, 1), done.output
    return json.loads((path.parent / "out" / "run.json").read_text())


@pytest.mark.parametrize("command", COMMANDS)
def test_columns_are_mapped_and_broken_rows_left_out(command, file, tmp_path, tiny_model_dir):
    path = file(BROKEN[0], *rows(), *BROKEN[1:])
    how = ("--model", str(tiny_model_dir), "--device", "cpu", "--no-cache", "--out", str(tmp_path / "out"))
    with pytest.raises(ProbeError, match=r"answers.jsonl:1: \"good\" is 'yes'. Write true"):
        run_of(command, path, *how)
    told = run_of(command, path, *how, "--skip-bad")["inputs"]["pairs"]
    assert (told["n"], told["dropped"], told["dropped_lines"]) == (48, 3, [1, 50, 51])
    assert told["unit"] == "answer"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_for_pairs_is_left_out_in_silence(command, file, tmp_path):
    path = file(*rows(2))
    if command != "unpaired":
        with pytest.raises(ProbeError, match="--sides does nothing"):
            run_of(command, path, "--sides", "good,bad")
    if command in ("trial", "train"):
        with pytest.raises(ProbeError, match="--samples does nothing"):
            run_of(command, path, "--samples", "5")


def test_mapped_columns_are_read(file):
    first, second = read_unpaired(file(*rows(1)), parse_fields(FIELDS)).rows
    assert (first.id, first.prompt, first.completion, first.group) == (
        "k0",
        "Where is 0?",
        "It is by the stone.",
        "a",
    )
    assert (first.wanted, second.wanted) == (True, False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("completion=text,label=good", 'no "text" .* Map it with --fields completion=FIELD'),
        ("completion=said", 'no "label" .* Map it with --fields label=FIELD'),
        ("prompt=q,completion=said,label=good", 'no field "q". Correct --fields'),
        ("completion=said,label=good,chosen=said", '"chosen" is a side of pairs'),
    ],
)
def test_a_mapping_that_does_not_fit_is_told(fields, said, file):
    with pytest.raises(ProbeError, match=said):
        read_unpaired(file(*rows(1)), parse_fields(fields))


def test_pairs_refuse_the_columns_of_answers(file):
    for name in ("completion", "label"):
        with pytest.raises(ProbeError, match=f'"{name}" is for answers with a label each'):
            list(read_pairs(file(*rows(1)), fields=parse_fields(f"{name}=said")))


def test_what_the_file_holds_is_what_is_mapped_or_what_its_first_sound_row_has(file):
    path = file(*rows(1))
    assert not is_unpaired(path) and is_unpaired(path, parse_fields("label=good"))
    plain = {"prompt": "a", "completion": "b", "label": True, "better": "c"}
    assert is_unpaired(file(plain))
    assert not is_unpaired(file(plain), parse_fields("chosen=better,rejected=completion"))
    path = file(plain)
    path.write_text("{broken\n" + path.read_text())
    assert is_unpaired(path)


def test_python_maps_columns_as_the_command_does(file, tiny_model_dir):
    run = probe.gate(
        list(rows()), str(tiny_model_dir), device="cpu", off=("trial",), fields=FIELDS, skip_bad=True
    )
    assert run.inputs["pairs"]["n"] == 48 and run.command == "unpaired"


@pytest.mark.parametrize("tools", [[], "[]", [{"type": "function", "function": {"name": "weigh"}}], None])
def test_an_answer_hands_to_the_template_what_a_pair_does(tmp_path, tools):
    """An empty list is one: TRL passes it on, and Llama's template writes its tool instructions for it."""
    turn = [{"role": "assistant", "content": "so"}]
    row = {"prompt": [{"role": "user", "content": "Why?"}], "completion": turn, "label": True, "tools": tools}
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (answer,) = read_unpaired(path).rows
    assert as_pair(answer).meta == ({} if tools is None else {"tools": tools})
