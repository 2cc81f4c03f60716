"""Models and adapters that are damaged, foreign or hostile: one line and exit 2, never a score."""

import json
import pickle
import shutil
import struct

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from .models import ADAPTERS, LFS, MODELS, PAGE, WEIGHTS, Bomb, added, config


@pytest.fixture
def model(tmp_path, tiny_model_dir):
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


@pytest.fixture(scope="session")
def sound_adapter(tmp_path_factory, tiny_model_dir):
    directory = tmp_path_factory.mktemp("adapter")
    base = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    wrapped = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    wrapped.save_pretrained(directory)
    return directory


@pytest.fixture
def adapter(tmp_path, sound_adapter):
    return shutil.copytree(sound_adapter, tmp_path / "adapter")


def refused(done, *words):
    assert done.code == 2 and done.out == "", done
    assert done.line.startswith("probe: ") and all(word in done.line for word in words), done.line
    assert len(done.line) < 700, done.line


def test_the_sound_ones_are_measured(probe, pair_file, model, adapter):
    assert probe("bias", pair_file, "--model", model, "--templates", "none").code == 0
    done = probe("bias", pair_file, "--model", model, "--adapter", adapter, "--templates", "none")
    assert done.code == 0, done


@pytest.mark.parametrize("name", MODELS)
def test_a_model(probe, pair_file, model, name):
    damage, words = MODELS[name]
    damage(model)
    done = probe("bias", pair_file, "--model", model, "--templates", "none")
    if words is None and done.code == 0:  # what the libraries put right by themselves
        return
    refused(done, *(words or ()))


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter(probe, pair_file, model, adapter, name):
    damage, words = ADAPTERS[name]
    damage(adapter)
    refused(probe("bias", pair_file, "--model", model, "--adapter", adapter, "--templates", "none"), *words)


COMMANDS = dict.fromkeys(("bias", "negatives", "trial", "gate", "train", "sample", "effects", "levers"), ())
COMMANDS |= {"reference": ("--to", "rows.jsonl"), "unpaired": ()}


@pytest.fixture
def read_by(pair_file, tmp_path):
    """The file that a command reads: `unpaired` takes answers."""
    rows = [{"prompt": f"Say {i}:", "completion": f" yes {i}", "label": i % 2 == 0} for i in range(50)]
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lambda command: answers if command == "unpaired" else pair_file


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["no-head", "index-to-pickle", "cut-0.3"])
def test_every_command_refuses_them(probe, read_by, model, command, name):
    damage, words = MODELS[name]
    damage(model)
    refused(probe(command, read_by(command), *COMMANDS[command], "--model", model), *words)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["other-peft-type", "dora-without-its-tensors", "pickle-and-decoy", "no-b"])
def test_every_command_refuses_adapters(probe, read_by, model, adapter, command, name):
    damage, words = ADAPTERS[name]
    damage(adapter)
    named = ("--model", model, "--adapter", adapter)
    refused(probe(command, read_by(command), *COMMANDS[command], *named), *words)


def test_compare_refuses_them(probe, pair_file, model, adapter, tiny_model_dir):
    damage, words = MODELS["no-head"]
    damage(model)
    refused(probe("compare", tiny_model_dir, model, pair_file), *words)
    damage, words = ADAPTERS["no-b"]
    damage(adapter)
    refused(probe("compare", tiny_model_dir, adapter, pair_file), *words)


# --- what only shows when it runs -----------------------------------------------------------------------


def test_a_tokenizer_of_a_larger_model(probe, pair_file, model):
    tensors = load_file(model / WEIGHTS)
    small = {k: v[:200].clone() if v.shape[0] == 300 else v for k, v in tensors.items()}
    save_file(small, model / WEIGHTS, {"format": "pt"})
    config(vocab_size=200)(model)
    refused(probe("bias", pair_file, "--model", model), "another model")


def test_tokens_added_beyond_the_model_are_told_where_they_come_up(probe, tmp_path, model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens([f"z{i}z" for i in range(100)])
    tokenizer.save_pretrained(model)
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Say {i}:", "chosen": " yes z99z", "rejected": f" no {i}"} for i in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for command in ("bias", "negatives", "train"):
        refused(probe(command, path, "--model", model), "token id", "300 ids")


def test_weights_that_are_not_numbers(probe, pair_file, model):
    tensors = load_file(model / WEIGHTS)
    tensors["model.layers.1.mlp.up_proj.weight"][:] = float("nan")
    save_file(tensors, model / WEIGHTS, {"format": "pt"})
    done = probe("bias", pair_file, "--model", model)
    assert done.code == 3 and "layers.1.mlp.up_proj" in done.line, done


@pytest.mark.parametrize(
    "device", ["mps", "cuda", "cuda:7", "cuda:x", "xpu", "hpu", "meta", "abacus", "", "cpu:1:2", "-1"]
)
def test_a_device_that_is_not_there(probe, pair_file, model, device):
    if device.partition(":")[0] in ("cuda", "mps") and (
        torch.cuda.is_available() or torch.backends.mps.is_available()
    ):
        pytest.skip("this machine may have the device")
    refused(probe("bias", pair_file, "--model", model, "--device", device), f"--device {device}")


HEAD = b"GGUF" + struct.pack("<IQQ", 3, 2, 3) + b"\x04\x00\x00\x00\x00\x00\x00\x00name"
NO_TENSORS = b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
GGUF = {"empty": b"", "cut": HEAD, "noise": bytes(range(256)) * 9, "page": PAGE, "lfs": LFS}
GGUF |= {"no-tensors": NO_TENSORS, "counts-huge": b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60)}


@pytest.mark.parametrize("name", GGUF)
def test_a_gguf(probe, pair_file, tmp_path, name):
    (tmp_path / "model.gguf").write_bytes(GGUF[name])
    refused(probe("bias", pair_file, "--model", tmp_path / "model.gguf"), "GGUF")


@pytest.mark.parametrize("command", [*COMMANDS, "show", "compare"])
@pytest.mark.parametrize("name", ["cut", "lfs"])
def test_every_command_refuses_a_gguf(probe, read_by, tmp_path, command, name):
    (tmp_path / "model.gguf").write_bytes(GGUF[name])
    given = (*COMMANDS.get(command, ()), "--model", tmp_path / "model.gguf")
    if command == "compare":
        given = (tmp_path / "model.gguf", tmp_path / "model.gguf", read_by(command))
        refused(probe(command, *given), "GGUF")
    else:
        refused(probe(command, read_by(command), *given), "GGUF")


def test_nothing_is_unpickled(probe, pair_file, model, adapter, monkeypatch):
    """Whatever lies beside the weights: no library is asked to load a pickle."""
    read = []
    monkeypatch.setattr(torch, "load", lambda *a, **k: read.append(a))
    for directory in (model, adapter):
        for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "model.pt"):
            (directory / name).write_bytes(pickle.dumps(Bomb()))
    assert probe("bias", pair_file, "--model", model, "--adapter", adapter).code == 0
    assert not read


def test_an_unused_head_is_told(probe, pair_file, model):
    """What has nothing to do with the model's own modules (a value head) is no wrong answer, and is said."""
    added("v_head.summary.weight", "model.norm.weight")(model)
    done = probe("bias", pair_file, "--model", model, "--templates", "none")
    assert done.code == 0 and "1 weight in its files are not used (v_head.summary.weight)" in done.err


def test_an_adapter_is_scored_by_the_tokenizer_that_was_saved_with_it(probe, pair_file, model, adapter):
    """TRL saves it there, with the template that it trained by; the base has none here."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(adapter)
    asked = ("--model", model, "--adapter", adapter, "--template", "chat")
    done = probe("bias", pair_file, *asked)
    assert done.code == 0 and "with adapter adapter" in done.out and "template: chat" in done.out
    shown = probe("show", pair_file, "--model", adapter, "--template", "chat", "--line", "1")
    assert shown.code == 0 and "assistant" in shown.out


@pytest.mark.parametrize(("base", "told"), [("org/other-7b", True), ("org/Model", False), (None, False)])
def test_an_adapter_of_another_model_is_named(probe, pair_file, model, adapter, base, told):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base}))
    done = probe("bias", pair_file, "--model", model, "--adapter", adapter)
    assert done.code == 0 and ("PB016" in done.out) is told


def test_a_model_may_lie_beside_the_directory_of_work(probe, pair_file, model, monkeypatch):
    (model.parent / "work").mkdir()
    monkeypatch.chdir(model.parent / "work")
    assert probe("bias", pair_file, "--model", "../model").code == 0


def test_a_template_that_cannot_be_is_told_before_anything_is_scored(probe, pair_file, model):
    done = probe("bias", pair_file, "--model", model, "--templates", "foo")
    assert done.code == 2 and "--templates foo: unknown" in done.err and "scoring" not in done.err
