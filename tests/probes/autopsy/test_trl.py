"""Logs that TRL itself writes, of a tiny model and three steps each: is the method recognised?"""

import random
from pathlib import Path
from typing import Any

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log

pytestmark = pytest.mark.oracle

WORDS = list("abcdefghijklmnopqrstuvwxyz")
CASES = {
    "sigmoid": "DPO",
    "ipo": "IPO",
    "hinge": "DPO variant",
    "exo_pair": "DPO variant",  # starts under ln 2, which is no numerical failure here
    "sppo_hard": "DPO variant",
    "nca_pair": "DPO variant",  # starts at 2 × ln 2, which is no sum here
    "bco_pair": "DPO variant",
    "orpo": "ORPO",
    "simpo": "SimPO",
    "kto": "KTO",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Any]:
    """A one-layer model saved on disk (TRL loads the reference from there), its tokenizer, 16 pairs."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("trl")
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **names)
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1,
    )  # fmt: skip
    directory = str(tmp_path_factory.mktemp("tiny"))
    transformers.LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    rng = random.Random(0)
    say = lambda words, k: " ".join(rng.choices(words, k=k))  # noqa: E731
    rows = [
        {"prompt": say(WORDS, 4) + " ", "chosen": say(WORDS[:20], 6), "rejected": say(WORDS[6:], 6)}
        for _ in range(16)
    ]
    return directory, tokenizer, Dataset.from_list(rows)


def trainer(loss: str, tiny: tuple[str, Any, Any], out: Path) -> Any:
    import trl
    from transformers import LlamaForCausalLM

    directory, tokenizer, pairs = tiny
    common = {
        "output_dir": str(out), "max_steps": 3, "logging_steps": 1, "per_device_train_batch_size": 2,
        "learning_rate": 1e-4, "report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no",
        "bf16": False,
    }  # fmt: skip
    rest = {
        "model": LlamaForCausalLM.from_pretrained(directory),
        "train_dataset": pairs,
        "processing_class": tokenizer,
    }
    if loss == "orpo":
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        return ORPOTrainer(args=ORPOConfig(**common), **rest)
    if loss == "simpo":
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        return CPOTrainer(args=CPOConfig(loss_type="simpo", cpo_alpha=0.0, beta=2.0, **common), **rest)
    if loss == "kto":
        unpaired = [
            {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
            for row in pairs
            for side in ("chosen", "rejected")
        ]
        return trl.KTOTrainer(
            args=trl.KTOConfig(**common), **(rest | {"train_dataset": type(pairs).from_list(unpaired)})
        )
    smoothing = {"label_smoothing": 0.1} if loss == "exo_pair" else {}
    return trl.DPOTrainer(args=trl.DPOConfig(loss_type=[loss], **smoothing, **common), **rest)


@pytest.mark.parametrize(("loss", "name"), CASES.items())
def test_the_method_of_trls_own_log_is_recognised(
    loss: str, name: str, tiny: tuple[str, Any, Any], tmp_path: Path
) -> None:
    run = trainer(loss, tiny, tmp_path)
    run.train()
    found = diagnose(make_log(loss, run.state.log_history))
    assert found.method.name == name
    assert found.main != "numerics"
    assert [tag.label for tag in found.tags] in (["too_short"], ["below_chance", "too_short"])
