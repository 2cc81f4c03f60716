"""A tiny Llama as a GGUF file, written as llama.cpp's converter writes one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

HEADS, KEY_HEADS, WIDTH, LAYERS, CONTEXT = 4, 2, 64, 2, 512
BASE = 10_000.0
NAMES = {
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
More = Callable[[gguf.GGUFWriter], None]


def llama(rope: Mapping[str, Any], vocabulary: int) -> LlamaForCausalLM:
    """A random model with these `rope_parameters`, whose attention depends on positions visibly."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS, max_position_embeddings=CONTEXT,
        rope_parameters={"rope_theta": BASE, **rope}, bos_token_id=0, eos_token_id=1,
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() > 1:
                weight.mul_(6)
    return made


def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges of a small byte-level BPE that has joined white space and digits."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["the cat\n\n\n1. sat on   23 mats\n\n"] * 20, trainer)
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return tokens, [" ".join(merge) for merge in merges]


def write_gguf(path: Path, model: LlamaForCausalLM, pre: str | None, more: More = lambda _: None) -> Path:
    """The file; `pre` names its splitting, `more` writes further keys and tensors."""
    tokens, merges = vocabulary()
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_name("tiny")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(WIDTH)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(96)
    w.add_rope_dimension_count(WIDTH // HEADS)
    w.add_rope_freq_base(model.config.rope_parameters["rope_theta"])
    w.add_head_count(HEADS)
    w.add_head_count_kv(KEY_HEADS)
    w.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    w.add_vocab_size(len(tokens))
    w.add_tokenizer_model("gpt2")
    if pre:
        w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_merges(merges)
    w.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)
    for name, tensor in _tensors(model.state_dict()):
        w.add_tensor(name, np.ascontiguousarray(tensor.numpy().astype(np.float32)))
    more(w)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def _tensors(state: Mapping[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    found = [
        ("token_embd.weight", state["model.embed_tokens.weight"]),
        ("output.weight", state["lm_head.weight"]),
        ("output_norm.weight", state["model.norm.weight"]),
    ]
    for i in range(LAYERS):
        of = f"model.layers.{i}"
        for name, heads in (("q", HEADS), ("k", KEY_HEADS)):
            found.append(
                (f"blk.{i}.attn_{name}.weight", _turned(state[f"{of}.self_attn.{name}_proj.weight"], heads))
            )
        found += [(f"blk.{i}.{name}.weight", state[f"{of}.{own}.weight"]) for name, own in NAMES.items()]
    return found


def _turned(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in llama.cpp's order, whose rotation pairs neighbours."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, half, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
