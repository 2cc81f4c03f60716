"""4 and 8 bits: the scores are those of the dequantised weights, QLoRA trains, the report says so."""

import importlib.util
import json

import pytest

import probe
from probe.errors import ProbeError
from probe.scoring.quantized import (
    LIBRARIES,
    QUANTIZATIONS,
    dequantized,
    is_quantized,
    quantization_facts,
    quantizing,
)

torch = pytest.importorskip("torch")
HAS = importlib.util.find_spec("bitsandbytes") is not None
needs = pytest.mark.skipif(not HAS, reason="bitsandbytes is not installed")
ROWS = [
    {"prompt": f"question {i} on the garden", "chosen": f"answer {i} grows", "rejected": f"reply {i} dies"}
    for i in range(12)
]
TOLERANCE = {"nf4": 1e-5, "int8": 0.05}  # nats; int8 also rounds the activations, to 1 part in 127


class Config:
    def __init__(self, method=None):
        if method:
            self.quantization_config = {"quant_method": method}


def test_an_unknown_kind_is_one_line():
    with pytest.raises(ProbeError, match=r"--quantize q5: unknown. Use nf4, int8"):
        quantizing("q5", "m", Config(), torch.float32)


@pytest.mark.parametrize("method", sorted(LIBRARIES))
def test_a_quantised_checkpoint_names_its_library(method, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProbeError, match=f"{LIBRARIES[method][0]} is not installed. Install it: pip install"):
        quantizing(None, "m", Config(method), torch.float32)


def test_a_quantised_checkpoint_is_not_quantised_again(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ProbeError, match="quantised already"):
        quantizing("nf4", "m", Config("gptq"), torch.float32)
    assert quantization_facts(None, Config("gptq"), torch.float32)["quantization"] == "gptq"
    assert quantization_facts(None, Config(), torch.float32) == {}


def test_without_the_library_one_line_names_it(monkeypatch, tiny_model_dir):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProbeError, match=r"--quantize nf4, and bitsandbytes is not installed.*quantized"):
        quantizing("nf4", "m", Config(), torch.float32)


@pytest.fixture(scope="module")
def model_dir(tiny_model_dir, tmp_path_factory):
    """The tiny model 64 wide, so that a row is one block of 4-bit weights."""
    import shutil

    from transformers import LlamaConfig, LlamaForCausalLM

    place = tmp_path_factory.mktemp("wide") / "model"
    shutil.copytree(tiny_model_dir, place)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes)).save_pretrained(place)
    return place


@needs
@pytest.mark.parametrize("kind", sorted(QUANTIZATIONS))
def test_scores_are_those_of_the_dequantised_weights(kind, model_dir):
    from probe.scoring.model import load_model

    loaded = load_model(str(model_dir), device="cpu", quantize=kind)
    assert is_quantized(loaded.model) and loaded.facts["quantization"] == kind
    plain = dequantized(loaded.model)
    assert not any("Linear4bit" in type(m).__name__ or "8bit" in type(m).__name__ for m in plain.modules())
    ids = torch.arange(40).reshape(1, -1) + 5
    with torch.no_grad():
        a, b = (m(input_ids=ids).logits.log_softmax(-1) for m in (loaded.model, plain))
        other = load_model(str(model_dir), device="cpu").model(input_ids=ids).logits.log_softmax(-1)
        again = loaded.model(input_ids=ids).logits.log_softmax(-1)
    assert torch.equal(a, again), "a second forward gave other numbers"
    with torch.enable_grad():
        loaded.model.get_input_embeddings().weight.requires_grad_(True)
        trained = loaded.model(input_ids=ids).logits.log_softmax(-1).detach()
    assert (a - trained).abs().max() < 1e-5, "with a gradient another function"
    assert (a - b).abs().max() < TOLERANCE[kind]
    assert (a - other).abs().max() > 1e-6, "nothing was quantised"


@needs
def test_packed_weights_are_counted_as_weights(model_dir):
    from probe.scoring.model import load_model

    plain, four, eight = (
        load_model(str(model_dir), device="cpu", quantize=kind).facts["parameters"]
        for kind in (None, "nf4", "int8")
    )
    assert plain == four == eight


@needs
def test_the_bill_is_not_measured_on_quantised_weights(model_dir, tmp_path):
    from typer.testing import CliRunner

    from probe.cli import app

    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    asked = ["gate", str(pairs), "--plan", "--model", str(model_dir), "--device", "cpu", "--quantize", "nf4"]
    done = CliRunner().invoke(app, asked)
    assert "the bill is measured on plain weights" in f"{done.output} {done.exception}"


@needs
def test_the_report_names_the_arithmetic_and_its_distance(model_dir):
    run = probe.bias(ROWS, str(model_dir), device="cpu", quantize="nf4")
    model = run.inputs["model"]
    assert model["quantization"] == "nf4" and "4-bit NormalFloat" in model["arithmetic"]
    assert 0 < model["from_bfloat16"]["token_difference"] < 0.1 and model["from_bfloat16"]["pairs"] == 8
    assert "nf4 float32 cpu" in str(run) and "nats/token from bfloat16" in " ".join(str(run).split())
    plain = probe.bias(ROWS, str(model_dir), device="cpu")
    assert "quantization" not in plain.inputs["model"]
    assert plain.estimate("gap").value != run.estimate("gap").value


@needs
def test_scores_of_other_weights_are_not_taken_from_the_store(model_dir):
    from probe.scoring.store import model_key

    facts = {"weights_sha256": "a", "dtype": "float32", "device": "cpu"}
    assert (
        len(
            {model_key({**facts, **more}) for more in ({}, {"quantization": "nf4"}, {"quantization": "int8"})}
        )
        == 3
    )


@needs
def test_a_trial_and_a_training_run_are_qlora(model_dir, tmp_path):
    from probe.scoring.model import load_model
    from probe.training.policy import trainable_model
    from probe.training.recipes import Recipe

    run = probe.trial(ROWS * 2, str(model_dir), device="cpu", quantize="nf4", options={"steps": 2})
    assert run.inputs["model"]["quantization"] == "nf4"
    loaded = load_model(str(model_dir), device="cpu", quantize="nf4")
    model = trainable_model(loaded.model, Recipe("dpo", 1e-4))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)


@needs
def test_all_weights_of_a_quantised_model_cannot_be_trained(model_dir):
    from dataclasses import replace

    from probe.scoring.model import load_model
    from probe.training.policy import trainable_model
    from probe.training.recipes import Recipe

    loaded = load_model(str(model_dir), device="cpu", quantize="nf4")
    with pytest.raises(ProbeError, match="--full: quantised weights cannot be trained"):
        trainable_model(loaded.model, replace(Recipe("dpo", 1e-4), full=True))


@needs
def test_train_writes_an_adapter(model_dir, tmp_path):
    from typer.testing import CliRunner

    from probe.cli import app

    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app,
        ["train", str(pairs), "--method", "dpo", "--model", str(model_dir), "--device", "cpu",
         "--quantize", "nf4", "--steps", "2", "--out", str(out)],
    )  # fmt: skip
    assert done.exit_code in (0, 1), done.output
    assert list(out.rglob("adapter_model.safetensors"))


@pytest.fixture(scope="module")
def compressed(model_dir, tmp_path_factory):
    """The tiny model as compressed-tensors writes it, 8 bits per channel, and the same values in float32."""
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    from compressed_tensors import ModelCompressor, quantization
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = tmp_path_factory.mktemp("compressed")
    weights = quantization.QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="channel")
    scheme = quantization.QuantizationScheme(targets=["Linear"], weights=weights)
    config = quantization.QuantizationConfig(
        config_groups={"linear": scheme}, ignore=["lm_head"], format="pack-quantized",
        quantization_status="frozen",
    )  # fmt: skip
    packed, plain = (AutoModelForCausalLM.from_pretrained(model_dir) for _ in range(2))
    quantization.apply_quantization_config(packed, config)
    for name, module in packed.named_modules():
        if getattr(module, "weight_scale", None) is None:
            continue
        scale = module.weight.data.abs().amax(1, keepdim=True) / 127
        module.weight_scale.data = scale
        rounded = (module.weight.data / scale).round().clamp(-128, 127) * scale
        plain.get_submodule(name).weight.data = rounded
    compressor = ModelCompressor.from_pretrained_model(packed)
    compressor.compress_model(packed)
    packed.save_pretrained(place / "packed")
    compressor.update_config(str(place / "packed"))
    plain.save_pretrained(place / "plain")
    for name in ("packed", "plain"):
        AutoTokenizer.from_pretrained(model_dir).save_pretrained(place / name)
    return place


def test_a_checkpoint_of_compressed_tensors_scores_as_its_dequantised_weights(compressed, model_dir):
    packed, plain, before = (
        probe.bias(ROWS, str(place), device="cpu", template="raw")
        for place in (compressed / "packed", compressed / "plain", model_dir)
    )
    for one, other, unlike in zip(packed.rows, plain.rows, before.rows, strict=True):
        for side in ("chosen", "rejected"):
            assert one[side]["logps"] == pytest.approx(other[side]["logps"], abs=1e-4)
            assert one[side]["logps"] != unlike[side]["logps"], "nothing was quantised"
    assert packed.inputs["model"]["quantization"] == "compressed-tensors"
    assert "compressed-tensors weights of the checkpoint" in packed.inputs["model"]["arithmetic"]


def test_a_trial_on_such_a_checkpoint_is_qlora(compressed):
    packed, plain = (
        probe.trial(ROWS * 2, str(compressed / name), device="cpu", options={"steps": 2})
        for name in ("packed", "plain")
    )
    for name in ("trial_accuracy", "trial_chosen_change"):
        a, b = packed.estimate(name), plain.estimate(name)
        assert a.value == pytest.approx(b.value, abs=1e-3), name
