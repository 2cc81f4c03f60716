"""The model in training: nothing is drawn in it, whatever rates its architecture has and wherever."""

import math
from dataclasses import replace

import pytest
import torch
import transformers as hf
from tiny_training import WORDS, make_pairs, tiny_tokenizer

from probe.scoring.encode import make_encoder
from probe.scoring.model import LoadedModel
from probe.scoring.service import Scorer
from probe.training.data import examples, sides_of
from probe.training.evaluate import sampled_health
from probe.training.footprint import saved_bytes
from probe.training.loop import Stage
from probe.training.plan import Material, Options
from probe.training.policy import trainable_model
from probe.training.recipes import recipe

IDS = {"vocab_size": len(WORDS), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
LLAMA = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, **IDS,
}  # fmt: skip
FALCON = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "alibi": False, **IDS}
DRAWING = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA, attention_dropout=0.3)),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=16, n_layer=2, n_head=2, **IDS)),
    "opt": lambda: hf.OPTForCausalLM(
        hf.OPTConfig(
            hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=16,
            dropout=0.3, layerdrop=0.3, **IDS,
        )
    ),
    "falcon": lambda: hf.FalconForCausalLM(hf.FalconConfig(**FALCON, hidden_dropout=0.3)),
    "mixtral": lambda: hf.MixtralForCausalLM(
        hf.MixtralConfig(**LLAMA, num_key_value_heads=2, num_local_experts=2, router_jitter_noise=0.3)
    ),
}  # fmt: skip


@pytest.fixture(params=DRAWING)
def drawing(request):
    """A loaded model that draws in training mode, its pairs with references, whether it runs plainly."""
    torch.manual_seed(0)
    model, tokenizer, pairs = DRAWING[request.param]().eval(), tiny_tokenizer(), make_pairs(12)
    facts = {"name": "tiny", "weights_sha256": "0", "dtype": "float32", "device": "cpu"}
    loaded = LoadedModel(model, tokenizer, "tiny", torch.device("cpu"), torch.float32, facts)
    encoder = make_encoder(tokenizer, pairs, "raw")
    scorer = Scorer(loaded, encoder)
    return loaded, examples(pairs, encoder, list(scorer.scores(pairs))), scorer.proof.plain


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_nothing_is_drawn_in_training(drawing, tmp_path, full, checkpointing):
    """OPT's own rates went on after the first evaluation, with checkpointing before it."""
    loaded, items, plain = drawing
    chosen = recipe("dpo", 10**6, full=full).with_values({"batch": 12})
    model = trainable_model(loaded.model, chosen, checkpointing=checkpointing)
    tuned, options = replace(loaded, model=model), Options(steps=1, log_every=1, sampled_prompts=1)
    stage = Stage(tuned, chosen, Material(items, items), options, tmp_path, plain=plain, cpu=True)
    prompt = items[0].codes.chosen.ids[: items[0].codes.chosen.start]
    modes = [module.training for module in model.modules()]
    assert sampled_health(tuned, stage.accelerator, [prompt], 0) is not None
    assert [module.training for module in model.modules()] == modes
    with torch.no_grad():
        one, other = (torch.cat(stage.policy(sides_of(items))) for _ in range(2))
    assert torch.equal(one, other)
    (first,) = [row["loss"] for row in stage.run().log_history if "loss" in row]
    assert first == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize(
    "drawing", sorted(DRAWING.keys() - {"falcon"}), indirect=True
)  # which cannot be packed
def test_checkpointing_keeps_less(drawing):
    """The layers do checkpoint, though what is inside them is in evaluation mode."""
    loaded, *_ = drawing
    model = trainable_model(loaded.model, recipe("dpo", 10**6))
    plain = saved_bytes(model, 100)
    assert saved_bytes(trainable_model(model, recipe("dpo", 10**6), checkpointing=True), 100) < plain
