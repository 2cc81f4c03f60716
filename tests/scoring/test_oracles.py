"""The same numbers as the peers, on boundaries where the peers are right."""

import copy

import numpy as np
import pytest
import torch

from probe.pairs.record import Pair
from probe.scoring.encode import make_encoder
from probe.scoring.service import Scorer

pytestmark = pytest.mark.oracle


@pytest.fixture(params=[False, True], ids=["no-bos", "bos"])
def scored(request, tiny, make_tokenizer, load, pairs):
    """A tiny model with a tokenizer that adds BOS or not, and our scores of the pairs."""
    loaded = load(tiny, make_tokenizer("bpe", bos=request.param))
    encoder = make_encoder(loaded.tokenizer, pairs, "raw")
    return loaded, list(Scorer(loaded, encoder).scores(pairs))


def test_lm_eval_gives_the_same_sums(scored, pairs):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    loaded, scores = scored
    adds_bos = bool(loaded.tokenizer("a")["input_ids"][0] == loaded.tokenizer.bos_token_id)
    peer = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4, add_bos_token=adds_bos)
    asked = [(p.prompt, side) for p in pairs for side in (p.chosen, p.rejected)]
    requests = [Instance("loglikelihood", {}, arguments, i) for i, arguments in enumerate(asked)]
    theirs = [float(logps) for logps, _ in peer.loglikelihood(requests, disable_tqdm=True)]
    ours = [side.logps for score in scores for side in (score.chosen, score.rejected)]
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_the_win_rate_of_whole_sentences_is_lm_evals_accuracy(tiny, make_tokenizer, load):
    """Minimal pairs: no prompt, sums compared, as lm-eval does for BLiMP."""
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    rng = np.random.default_rng(3)
    words = ["the", "answer", "is", "that", "people", "gain", "weight", "when", "they", "eat", "more"]
    texts = [(" ".join(rng.permutation(words)), " ".join(rng.permutation(words))) for _ in range(40)]
    sentences = [Pair(str(i), None, a, b, line=i + 1) for i, (a, b) in enumerate(texts)]
    loaded = load(tiny, make_tokenizer("bpe"))
    scores = list(Scorer(loaded, make_encoder(loaded.tokenizer, sentences)).scores(sentences))
    peer = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4)
    requests = [Instance("loglikelihood", {}, ("", side), 0) for pair in texts for side in pair]
    sums = [float(logps) for logps, _ in peer.loglikelihood(requests, disable_tqdm=True)]
    theirs = np.mean([a > b for a, b in zip(sums[::2], sums[1::2], strict=True)])
    assert np.mean([s.chosen.logps > s.rejected.logps for s in scores]) == theirs
    np.testing.assert_allclose([s.chosen.logps for s in scores], sums[::2], atol=2e-3)


def test_minicons_gives_the_same_means(tiny, make_tokenizer, load, pairs):
    pytest.importorskip("minicons")
    from minicons.scorer import IncrementalLMScorer

    loaded = load(tiny, make_tokenizer("bpe"))
    scores = list(Scorer(loaded, make_encoder(loaded.tokenizer, pairs, "raw")).scores(pairs))
    tokenizer = make_tokenizer("bpe")
    tokenizer.pad_token = "<pad>"
    peer = IncrementalLMScorer(loaded.model, "cpu", tokenizer=tokenizer)
    prompts, sides = [p.prompt for p in pairs], [p.chosen for p in pairs]
    theirs = peer.conditional_score(prompts, sides, separator="", reduction=lambda x: x.mean().item())
    np.testing.assert_allclose([s.chosen.mean_logps for s in scores], theirs, atol=1e-4)


def test_trl_at_learning_rate_zero_logs_the_same_sums(tiny, make_tokenizer, load, pairs, tmp_path):
    """TRL appends EOS to plain text and sums it; so do we when asked for the sum with the end token."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    loaded = load(tiny, make_tokenizer("bpe"))
    scores = list(Scorer(loaded, make_encoder(loaded.tokenizer, pairs, "raw")).scores(pairs))
    rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs]
    arguments = DPOConfig(
        str(tmp_path),
        learning_rate=0.0,
        per_device_train_batch_size=len(rows),
        max_steps=1,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        max_length=None,
        bf16=False,
        disable_tqdm=True,
    )
    torch.manual_seed(0)
    trainer = DPOTrainer(
        tiny,
        copy.deepcopy(tiny),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
    )
    trainer.train()
    logged = trainer.state.log_history[0]
    for name in ("chosen", "rejected"):
        sums = [getattr(s, name).logps + getattr(s, name).end_logp for s in scores]
        assert logged[f"logps/{name}"] == pytest.approx(np.mean(sums), abs=2e-3)
