"""`probe compare` of models and adapters: tiny ones on the disk, through the command."""

import json
import sys

import pytest
import torch

from probe.__main__ import main
from probe.runs import load_run

TEXTS = "People gain weight when they eat more than they burn.\n\nWhy do diets fail, and who says so?\n"


@pytest.fixture
def home(tmp_path, monkeypatch, tiny, make_tokenizer):
    monkeypatch.chdir(tmp_path)
    tokenizer = make_tokenizer()
    tiny.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        tiny.lm_head.weight[5:200] += 0.3  # a push towards some words, whatever the prompt
    tiny.save_pretrained(tmp_path / "pushed")
    for name in ("base", "pushed"):
        tokenizer.save_pretrained(tmp_path / name)
    (tmp_path / "notes.txt").write_text(TEXTS)
    return tmp_path


@pytest.fixture
def held_out(home, pairs):
    rows = [
        {"id": p.id, "group": f"g{i % 2}", "prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected}
        for i, p in enumerate(pairs)
    ]
    path = home / "held-out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def probe(monkeypatch):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["probe", *map(str, words)])
        return main()

    return run


def test_a_model_is_no_worse_than_itself(home, held_out, probe):
    """No change at all: within any allowance above 0, in both groups, for texts and answers alike."""
    options = ("--watch", "notes.txt", "--samples", "4", "--tokens", "8", "--out", "run", "--no-cache")
    few = ("--allowance", "watched=5")  # two texts cannot show anything
    assert probe("compare", "base", "base", held_out, *options, *few) == 1
    run = load_run(home / "run")
    results = {(c.name, c.group): c.result for c in run.verdict.conditions}
    assert {results["gap_change", g] for g in ("all", "g0", "g1")} == {"pass"}
    assert results["watched_change", "all"] == "inconclusive"
    rows = {(r["name"], r["group"]): r for r in run.details["before_after"]}
    assert rows["chosen", "all"]["change"] == rows["repetition", "all"]["change"] == 0
    assert rows["distinct 1", "all"]["before"] == rows["distinct 1", "all"]["after"] > 0
    assert run.estimate("perplexity_ratio").value == 1


def test_what_changed_is_what_both_models_score(home, held_out, probe, capsys):
    """The change of the chosen side's log-probs is that of two `probe bias` runs, and of their saved runs."""
    for name in ("base", "pushed"):
        off = ("--templates", "none", "--no-corrected", "--no-cache", "--out", name + "-run")
        assert probe("bias", held_out, "--model", name, *off) == 0
    means = [
        [json.loads(line)["chosen"]["mean_logps"] for line in (home / f"{name}-run/scores.jsonl").open()]
        for name in ("base", "pushed")
    ]
    expected = sum(b - a for a, b in zip(*means, strict=True)) / len(means[0])
    assert abs(expected) > 0.01
    assert probe("compare", "base", "pushed", held_out, "--samples", "0", "--no-cache", "--out", "m") in (
        0,
        1,
    )
    assert probe("compare", "base-run/run.json", "pushed-run", "--out", "s") in (0, 1)
    found = [load_run(home / out).estimate("chosen_change").value for out in ("m", "s")]
    assert found == pytest.approx([expected, expected], abs=1e-5)
    capsys.readouterr()
    assert probe("compare", "base", "pushed") == 2
    assert "Name the pair file" in capsys.readouterr().err


def test_an_untrained_adapter_changes_nothing_and_can_be_promoted(home, held_out, probe, capsys):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained("base")
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained("adapter")
    options = ("--samples", "0", "--no-cache", "--promote-to", "serve", "--out", "run")
    assert probe("compare", "base", "adapter", held_out, *options) == 0
    assert "promote: all" in capsys.readouterr().out
    assert (home / "serve" / "adapter_model.safetensors").is_file()
    assert json.loads((home / "serve" / "promotion.json").read_text())["source"] == "adapter"


def test_a_comparison_on_what_was_trained_on_says_so(home, held_out, probe, capsys):
    """On the file that was trained on a model is better, and nothing had told what it had seen."""
    short = ("--model", "base", "--method", "dpo", "--steps", "1", "--samples", "0", "--no-cache")
    assert probe("train", held_out, *short, "--held-out", "0.4", "--out", "tuned") == 0
    run, apart = load_run(home / "tuned"), home / "tuned/held-out.jsonl"
    rows = [json.loads(line) for line in held_out.open()]
    kept = [json.loads(line) for line in apart.open()]
    assert len(kept) == run.inputs["split"]["held_out"] and all(row in rows for row in kept)
    assert not {row["prompt"] for row in kept} & {row["prompt"] for row in rows if row not in kept}

    def told(file):
        quick = ("--samples", "0", "--no-cache", "--out", "compared")
        assert probe("compare", "base", "tuned/adapter", file, *quick) in (0, 1)
        return [f for f in load_run(home / "compared").findings if f.code == "PB914"]

    (found,) = told(held_out)
    trained = [number for number, row in enumerate(rows, 1) if row not in kept]
    assert found.lines == tuple(trained) and f"{len(trained)} of {len(rows)} pairs" in found.message
    assert found.remedy.endswith("tuned/held-out.jsonl.") and not told(apart)
    assert "PB914" in capsys.readouterr().out
