"""Damaged, foreign and hostile models and adapters, each made from a sound tiny one.

`MODELS` and `ADAPTERS`: name -> (what is done to the directory, words that the error line must hold).
"""

import json
import pickle
import struct

from safetensors.torch import load_file, save_file

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123\n"
PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"
WEIGHTS, INDEX, ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"


class Bomb:
    """What a pickle could do; the test sees whether it was done."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was read')",))


def config(name="config.json", **changes):
    def change(directory):
        path = directory / name
        whole = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in whole.items() if v is not ...}))

    return change


def renamed(rename, file=WEIGHTS):
    """Tensors under other names; None leaves one out."""

    def change(directory):
        tensors = {rename(name): tensor for name, tensor in load_file(directory / file).items()}
        tensors.pop(None, None)
        save_file(tensors, directory / file, {"format": "pt"})

    return change


def without(part, file=WEIGHTS):
    return renamed(lambda name: None if part in name else name, file)


def added(name, like, file=WEIGHTS):
    def change(directory):
        tensors = load_file(directory / file)
        tensors[name] = tensors[like].clone()
        save_file(tensors, directory / file, {"format": "pt"})

    return change


def written(name, data):
    return lambda directory: (directory / name).write_bytes(data)


def cut(name, share):
    def change(directory):
        data = (directory / name).read_bytes()
        (directory / name).write_bytes(data[: int(len(data) * share)])

    return change


def removed(name):
    return lambda directory: (directory / name).unlink()


def header(directory):
    """A header that says it is longer than any file."""
    (directory / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 60) + b"{}")


def index(*names):
    """The weights under an index that maps them to `names`; those that are no safetensors are pickles."""

    def change(directory):
        tensors = load_file(directory / WEIGHTS)
        (directory / WEIGHTS).unlink()
        chosen = {key: names[i % len(names)] for i, key in enumerate(sorted(tensors))}
        for name in names:
            if name.endswith(".safetensors") and "/" not in name:
                save_file({k: tensors[k] for k, n in chosen.items() if n == name}, directory / name)
            elif "/" not in name:
                (directory / name).write_bytes(pickle.dumps(Bomb()))
        (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": chosen}))

    return change


def shape(name, rows):
    def change(directory):
        tensors = load_file(directory / WEIGHTS)
        tensors[name] = tensors[name][:rows].clone()
        save_file(tensors, directory / WEIGHTS, {"format": "pt"})

    return change


def pickled_only(directory):
    (directory / WEIGHTS).unlink()
    (directory / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    (directory / "other.safetensors").write_bytes(LFS)


def template(text):
    return config("tokenizer_config.json", chat_template=text)


Q = "model.layers.0.self_attn.q_proj.weight"
MODELS = {
    # --- weights that would not be loaded
    "compiled": (renamed(lambda n: f"_orig_mod.{n}"), ("'_orig_mod.' in front", "removeprefix")),
    "parallel": (renamed(lambda n: f"module.{n}"), ("'module.' in front",)),
    "peft-merged-wrongly": (renamed(lambda n: f"base_model.model.{n}"), ("'base_model.model.' in front",)),
    "foreign-names": (renamed(lambda n: f"x.{n}.y"), ("random numbers", "model.embed_tokens.weight")),
    "no-layer-norm": (without("1.input_layernorm"), ("model.layers.1.input_layernorm.weight",)),
    "no-attention": (without("self_attn"), ("its files lack 8 weights of the model",)),
    "no-embedding": (without("embed_tokens"), ("model.embed_tokens.weight",)),
    "no-head": (without("lm_head"), ("lm_head.weight",)),
    "a-layer-more": (config(num_hidden_layers=3), ("model.layers.2.",)),
    "a-layer-less": (config(num_hidden_layers=1), ("no place in the model", "model.layers.1.")),
    "no-layers": (config(num_hidden_layers=0), ("num_hidden_layers 0",)),
    "minus-layers": (config(num_hidden_layers=-1), ("num_hidden_layers -1",)),
    "a-billion-layers": (config(num_hidden_layers=10**9), ("1000000000 layers",)),
    "other-type": (config(model_type="gpt2", architectures=["GPT2LMHeadModel"]), ("random numbers",)),
    "qwen-type": (config(model_type="qwen2", architectures=["Qwen2ForCausalLM"]), ("q_proj.bias",)),
    "biases-unused": (added("model.layers.0.self_attn.q_proj.bias", "model.norm.weight"), ("no place in",)),
    "lora-unmerged": (renamed(lambda n: n.replace("q_proj.weight", "q_proj.base_layer.weight")), ("q_proj",)),
    # --- files that are not what they should be
    "empty-weights": (written(WEIGHTS, b""), ("an empty file",)),
    "lfs-pointer": (written(WEIGHTS, LFS), ("Git LFS pointer", "git lfs pull")),
    "web-page": (written(WEIGHTS, PAGE), ("a web page",)),
    "noise": (written(WEIGHTS, bytes(range(256)) * 40), ("damaged",)),
    "huge-header": (header, ("damaged",)),
    **{f"cut-{share}": (cut(WEIGHTS, share), ("damaged",)) for share in (0.001, 0.01, 0.3, 0.9, 0.9999)},
    "no-tensors": (lambda d: save_file({}, d / WEIGHTS), ("no tensors",)),
    "no-weights": (removed(WEIGHTS), ("no safetensors weights",)),
    "weights-directory": (lambda d: ((d / WEIGHTS).unlink(), (d / WEIGHTS).mkdir()), ("no safetensors",)),
    "dangling-weights": (
        lambda d: ((d / WEIGHTS).unlink(), (d / WEIGHTS).symlink_to(d / "gone")),
        ("no safetensors",),
    ),
    # --- pickles
    "pickle-and-decoy": (pickled_only, ("no safetensors weights", "can run code")),
    "index-to-pickle": (index("pytorch_model.bin"), ("pytorch_model.bin", "can run code")),
    "index-half-pickle": (index("a.safetensors", "b.bin"), ("b.bin", "can run code")),
    "index-outside": (index("../a.safetensors"), ("outside of the model's directory",)),
    "index-missing-shard": (
        lambda d: (index("a.safetensors", "b.safetensors")(d), (d / "b.safetensors").unlink()),
        ("b.safetensors: no such file",),
    ),
    "index-empty": (
        lambda d: ((d / WEIGHTS).unlink(), (d / INDEX).write_text("{}")),
        ("no weight_map",),
    ),
    "index-list": (lambda d: ((d / WEIGHTS).unlink(), (d / INDEX).write_text("[1]")), ("no JSON object",)),
    "config-names-pickle": (
        lambda d: (config(transformers_weights="adapter_model.bin")(d), pickled_only(d)),
        ("adapter_model.bin", "can run code"),
    ),
    "adapter-config-inside": (written("adapter_config.json", b'{"peft_type": "LORA"}'), ("--adapter",)),
    # --- shapes and sizes
    "cut-tensor": (shape(Q, 16), ("shape",)),
    "other-hidden-size": (config(hidden_size=64), ("shape",)),
    "other-vocabulary": (config(vocab_size=500), ("shape",)),
    "heads-do-not-divide": (config(num_attention_heads=5, num_key_value_heads=5), ()),
    "huge-hidden-size": (config(hidden_size=1 << 40), ()),
    "negative-hidden-size": (config(hidden_size=-32), ("hidden_size -32",)),
    "words-for-sizes": (config(hidden_size="many"), ()),
    "null-size": (config(intermediate_size=None), ()),
    # --- configs and tokenizers
    "config-empty": (written("config.json", b""), ("an empty file",)),
    "config-list": (written("config.json", b"[]"), ("no JSON object",)),
    "config-cut": (cut("config.json", 0.5), ("not readable JSON",)),
    "config-binary": (written("config.json", b"\xff\xfe\x00"), ("not readable JSON",)),
    "config-deep": (written("config.json", b"[" * 100_000), ("not readable JSON",)),
    "config-lfs": (written("config.json", LFS), ("Git LFS pointer",)),
    "config-no-type": (config(model_type=...), ()),
    "config-unknown-type": (config(model_type="nobody-knows"), ("nobody-knows",)),
    "config-encoder": (config(model_type="t5"), ()),
    "config-remote-code": (
        config(auto_map={"AutoModelForCausalLM": "m.M", "AutoConfig": "m.C"}, model_type="zz"),
        (),
    ),
    "activation-unknown": (config(hidden_act="nothing"), ()),
    "rope-wrong": (config(rope_parameters={"rope_type": "nothing"}, rope_scaling=...), ()),
    "quantized-unknown": (config(quantization_config={"quant_method": "nothing"}), ()),
    "dtype-unknown": (config(dtype="float3"), None),
    "tokenizer-empty": (written("tokenizer.json", b""), ()),
    "tokenizer-object": (written("tokenizer.json", b"{}"), ()),
    "tokenizer-cut": (cut("tokenizer.json", 0.5), ()),
    "tokenizer-lfs": (written("tokenizer.json", LFS), ()),
    "tokenizer-absent": (removed("tokenizer.json"), ()),
    "tokenizer-config-list": (written("tokenizer_config.json", b"[]"), ()),
    "tokenizer-config-cut": (cut("tokenizer_config.json", 0.5), ()),
    "tokenizer-class-unknown": (config("tokenizer_config.json", tokenizer_class="Nothing"), None),
}

LORA_A = "lora_A.weight"
ADAPTERS = {
    "foreign-names": (renamed(lambda n: f"x.{n}", ADAPTER), ("of the adapter are not in its file",)),
    "compiled": (renamed(lambda n: n.replace("q_proj", "_orig_mod.q_proj"), ADAPTER), ("not in its file",)),
    "no-b": (without("lora_B", ADAPTER), ("lora_B",)),
    "a-layer-less": (without("layers.1.", ADAPTER), ("layers.1.",)),
    "other-peft-type": (config("adapter_config.json", peft_type="LOHA"), ()),
    "ia3": (config("adapter_config.json", peft_type="IA3"), ()),
    "unknown-peft-type": (config("adapter_config.json", peft_type="NOTHING"), ()),
    "no-peft-type": (config("adapter_config.json", peft_type=...), ()),
    "prompt-tuning": (config("adapter_config.json", peft_type="PROMPT_TUNING", num_virtual_tokens=4), ()),
    "dora-without-its-tensors": (config("adapter_config.json", use_dora=True), ("lora_magnitude_vector",)),
    "more-targets": (config("adapter_config.json", target_modules=["q_proj", "v_proj"]), ("v_proj",)),
    "other-targets": (config("adapter_config.json", target_modules=["v_proj"]), ("v_proj",)),
    "no-such-targets": (config("adapter_config.json", target_modules=["nothing"]), ()),
    "other-rank": (config("adapter_config.json", r=8), ()),
    "rank-zero": (config("adapter_config.json", r=0), ()),
    "rank-words": (config("adapter_config.json", r="four"), ()),
    "saved-module-absent": (config("adapter_config.json", modules_to_save=["lm_head"]), ("lm_head",)),
    "empty-weights": (written(ADAPTER, b""), ("an empty file",)),
    "lfs-pointer": (written(ADAPTER, LFS), ("Git LFS pointer",)),
    "web-page": (written(ADAPTER, PAGE), ("a web page",)),
    "cut": (cut(ADAPTER, 0.5), ("damaged",)),
    "pickle-and-decoy": (
        lambda d: (
            (d / ADAPTER).rename(d / "decoy.safetensors"),
            (d / "adapter_model.bin").write_bytes(pickle.dumps(Bomb())),
        ),
        ("no safetensors weights", "can run code"),
    ),
    "config-empty": (written("adapter_config.json", b""), ("adapter_config.json",)),
    "config-list": (written("adapter_config.json", b"[]"), ()),
    "config-cut": (cut("adapter_config.json", 0.5), ()),
    "config-absent": (removed("adapter_config.json"), ("no adapter_config.json",)),
}
