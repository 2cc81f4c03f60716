"""A tiny random Llama with its tokenizer, and pairs that it can learn, for everything that trains."""

import os

import pytest
import torch
from accelerate.state import AcceleratorState
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from probe.pairs.record import Pair
from probe.scoring.encode import make_encoder
from probe.scoring.model import LoadedModel
from probe.scoring.service import Scorer
from probe.training.data import examples

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]
PLAIN = "good bad yes no red blue one two three four five six seven ? . why what who"
WORDS = [*SPECIAL, *PLAIN.split(" ")]


def tiny_tokenizer():
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def tiny_llama(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=128,
        bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(dtype).eval()


def make_pairs(n=24):
    """Pairs over n/2 prompts: "good" beats "bad", whatever the words around it."""
    words = WORDS[8:17]
    rows = []
    for i in range(n):
        k = i // 2
        prompt = f"what {words[k % 9]} {words[(k * 2 + 1) % 9]} ?"
        tail = " ".join(words[(i + j) % 9] for j in range(1 + i % 4))
        rows.append(Pair(f"p{i}", prompt, f" good {tail} .", f" bad {tail} ?", group=f"g{i % 2}", line=i + 1))
    return rows


LAUNCHERS = (
    "ACCELERATE_",
    "FSDP_",
    "TORCHELASTIC_",
    "RANK",
    "LOCAL_",
    "WORLD_SIZE",
    "MASTER_",
    "PMI_",
    "OMPI_",
)


@pytest.fixture(autouse=True)
def fresh_accelerator(monkeypatch):
    """accelerate keeps settings for the life of a process, and in variables that children inherit: here each
    test has its own."""
    for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
        monkeypatch.delenv(name)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def llama():
    return tiny_llama


@pytest.fixture
def pairs():
    return make_pairs()


@pytest.fixture
def loaded(tokenizer):
    """The tiny model as the loader would give it."""

    def load(seed=0, dtype=torch.float32):
        facts = {
            "name": "tiny",
            "weights_sha256": f"{seed:064d}",
            "dtype": str(dtype).removeprefix("torch."),
            "device": "cpu",
        }
        return LoadedModel(tiny_llama(seed, dtype), tokenizer, "tiny", torch.device("cpu"), dtype, facts)

    return load


@pytest.fixture
def material(loaded, pairs):
    """A loaded model, and its examples with reference scores."""

    def make(seed=0, given=None):
        model = loaded(seed)
        given = given or pairs
        encoder = make_encoder(model.tokenizer, given, "raw")
        scores = list(Scorer(model, encoder).scores(given))
        return model, examples(given, encoder, scores)

    return make
