"""Fixtures that several test modules share."""

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from in_process import *  # noqa: F403

from probe import config, files
from probe.records import BiasRow, Condition, Decision, Estimate, Finding, Reason, Run, Verdict

# Compiled modules are kept, whatever the shell says: each process that a test starts would compile them anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("probe", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("probe")


@pytest.fixture(autouse=True)
def no_settings_of_another_test():
    """Tests that set a config or protect inputs leave neither behind: reports name what is set."""
    before = config._active.set(None), files._inputs.set(())
    yield
    config._active.reset(before[0])
    files._inputs.reset(before[1])


HOSTILE = "<script>alert(1)</script> \x1b[31mred\x07 \u202etrap\u202c | `tick` \r\nnext & ]]> %0A::error"


def estimate(name, value, low, high, n=8, p=None, units="nats/token", group="all", method="cluster t"):
    return Estimate(name, value, low, high, n, p, method, units, group)


def bias_estimates():
    groups = {
        "causes": (0.95, 0.61, 1.29, 8, 8, 0.0078125),
        "advice": (0.71, 0.32, 1.10, 8, 7, 0.0703),
        "hormones and hunger": (-0.12, -0.55, 0.31, 8, 3, 0.7266),
        "all": (0.51, 0.28, 0.74, 24, 18, 0.000123),
    }
    for group, (value, low, high, n, wins, p) in groups.items():
        yield estimate("gap", value, low, high, n, p, group=group)
        yield estimate("win_rate", wins / n, 0.4, 0.99, n, p, "share", group, "Clopper-Pearson")


def token_row(id, line, gap, chosen, rejected, prompt="Why do people gain weight?", group="causes"):
    def side(text, logp):
        pieces = [piece if i == 0 else " " + piece for i, piece in enumerate(text.split(" "))]
        return {"text": text, "tokens": [[piece, logp - 0.7 * (i % 4)] for i, piece in enumerate(pieces)]}

    return {
        "id": id,
        "line": line,
        "group": group,
        "gap": gap,
        "prompt": prompt,
        "chosen": side(chosen, -0.4),
        "rejected": side(rejected, -0.6),
    }


WORST = [
    token_row(
        "hormones-3",
        19,
        -0.42,
        "Because they keep eating more energy than they use, day after day, and the body stores the rest.",
        "Because insulin tells the fat cells to store, and that leaves less energy for everything else.",
        group="hormones and hunger",
    ),
    token_row("x", 23, -0.31, HOSTILE, "A plain answer.", prompt=HOSTILE, group="<b>markup</b>"),
]
BEST = [token_row("causes-1", 1, 1.62, "A calorie surplus.", "A hormone surplus.")]
MODEL = {"name": "SmolLM2-135M-Instruct (embedded)", "dtype": "float32", "device": "cpu", "template": "chat"}
ENVIRONMENT = {
    "probe": "0.1.0",
    "python": "3.11.2",
    "platform": "Linux",
    "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
    "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    "argv": ["probe", "bias", "pairs/cico_insulin.jsonl", "--sides", "CICO,insulin"],
}
PB101 = Finding(
    "PB101",
    "warning",
    "the base model prefers CICO in 18 of 24 pairs, beyond ±0.10 nats/token",
    "Do not expect a few preference pairs to turn this; see the decision.",
    lines=tuple(range(1, 19)),
    worst_pairs=("hormones-3",),
)
PB601 = Finding(
    "PB601",
    "info",
    "group hormones and hunger is undetermined: 8 pairs cannot tell",
    "Add 31 pairs to this group.",
    group="hormones and hunger",
)


def bias_pairs():
    return [
        {
            "id": f"{group}-{i}",
            "line": i + 1,
            "group": group,
            "cluster": i,
            "gap": round(0.1 * (i % 13) - 0.3, 3),
            "gap_sum": 0.8 * (i % 13) - 3,
            "gap_byte": 0.02 * (i % 13) - 0.06,
            "chosen_tokens": 14 + i % 5,
            "rejected_tokens": 12 + i % 7,
        }
        for i, group in enumerate(["causes", "advice", "hormones and hunger"] * 8)
    ]


@pytest.fixture(scope="session")
def bias_run():
    """What `probe bias` saves: three groups, two findings, hostile text among the worst pairs."""
    return Run(
        command="bias",
        created="2026-11-21T10:52:00Z",
        bias=(
            BiasRow("causes", "favours chosen"),
            BiasRow("advice", "undetermined", 4),
            BiasRow("hormones and hunger", "undetermined", 31),
            BiasRow("all", "favours chosen"),
        ),
        estimates=(*bias_estimates(), estimate("length_ratio", 1.04, 0.97, 1.11, 24, None, "ratio")),
        findings=(PB601, PB101),
        inputs={
            "pairs": {"path": "pairs/cico_insulin.jsonl", "sha256": "ab" * 32, "n": 24, "dropped": 0},
            "scores": {"new": 20, "stored": 4},
            "model": MODEL,
            "sides": ["CICO", "insulin"],
        },
        config={"bound": 0.1, "alpha": 0.05},
        environment=ENVIRONMENT,
        details={"pairs": bias_pairs(), "worst": WORST, "best": BEST},
    )


def decision():
    return Decision(
        "sft+dpo",
        ("sft", "dpo"),
        {"learning_rate": 5e-6, "beta": 0.1, "epochs": 2, "lora_rank": 16},
        (
            Reason(
                "PB201",
                "the rejected side can be told apart without the prompt (accuracy 94% [89%, 97%])",
                "Ren & Sutherland 2024, arXiv:2407.10490",
            ),
        ),
        {"method": "dpo", "would_change": "with 40 more labelled pairs DPO alone could be judged"},
    )


def trainer_log():
    for step in range(1, 41):
        yield {
            "step": 5 * step,
            "loss": 0.6931 / step**0.5,
            "rewards/margins": 0.05 * step,
            "rewards/accuracies": min(1.0, 0.5 + 0.02 * step),
            "logps/chosen": -120 - 0.5 * step,
            "logps/rejected": -125 - 1.5 * step,
            "grad_norm": "NaN" if step == 38 else 3.0 + step % 3,
        }


@pytest.fixture(scope="session")
def gate_run(bias_run):
    """What `probe train --method auto` saves: every section that a report can have."""
    judged = (
        Condition("bias", "all", bias_run.estimate("gap"), 0.5, "inconclusive", "PB101"),
        Condition(
            "identical pairs",
            "all",
            estimate("identical", 0.0, 0.0, 0.12, 24, units="share"),
            0.0,
            "pass",
            "PB301",
        ),
        Condition(
            "triviality",
            "advice",
            estimate("surface_accuracy", 0.94, 0.89, 0.97, 24, 0.001, "share"),
            0.9,
            "fail",
            "PB201",
        ),
        Condition("length", "all", None, 0.65, "accepted", "PB202", "style data"),
    )
    trivial = Finding(
        "PB201", "error", "prompt-free features tell chosen from rejected", "Sample new negatives."
    )
    return Run(
        command="train",
        created=bias_run.created,
        verdict=Verdict("fail", 1, judged),
        decision=decision(),
        bias=bias_run.bias,
        estimates=bias_run.estimates,
        findings=(*bias_run.findings, trivial),
        inputs=bias_run.inputs,
        config=bias_run.config,
        environment=ENVIRONMENT,
        details={
            **bias_run.details,
            "data": [
                {
                    "check": "identical",
                    "code": "PB301",
                    "count": 0,
                    "share": 0.0,
                    "low": 0.0,
                    "high": 0.12,
                    "limit": 0,
                },
                {
                    "check": "near-duplicates",
                    "code": "PB305",
                    "count": 3,
                    "share": 0.125,
                    "low": 0.03,
                    "high": 0.32,
                    "limit": None,
                },
            ],
            "ladder": [
                {
                    "feature": "length only",
                    "level": "prompt-free",
                    "accuracy": 0.54,
                    "low": 0.33,
                    "high": 0.74,
                    "p": 0.42,
                    "n": 24,
                },
                {
                    "feature": "word n-grams",
                    "level": "prompt-free",
                    "accuracy": 0.94,
                    "low": 0.89,
                    "high": 0.97,
                    "p": 0.001,
                    "n": 24,
                },
                {
                    "feature": "hidden states",
                    "level": "given prompt",
                    "accuracy": 0.96,
                    "low": 0.90,
                    "high": 0.99,
                    "p": 0.001,
                    "n": 24,
                },
            ],
            "axis": {
                "position": 0.94,
                "low": 0.89,
                "high": 0.97,
                "regions": [["no signal", 0.0, 0.6], ["learnable", 0.6, 0.9], ["trivial", 0.9, 1.0]],
            },
            "giveaways": ["As an AI", HOSTILE],
            "training": {
                "log_history": list(trainer_log()),
                "guard": [
                    {"step": 150, "event": "stop", "text": "train accuracy 1.00 while the margin still grows"}
                ],
                "stages": ["sft", "dpo"],
            },
            "before_after": [
                {
                    "name": "gap",
                    "group": "all",
                    "before": 0.51,
                    "after": 0.12,
                    "change": -0.39,
                    "low": -0.6,
                    "high": -0.2,
                    "p": 0.002,
                    "units": "nats/token",
                },
                {
                    "name": "win rate",
                    "group": "all",
                    "before": 0.75,
                    "after": 0.58,
                    "change": -0.17,
                    "low": None,
                    "high": None,
                    "p": None,
                    "units": "share",
                },
            ],
            "autopsy": {
                "main": "saturated",
                "tags": ["trivial", "loss near 0"],
                "since_step": 150,
                "evidence": "accuracy 1.00 from step 125",
                "next": "stop at step 125",
            },
            "accepted": [{"code": "PB202", "group": "all", "until": "2027-01-01", "reason": "style data"}],
            "costs": [{"probe": "bias", "what": "48 sequences", "seconds": 3.21}],
        },
    )


def pytest_collection_modifyitems(items):
    """Mark what takes long by the times that `make times` measured last; a new test counts as fast."""
    markers = json.loads((Path(__file__).parent / "durations.json").read_text(encoding="utf-8"))
    for item in items:
        function = item.nodeid.split("[")[0]
        for name, functions in markers.items():
            if function in functions:
                item.add_marker(name)


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden reports")


@pytest.fixture
def update_golden(request):
    return request.config.getoption("--update-golden")


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory):
    """A random two-layer Llama with a byte-level tokenizer, saved where `--model` can find it."""
    directory = tmp_path_factory.mktemp("tiny")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    tokenizer.train_from_iterator(
        [], trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes)).save_pretrained(directory)
    return directory
