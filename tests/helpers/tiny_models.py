"""Tiny random models of every shape, tokenizers of every kind, and a float64 reference."""

import itertools

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from probe.pairs.record import Pair
from probe.scoring.model import LoadedModel

CORPUS = [
    "The answer is that people gain weight when they eat more than they burn.",
    "What is 12 + 7? It's 19! Why do diets fail, and who says so?",
    "naïve café — 😀 tabs\tand\nnewlines",
    "Question: Answer: system user assistant helpful",
] * 20
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|turn|>", "<|end|>"]
CHAT = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
SIZES = {
    "vocab_size": 400,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ONE_KEY_HEAD_EACH = {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}
GPT2 = {
    "vocab_size": 400,
    "n_embd": 48,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

MODELS = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES)),
    "tied": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**SIZES)),
    "mistral-window": lambda: hf.MistralForCausalLM(hf.MistralConfig(**SIZES, sliding_window=16)),
    "gemma3": lambda: hf.Gemma3ForCausalLM(
        hf.Gemma3TextConfig(
            **SIZES,
            head_dim=16,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
    ),
    "gemma2-softcap": lambda: hf.Gemma2ForCausalLM(
        hf.Gemma2Config(
            **SIZES,
            head_dim=16,
            sliding_window=16,
            attn_logit_softcapping=0.5,
            final_logit_softcapping=0.7,
            attn_implementation="eager",
        )
    ),
    "granite-scaled": lambda: hf.GraniteForCausalLM(hf.GraniteConfig(**SIZES, logits_scaling=0.25)),
    "cohere-scaled": lambda: hf.CohereForCausalLM(hf.CohereConfig(**SIZES, logit_scale=3.0)),
    "gpt2-learned-positions": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2)),
    "neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**ONE_KEY_HEAD_EACH)),
}
UNPACKABLE = {
    "bloom-alibi": lambda: hf.BloomForCausalLM(
        hf.BloomConfig(vocab_size=400, hidden_size=48, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2)
    ),
    "lfm2-hybrid": lambda: hf.Lfm2ForCausalLM(
        hf.Lfm2Config(**SIZES, layer_types=["conv", "full_attention", "conv"])
    ),
    "mamba-recurrent": lambda: hf.MambaForCausalLM(
        hf.MambaConfig(
            vocab_size=400,
            hidden_size=48,
            num_hidden_layers=2,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=3,
        )
    ),
}


def sharpened(model):
    """Random weights give near-uniform predictions, where a wrong mask would hardly show."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model.eval()


def _built(name):
    torch.manual_seed(0)
    return sharpened({**MODELS, **UNPACKABLE}[name]())


@pytest.fixture(params=MODELS)
def packable(request):
    return _built(request.param)


@pytest.fixture(params=UNPACKABLE)
def unpackable(request):
    return _built(request.param)


@pytest.fixture
def tiny():
    return _built("llama")


@pytest.fixture
def build():
    return _built


def _trained(kind):
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        )
    elif kind == "spm":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=300, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def make_tokenizer():
    """kind ("bpe", "spm", "wordpiece"), bos=True adds <s> by itself, eos=True adds </s> by itself too."""
    trained = {kind: _trained(kind) for kind in ("bpe", "spm", "wordpiece")}

    def make(kind="bpe", *, bos=False, eos=False, chat=False, bos_token="<s>"):
        backend = Tokenizer.from_str(trained[kind].to_str())
        if bos or eos:
            form = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
            backend.post_processor = processors.TemplateProcessing(
                single=form,
                special_tokens=[("<s>", backend.token_to_id("<s>")), ("</s>", backend.token_to_id("</s>"))],
            )
        fast = hf.PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token=bos_token,
            eos_token="</s>",
            pad_token="</s>",
            unk_token="<unk>",
        )
        fast.chat_template = CHAT if chat else None
        return fast

    return make


@pytest.fixture(
    scope="session", params=list(itertools.product(("bpe", "spm", "wordpiece"), (False, True))), ids=str
)
def any_tokenizer(request, make_tokenizer):
    kind, bos = request.param
    return make_tokenizer(kind, bos=bos)


@pytest.fixture
def load():
    """Wrap a model and a tokenizer as the loader would."""

    def wrap(model, tokenizer, dtype=torch.float32):
        facts = {
            "name": "tiny",
            "weights_sha256": "0" * 64,
            "dtype": str(dtype).removeprefix("torch."),
            "device": "cpu",
        }
        return LoadedModel(model.to(dtype), tokenizer, "tiny", torch.device("cpu"), dtype, facts)

    return wrap


@pytest.fixture
def reference():
    """[tokens] float64 log-probs of a side: one sequence, the model's own attention and log-softmax."""

    @torch.no_grad()
    def logps(model, side):
        ids = torch.tensor([side.ids])
        logits = model.double()(input_ids=ids).logits[0].double()
        table = torch.log_softmax(logits, dim=-1)
        return np.array([table[p - 1, side.ids[p]].item() for p in range(side.start, len(side.ids))])

    return logps


@pytest.fixture
def pairs():
    """Twenty pairs with shared prompts, long and short sides, odd characters."""
    rng = np.random.default_rng(7)
    words = " ".join(CORPUS[:4]).split()

    def text(n):
        return " ".join(rng.choice(words, size=n))

    rows = []
    for i in range(20):
        prompt = text(int(rng.integers(3, 12))) if i % 3 else "Why do diets fail?"
        rows.append(
            Pair(
                f"p{i}",
                prompt,
                " " + text(int(rng.integers(2, 30))),
                " " + text(int(rng.integers(2, 30))),
                line=i + 1,
            )
        )
    return rows
