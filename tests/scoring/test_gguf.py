"""What a GGUF file says beside its weights reaches the model that is scored, or is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tiny_gguf import BASE, HEADS, WIDTH, llama, vocabulary, write_gguf
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Phi3Config,
    Phi3ForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from probe.errors import ProbeError
from probe.scoring import embedded
from probe.scoring.gguf_header import GgufHeader, read_header
from probe.scoring.gguf_positions import settle_positions
from probe.scoring.model import load_model
from probe.scoring.tokenizer import load_tokenizer

LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "factor": 4.0}
DEFAULT = {"rope_type": "default"}


def divisors(length: int = 64, factor: float = 8.0) -> np.ndarray:
    """`rope_freqs.weight` of Llama 3's scaling, as llama.cpp's converter computes it."""
    found = []
    for freq in BASE ** -(np.arange(0, WIDTH // HEADS, 2) / (WIDTH // HEADS)):
        wave, low, high = 2 * math.pi / freq, length / 1.0, length / 4.0
        smooth = (length / wave - 1.0) / (4.0 - 1.0)
        found.append(1.0 if wave < high else factor if wave > low else 1 / ((1 - smooth) / factor + smooth))
    return np.array(found, dtype=np.float32)


def plain(w: gguf.GGUFWriter) -> None:
    pass


def linear(w: gguf.GGUFWriter) -> None:
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(4.0)


def linear_of_old(w: gguf.GGUFWriter) -> None:
    w.add_float32("llama.rope.scale_linear", 4.0)


def llama3(w: gguf.GGUFWriter) -> None:
    w.add_tensor("rope_freqs.weight", divisors())


def none(w: gguf.GGUFWriter) -> None:
    w.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    w.add_rope_scaling_factor(4.0)


def wide_window(w: gguf.GGUFWriter) -> None:
    w.add_sliding_window(512)


def yarn(w: gguf.GGUFWriter) -> None:
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(4.0)
    w.add_rope_scaling_orig_ctx_len(128)


def longrope(w: gguf.GGUFWriter) -> None:
    w.add_tensor("rope_factors_long.weight", np.full(8, 2, dtype=np.float32))
    w.add_tensor("rope_factors_short.weight", np.ones(8, dtype=np.float32))


def other_divisors(w: gguf.GGUFWriter) -> None:
    w.add_tensor("rope_freqs.weight", np.linspace(1, 5, 8, dtype=np.float32))


def both(w: gguf.GGUFWriter) -> None:
    linear(w)
    llama3(w)


def window(w: gguf.GGUFWriter) -> None:
    w.add_sliding_window(64)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    embedded._tell.cache_clear()


@pytest.mark.parametrize(
    ("rope", "more"),
    [(DEFAULT, plain), (LINEAR, linear), (LINEAR, linear_of_old), (LLAMA3, llama3), (DEFAULT, none),
     ({"rope_type": "default", "rope_theta": 500_000.0}, plain), (DEFAULT, wide_window)],
)  # fmt: skip
def test_positions_are_those_of_the_file(tmp_path: Path, rope: Mapping[str, Any], more: Any) -> None:
    """A scaling was lost in silence, and log-probs were half a nat per token off."""
    model = llama(rope, len(vocabulary()[0]))
    loaded = load_model(str(write_gguf(tmp_path / "tiny.gguf", model, "gpt-2", more)), device="cpu")
    ids = torch.randint(2, 256, (1, 200), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, found = (m(ids).logits.log_softmax(-1) for m in (model, loaded.model))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("more", "said"),
    [(yarn, "scaled by yarn"), (longrope, "scaled by longrope"), (window, "a window of 64 tokens"),
     (other_divisors, "other frequencies"), (both, "other frequencies")],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_refused(tmp_path: Path, more: Any, said: str) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", llama(DEFAULT, len(vocabulary()[0])), "gpt-2", more)
    with pytest.raises(ProbeError, match=f"{said}.*safetensors with --model") as caught:
        load_model(str(file), device="cpu")
    assert len(caught.value.args) == 1
    assert not [*(tmp_path / "cache/models").glob("*")]  # nothing half made is found later


SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2,
}  # fmt: skip


def of(architecture: str, **values: Any) -> GgufHeader:
    named = {f"{architecture}.{key.replace('__', '.')}": value for key, value in values.items()}
    return GgufHeader({"general.architecture": architecture, **named})


@pytest.mark.parametrize("factor", [None, 8.0])
def test_gemma_3_scales_the_layers_that_see_all(factor: float | None) -> None:
    """Its window is in the config as it is; the layers with a window turn by their own base."""
    model = Gemma3ForCausalLM(
        Gemma3TextConfig(**{**SIZES, "num_hidden_layers": 6}, head_dim=16, sliding_window=512)
    )
    before = {key: dict(value) for key, value in model.config.rope_parameters.items()}
    more = {"rope__scaling__type": "linear", "rope__scaling__factor": factor} if factor else {}
    header = of("gemma3", rope__freq_base=1e6, attention__sliding_window=512, context_length=32_768, **more)
    settle_positions("gemma.gguf", model, header)
    after = model.config.rope_parameters
    assert after["sliding_attention"] == before["sliding_attention"]
    assert after["full_attention"].get("factor") == factor
    assert factor or after == before


def test_a_window_a_base_and_a_share_of_the_width_that_transformers_passes_over() -> None:
    phi = Phi3ForCausalLM(Phi3Config(**SIZES, pad_token_id=0))
    settle_positions(
        "phi.gguf",
        phi,
        of("phi3", attention__sliding_window=20, context_length=4096, rope__dimension_count=12),
    )
    assert phi.config.sliding_window == 20
    assert Phi3ForCausalLM(phi.config).model.rotary_emb.inv_freq.numel() == 6
    coder = Starcoder2ForCausalLM(Starcoder2Config(**SIZES))
    settle_positions("coder.gguf", coder, of("starcoder2", rope__freq_base=999_999.0))
    assert coder.config.rope_parameters["rope_theta"] == 999_999.0


def test_a_conversion_of_another_converter_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", llama(DEFAULT, len(vocabulary()[0])), "gpt-2")
    first = embedded.converted(file)
    assert embedded.converted(file) == first
    monkeypatch.setattr(embedded, "_converter", lambda: "earlier")
    assert embedded.converted(file) != first


def test_the_embedded_model_scales_nothing() -> None:
    try:
        header = read_header(embedded.embedded_gguf())
    except ProbeError as error:
        pytest.skip(str(error))
    assert not header.tensors and not [key for key in header.values if "scaling" in key or "sliding" in key]
    assert header.values["tokenizer.ggml.pre"] == "smollm"


# --- how text is split ------------------------------------------------------------------------------------

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
SINGLE = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES])
TEXTS = ["the\n\n1. cat", "on   23 mats", "\n\n\n1", "   1", "the cat sat", "x =\t3½"]


def as_trained(splitting: Any) -> Tokenizer:
    tokens, merges = vocabulary()
    pairs = [tuple(merge.split(" ")) for merge in merges]
    made = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    made.pre_tokenizer = splitting
    return made


@pytest.mark.parametrize(
    ("pre", "splitting", "told"),
    [("smollm", SINGLE, ""), ("starcoder", SINGLE, ""), ("command-r", SINGLE, ""), ("gpt-2", BYTES, ""),
     ("llama-bpe", None, ""), ("qwen2", None, ""), ("falcon", BYTES, 'as "falcon"'),
     ("default", BYTES, 'as "default"'), (None, BYTES, "does not say")],
)  # fmt: skip
def test_text_is_split_as_the_file_names_it_or_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pre: str | None, splitting: Any, told: str
) -> None:
    """Each time that the model is used, also by the conversion that was kept."""
    file = str(write_gguf(tmp_path / "tiny.gguf", llama(DEFAULT, len(vocabulary()[0])), pre))
    for _ in range(2):
        embedded._tell.cache_clear()
        capsys.readouterr()
        tokenizer = load_tokenizer(file)
        load_tokenizer(file)
        said = capsys.readouterr().err
        assert said.count("not known here") == (1 if told else 0) and told in said
        for text in TEXTS if splitting else ():
            wanted = as_trained(splitting).encode(text).ids
            assert tokenizer(text, add_special_tokens=False)["input_ids"] == wanted
    assert as_trained(SINGLE).encode(TEXTS[0]).ids != as_trained(BYTES).encode(TEXTS[0]).ids
