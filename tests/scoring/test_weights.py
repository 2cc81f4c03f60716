"""The hash of a model's and an adapter's weights, and the key of their scores."""

import hashlib
import json
import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest

from probe.files import sha256_file
from probe.scoring import store, weights
from probe.scoring.model import load_model
from probe.scoring.store import IDENTITY, model_key
from probe.scoring.weights import model_files, tensor_names, tokenizer_facts, weights_hash


@pytest.fixture
def model(tmp_path, tiny_model_dir, monkeypatch):
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


@pytest.fixture
def adapter(tmp_path, model):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model)
    wrapped = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    wrapped.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("key", ["lora_alpha", "use_rslora", "alpha_pattern"])
def test_an_adapter_s_config_is_part_of_its_identity(model, adapter, key):
    before = load_model(str(model), adapter=str(adapter)).facts
    path = adapter / "adapter_config.json"
    whole = json.loads(path.read_text())
    whole[key] = {"lora_alpha": 99, "use_rslora": True, "alpha_pattern": {"q_proj": 3}}[key]
    path.write_text(json.dumps(whole))
    after = load_model(str(model), adapter=str(adapter)).facts
    assert after["adapter_sha256"] != before["adapter_sha256"]
    assert model_key(after) != model_key(before)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_every_file_that_is_computed_with_is_hashed(model, name):
    before = weights_hash(str(model))
    data = bytearray((model / name).read_bytes())
    data[-2] ^= 1
    (model / name).write_bytes(data)
    assert weights_hash(str(model)) != before


FOLDERS = {
    "an index that names shards in a folder": ("model.safetensors.index.json", None),
    "an index of another name": ("parts/other.index.json", "parts/other.index.json"),
    "a config that names a file in a folder": (None, "parts/one.safetensors"),
}


@pytest.mark.parametrize("form", FOLDERS)
def test_weights_in_a_folder_are_hashed(model, form):
    index, named = FOLDERS[form]
    shard = model / "parts/one.safetensors"
    shard.parent.mkdir()
    (model / "model.safetensors").rename(shard)
    if index:
        file = "one.safetensors" if index.startswith("parts/") else "parts/one.safetensors"
        listed = dict.fromkeys(tensor_names([shard]), file)
        (model / index).write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    if named:
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "transformers_weights": named}))
    assert model_files(model) == [shard]
    before = weights_hash(str(model))
    (model / "checkpoint-9").mkdir()
    shutil.copy(shard, model / "checkpoint-9/model.safetensors")  # is not loaded
    assert weights_hash(str(model)) == before
    data = bytearray(shard.read_bytes())
    data[-2] ^= 1
    shard.write_bytes(data)
    assert weights_hash(str(model)) != before


def test_the_hash_of_a_plain_directory_is_as_it_was(tmp_path):
    """It names stored scores and gated models."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"a")
    files = "".join(f"{n} {sha256_file(tmp_path / n)}\n" for n in ("config.json", "model.safetensors"))
    assert weights_hash(str(tmp_path)) == hashlib.sha256(files[:-1].encode()).hexdigest()


def test_a_file_of_code_is_hashed(model):
    before = weights_hash(str(model))
    (model / "modeling.py").write_text("scale = 2")
    assert weights_hash(str(model)) != before


def test_a_file_under_the_same_path_size_and_time_is_told(tmp_path, monkeypatch):
    """Its time of change is another, or its inode; and a file just written is not remembered at all."""
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "SETTLED", -1.0)
    directory = tmp_path / "model"
    directory.mkdir()
    file = directory / "model.safetensors"
    file.write_bytes(b"a" * (2 << 20))
    stat = file.stat()
    before = weights_hash(str(directory))
    assert weights_hash(str(directory)) == before and list((tmp_path / "cache").rglob("*"))
    for _ in range(2):
        other = tmp_path / "other"
        other.write_bytes(b"b" * (2 << 20))
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        other.replace(file)
        assert weights_hash(str(directory)) != before
        file.write_bytes(b"a" * (2 << 20))
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert weights_hash(str(directory)) == before


def test_a_file_just_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model.safetensors").write_bytes(b"a" * (2 << 20))
    weights_hash(str(tmp_path))
    assert not (tmp_path / "cache").exists()


def test_a_hub_name_is_known_by_its_commit_alone():
    assert (
        weights_hash("org/name", "abc") == weights_hash("org/name", "abc") != weights_hash("org/name", "abd")
    )
    assert weights_hash("org/name", None) != weights_hash("org/name", None)


def test_every_part_of_the_identity_changes_the_key():
    facts = dict.fromkeys(IDENTITY, "a")
    keys = {model_key(facts), *(model_key({**facts, name: "b"}) for name in IDENTITY)}
    keys |= {model_key({**facts, name: None}) for name in IDENTITY} | {model_key(facts, kind="x")}
    assert len(keys) == 2 + 2 * len(IDENTITY)


def test_an_adapter_of_the_hub_is_fetched_at_a_commit_and_known_by_its_bytes(model, adapter, monkeypatch):
    from probe.scoring import saved_adapter as loading

    asked = []
    monkeypatch.setattr(
        loading, "snapshot_download", lambda name, **how: asked.append((name, how)) or adapter
    )
    facts = load_model(str(model), adapter="org/adapter").facts
    assert facts["adapter_sha256"] == weights_hash(str(adapter))
    assert {name for name, _ in asked} == {"org/adapter"}
    patterns = asked[0][1]["allow_patterns"]
    assert patterns[:2] == ["adapter_config.json", "adapter_model.safetensors"]
    wanted = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in wanted)
    assert not any(fnmatch(name, pattern) for name in ("x.bin", "x.py") for pattern in patterns)


OWN_CODE = """
from transformers import LlamaForCausalLM

class Own(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        for layer in self.model.layers:
            layer.self_attn.scaling *= 0.1
"""


def test_the_code_that_a_model_brings_is_part_of_its_identity(model, tmp_path):
    """Without --trust-remote-code the same weights are run by transformers' own code, with other scores."""
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_own.Own"}
    (model / "config.json").write_text(json.dumps(config))
    (model / "modeling_own.py").write_text(OWN_CODE)
    plain, own = (load_model(str(model), trust_remote_code=t).facts for t in (False, True))
    assert own["weights_sha256"] == plain["weights_sha256"] and own["own_code"] == "Own"
    assert "own_code" not in plain and model_key(own) != model_key(plain)
    elsewhere = shutil.copytree(model, tmp_path / "moved")
    assert model_key(load_model(str(elsewhere), trust_remote_code=True).facts) == model_key(own)


@pytest.mark.parametrize("changed", ["scoring/engine.py", "transformers", "peft"])
def test_what_computes_a_score_is_part_of_its_key(model, changed, monkeypatch):
    facts = {"weights_sha256": "a"}
    before, served = model_key(facts), model_key({**facts, "endpoint": "e"})
    if changed.endswith(".py"):
        monkeypatch.setattr(store, "_scoring_code", lambda: "another")
    else:
        monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name == changed}")
        assert model_key({**facts, "endpoint": "e"}) == served  # which runs on another machine
    assert model_key(facts) != before


def test_a_tokenizer_is_known_by_all_that_makes_its_tokens(make_tokenizer, tmp_path):
    from transformers import PythonBackend

    class Slow(PythonBackend):
        def __init__(self, merges="", **more):
            self.merges = merges
            super().__init__(**more)

        def get_vocab(self):
            return {"<unk>": 0, "a": 1}

        def save_vocabulary(self, folder, filename_prefix=None):
            (Path(folder) / "merges.txt").write_text(self.merges)
            return (str(Path(folder) / "merges.txt"),)

        vocab_size, _tokenize = 2, list

        def _convert_token_to_id(self, token):
            return self.get_vocab().get(token, 0)

        def _convert_id_to_token(self, index):
            return "a" if index else "<unk>"

    made = [Slow(), Slow(merges="a b"), Slow(eos_token="a"), make_tokenizer(), make_tokenizer()]
    made[-1].split_special_tokens = True
    assert len({tokenizer_facts(one)["tokenizer_sha256"] for one in made}) == len(made)
    assert tokenizer_facts(Slow()) == tokenizer_facts(Slow())


def test_a_folder_has_no_revisions_and_none_is_told_of_it(model, capsys):
    assert load_model(str(model), revision="v2").facts["revision"] is None
    assert capsys.readouterr().err == f"probe: --revision v2 is not used: {model} is no model of the hub.\n"
