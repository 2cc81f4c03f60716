"""Logs by the writers themselves: transformers' notebook callback, TensorBoard and W&B under a TRL run."""

import importlib
import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.read import read_log

pytestmark = pytest.mark.oracle


def model_and_pairs(directory: Path) -> tuple[Any, Any, Any]:
    """A one-layer model, its tokenizer and eight pairs."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("trl")
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = list("abcdefghijklmnop")
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **names)
    config = transformers.LlamaConfig(
        vocab_size=24, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    rng = random.Random(0)
    say = lambda k: " ".join(rng.choices(words, k=k))  # noqa: E731
    pairs = Dataset.from_list(
        [{"prompt": say(3) + " ", "chosen": say(4), "rejected": say(4)} for _ in range(8)]
    )
    return transformers.LlamaForCausalLM.from_pretrained(directory), tokenizer, pairs


def trained(out: Path, callbacks: list[Any], **settings: Any) -> Any:
    """A DPO run of six steps with three evaluations."""
    model, tokenizer, pairs = model_and_pairs(out / "model")
    import trl

    args = trl.DPOConfig(
        output_dir=str(out / "run"), max_steps=6, logging_steps=1, per_device_train_batch_size=2,
        use_cpu=True, bf16=False, save_strategy="no", eval_strategy="steps", eval_steps=2,
        disable_tqdm=True, **settings,
    )  # fmt: skip
    trainer = trl.DPOTrainer(
        model=model, args=args, train_dataset=pairs, eval_dataset=pairs, processing_class=tokenizer,
        callbacks=callbacks,
    )  # fmt: skip
    trainer.train()
    return trainer


def losses(entries: list[dict[str, Any]], name: str) -> list[float]:
    return [round(float(entry[name]), 4) for entry in entries if name in entry]


def test_event_files_and_offline_runs_hold_the_log_of_the_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    trainer = trained(tmp_path, [], report_to=["tensorboard", "wandb"])
    import wandb

    wandb.finish()
    written = trainer.state.log_history
    events = next(p for p in tmp_path.rglob("*tfevents*"))
    offline = next(p for p in tmp_path.rglob("*.wandb"))
    for path, form in ((events, "TensorBoard event file"), (offline, "W&B offline run")):
        log = read_log(path)
        assert log.form == form
        assert [round(row["loss"], 4) for row in log.train] == losses(written, "loss")
        assert [round(row["loss"], 4) for row in log.evals[""]] == losses(written, "eval_loss")
        assert [row["step"] for row in log.train] == [1, 2, 3, 4, 5, 6]
        assert diagnose(log).method.name == "DPO"


def notebook_module(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """transformers' own notebook callback; IPython is a display that keeps the HTML."""
    pytest.importorskip("transformers")
    display = ModuleType("IPython.display")
    handle = type("Handle", (), {"update": lambda self, shown: None})()
    display.HTML = lambda html: shown.append(html) or html  # type: ignore[attr-defined]
    display.display = lambda *args, **kwargs: handle  # type: ignore[attr-defined]
    parent = ModuleType("IPython")
    parent.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", parent)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.delitem(sys.modules, "transformers.utils.notebook", raising=False)
    return importlib.import_module("transformers.utils.notebook")


def test_the_table_of_the_notebook_callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    notebook = notebook_module(shown, monkeypatch)
    trainer = trained(tmp_path, [notebook.NotebookProgressCallback], report_to=[])
    output = {"output_type": "display_data", "data": {"text/html": shown[-1].splitlines(keepends=True)}}
    cell = {"cell_type": "code", "source": ["trainer.train()"], "outputs": [output]}
    path = tmp_path / "train.ipynb"
    path.write_text(json.dumps({"cells": [cell], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    log = read_log(path)
    assert log.form == "notebook"
    held_out = losses(trainer.state.log_history, "eval_loss")
    assert [round(row["loss"], 4) for row in log.evals[""]] == held_out
    assert [row["step"] for row in log.evals[""]] == [2, 4, 6]
    assert [round(row["loss"], 4) for row in log.train] == losses(trainer.state.log_history, "loss")[1::2]
