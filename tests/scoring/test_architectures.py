"""Other architectures with long texts, masks, parts, positions and states, against one by one in float64."""

import copy

import numpy as np
import pytest
import torch
import transformers as hf
from tiny_models import GPT2, SIZES, UNPACKABLE, sharpened
from transformers import GenerationConfig

from probe.scoring.adapter import with_lora
from probe.scoring.attention import LayoutMissing, tree_attention_on
from probe.scoring.encode import make_encoder
from probe.scoring.engine import token_logps
from probe.scoring.padded import draw_alone_where_padding_counts
from probe.scoring.positions import changing_length
from probe.scoring.readout import pooled_states, read_out
from probe.scoring.sampling import Draw, draw_samples, end_ids
from probe.scoring.scores import EncodedSide
from probe.scoring.service import Scorer
from probe.scoring.store import Store

LONG = 60  # a window, a chunk, the keys that are picked: longer than the first texts, shorter than the next
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
BART = {
    "vocab_size": 400, "d_model": 48, "decoder_layers": 2, "decoder_attention_heads": 4,
    "decoder_ffn_dim": 64, "max_position_embeddings": 512, "pad_token_id": 3,
    "bos_token_id": 1, "eos_token_id": 2,
    "is_encoder_decoder": False, "is_decoder": True,
}  # fmt: skip
SPARSE = {
    "head_dim": 16, "layer_types": ["full_attention", "minimax_m3_sparse", "minimax_m3_sparse"],
    "mlp_layer_types": ["dense"] * 3, "index_block_size": 10, "index_topk_blocks": LONG // 10,
    "index_head_dim": 16, "index_n_heads": 2, "dense_intermediate_size": 64,
}  # fmt: skip
WINDOWED = {
    "phimoe-window-by-mask": lambda: hf.PhimoeForCausalLM(
        hf.PhimoeConfig(**SIZES, **EXPERTS, sliding_window=LONG, router_jitter_noise=0.0)
    ),
    "minimax-m3-picked-keys": lambda: hf.MiniMaxM3VLForCausalLM(hf.MiniMaxM3VLTextConfig(**SIZES, **SPARSE)),
    "mistral-window": lambda: hf.MistralForCausalLM(hf.MistralConfig(**SIZES, sliding_window=LONG)),
    "gpt-neo-window": lambda: hf.GPTNeoForCausalLM(
        hf.GPTNeoConfig(
            vocab_size=400, hidden_size=48, num_layers=2, num_heads=4, intermediate_size=64, window_size=LONG,
            attention_types=[[["global", "local"], 1]], max_position_embeddings=512,
        )
    ),
}  # fmt: skip
COUNTED = {
    "bart-counts-padding": lambda: hf.BartForCausalLM(hf.BartConfig(**BART)),
    "gpt-without-cache": lambda: hf.OpenAIGPTLMHeadModel(hf.OpenAIGPTConfig(**GPT2)),
}


def built(make):
    torch.manual_seed(0)
    return sharpened(make())


def sides_of(lengths, seed=0):
    """Two pairs under each beginning of one long text, and one-token responses."""
    rng = np.random.default_rng(seed)
    base = rng.integers(4, 400, max(lengths)).tolist()
    for n in lengths:
        for size in (1, 1, 9, 14):
            yield EncodedSide((*base[:n], *rng.integers(4, 400, size).tolist()), n, 1)


@pytest.mark.parametrize("name", WINDOWED)
def test_a_length_that_only_later_texts_pass_is_seen(name, load, make_tokenizer, reference):
    """The proof of the first, short texts says nothing of a window that they do not fill."""
    model = built(WINDOWED[name])
    if "window" in name:
        assert changing_length(model, LONG) < LONG == changing_length(model, LONG + 1)
    truth = copy.deepcopy(model)
    if hasattr(truth, "set_experts_implementation"):
        truth.set_experts_implementation("eager")  # the grouped product has no float64
    scorer = Scorer(load(model, make_tokenizer()), None)
    for sides in (list(sides_of((1, 5, 20))), list(sides_of((1, 80, 150)))):
        for side, logps in zip(sides, scorer.side_logps(sides), strict=True):
            assert abs(logps.mean() - reference(truth, side).mean()) < 1e-4


def test_sizes_are_no_lengths_of_attention(tiny):
    tiny.config.update({"num_local_experts": 30, "block_ff_dim": 31, "max_window_layers": 28})
    assert changing_length(tiny, 500) == 0


@pytest.mark.parametrize("name", UNPACKABLE)
def test_a_model_whose_scores_all_came_from_the_store_is_proven_before_it_trains(
    name, build, load, make_tokenizer, pairs, tmp_path
):
    tokenizer = make_tokenizer()
    loaded, encoder = load(build(name), tokenizer), make_encoder(tokenizer, pairs)
    store = Store(tmp_path / "scores.sqlite", b"key")
    list(Scorer(loaded, encoder, store).scores(pairs))
    again = Scorer(loaded, encoder, store)
    list(again.scores(pairs))
    assert again.new == 0 and again.proof is None
    assert again.plain()


@pytest.mark.parametrize("packs", [True, False])
def test_every_part_has_its_own_attention_again(tiny, packs, monkeypatch):
    """The whole of a multimodal model may have another than its text model, and may refuse a new one."""
    part = hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, attn_implementation="sdpa"))
    tiny.add_module("part", part)
    tiny.config._attn_implementation = "eager"
    if not packs:
        monkeypatch.setattr(tiny, "set_attn_implementation", part.set_attn_implementation)
        with pytest.raises(LayoutMissing), tree_attention_on(tiny):
            pass
    else:
        with tree_attention_on(tiny):
            assert {tiny.config._attn_implementation, part.config._attn_implementation} == {"probe_tree"}
    assert (tiny.config._attn_implementation, part.config._attn_implementation) == ("eager", "sdpa")


@pytest.mark.parametrize("name", COUNTED)
def test_answers_do_not_depend_on_padding(name, load, make_tokenizer):
    model = built(COUNTED[name])
    draw_alone_where_padding_counts(model)
    loaded = load(model, make_tokenizer())
    contexts = [side.ids for side in sides_of((1, 6, 12))]
    found = {}
    for part in draw_samples(loaded, [Draw(c, 0.0) for c in contexts], tokens=8):
        found |= part
    ends = end_ids(loaded)
    how = GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=sorted(ends), pad_token_id=3)
    for i, context in enumerate(contexts):
        new = model.generate(torch.tensor([context]), generation_config=how)[0, len(context) :].tolist()
        assert found[i].ids == tuple(token for token in new if token not in ends)


def test_models_that_padding_does_not_change_are_drawn_side_by_side(packable):
    draw_alone_where_padding_counts(packable)
    assert not packable._is_stateful


@pytest.mark.parametrize("name", [*UNPACKABLE])
def test_every_model_takes_the_adapter(name, build):
    model = with_lora(build(name), 4)
    side = next(sides_of((5,)))
    token_logps(model, [side], plain=True)[0].sum().backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert any("lora_B" in name and slope.abs().sum() > 0 for name, slope in trained.items())


@pytest.mark.parametrize("shape", ["tokens first", "streams first"])
def test_states_of_several_streams_are_one_row(tiny, monkeypatch, shape):
    """DeepSeek V4 keeps [1, tokens, streams, hidden] between blocks, Gemma 3n [streams, 1, tokens, …]."""
    forward = tiny.forward

    def streams(states):
        apart = torch.stack([states, 2 * states, 3 * states, 4 * states])
        return apart if shape == "streams first" else apart.permute(1, 2, 0, 3)

    def streamed(*args, **kwargs):
        outputs = forward(*args, **kwargs)
        if outputs.hidden_states is not None:
            *inner, last = outputs.hidden_states
            outputs.hidden_states = (*map(streams, inner), last)
        return outputs

    monkeypatch.setattr(tiny, "forward", streamed)
    sides = list(sides_of((5,)))
    read = dict(read_out(tiny, sides, (1, 3), plain=True))
    means = dict(pooled_states(tiny, sides, 1, plain=True))
    for i in range(len(sides)):
        assert read[i].pooled.shape == (4, 4 * 48)
        assert np.allclose(read[i].pooled[0, :48], means[i], atol=1e-5)
        assert np.allclose(read[i].pooled[0, 48:96], 2 * means[i], atol=1e-5)


@pytest.mark.parametrize("name", ["index_topk", "attention_chunk_size"])
def test_models_whose_keys_depend_on_places_are_drawn_one_at_a_time(packable, monkeypatch, name):
    """Padding takes room among the keys of long rows, longer than those that the trial at load has."""
    monkeypatch.setattr(packable.config, name, 16, raising=False)
    monkeypatch.setattr(packable, "_is_stateful", False)
    draw_alone_where_padding_counts(packable)
    assert packable._is_stateful
