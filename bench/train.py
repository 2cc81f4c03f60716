"""DPO training against TRL: seconds an optimizer step, peak memory, and the same loss curve.

    python bench/train.py --json train.json

The same pairs in the same order, the same model, LoRA on the same layers with the same start, AdamW with the
same constant rate, float32, no dropout. Each contestant runs in a process of its own, for its peak memory;
the first step warms up and is not counted, the mean of the others is. TRL runs with the reference computed
along and computed before (`precompute_ref_log_probs`), whose time is given apart, as is ours.

Pairs: HH harmless, from ../shared/data beside the checkout (`--pairs FILE` for others).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from importlib.metadata import version
from pathlib import Path

import torch

HH = Path(__file__).resolve().parents[2] / "shared/data/hh_harmless.jsonl"
CONTESTANTS = ("probe", "trl_precomputed", "trl")
BETA, MAX_LENGTH = 0.1, 1024


def load(arguments):
    """The model, an encoder, and the first pairs that need no cutting and meet no merged token."""
    from probe.pairs.read import read_pairs
    from probe.scoring.encode import make_encoder
    from probe.scoring.model import load_model

    loaded = load_model(arguments.model, device="cpu", dtype="float32")
    count = arguments.batch * arguments.steps
    read = [
        pair for _, pair in zip(range(4 * count), read_pairs(arguments.pairs, skip_bad=True), strict=False)
    ]
    encoder = make_encoder(loaded.tokenizer, read, "raw", MAX_LENGTH)
    fit = [pair for pair, codes in zip(read, encoder.many(read), strict=True) if not codes.flags][:count]
    return loaded, encoder, fit


def start_alike(model):
    """LoRA's A from its name alone, so that every contestant starts from the same weights."""
    for name, parameter in model.named_parameters():
        if "lora_A" in name and parameter.requires_grad:
            draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            bound = math.sqrt(1 / parameter.shape[1])
            with torch.no_grad():
                parameter.copy_((torch.rand(parameter.shape, generator=draw) * 2 - 1) * bound)


def probe(arguments):
    from accelerate import Accelerator

    from probe.scoring.service import Scorer
    from probe.training.data import examples
    from probe.training.methods import LossConstants
    from probe.training.policy import Policy, trainable_model
    from probe.training.recipes import Recipe
    from probe.training.step import Stepper

    loaded, encoder, pairs = load(arguments)
    started = time.perf_counter()
    scores = list(Scorer(loaded, encoder).scores(pairs))
    reference = time.perf_counter() - started
    recipe = Recipe("dpo", arguments.rate, batch=arguments.batch, constants=LossConstants(beta=BETA))
    model = trainable_model(loaded.model, recipe, checkpointing=arguments.checkpointing)
    start_alike(model)
    accelerator = Accelerator(cpu=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    policy, optimizer = accelerator.prepare(
        Policy(model), torch.optim.AdamW(trained, lr=arguments.rate, weight_decay=0)
    )
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    step = Stepper(accelerator, policy, optimizer, scheduler, recipe, arguments.micro_tokens)
    items = examples(pairs, encoder, scores)
    seconds, losses = [], []
    for first in range(0, len(items), arguments.batch):
        started = time.perf_counter()
        outcome = step(items[first : first + arguments.batch])
        seconds.append(time.perf_counter() - started)
        losses.append(outcome.sums.row("dpo")["loss"])
    return seconds, losses, reference


def trl(arguments, precomputed=False):
    from datasets import Dataset
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    loaded, _, pairs = load(arguments)
    rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs]

    class InOrder(DPOTrainer):
        def _get_train_sampler(self, dataset=None):
            return SequentialSampler(dataset or self.train_dataset)

    class Clock(TrainerCallback):
        seconds, losses, started = [], [], 0.0

        def on_step_begin(self, *_, **__):
            self.started = time.perf_counter()

        def on_step_end(self, *_, **__):
            self.seconds.append(time.perf_counter() - self.started)

        def on_log(self, args, state, control, logs=None, **_):
            if "loss" in logs:
                self.losses.append(float(logs["loss"]))

    clock = Clock()
    with tempfile.TemporaryDirectory() as place:
        config = DPOConfig(
            place, per_device_train_batch_size=arguments.batch, max_steps=arguments.steps, beta=BETA,
            learning_rate=arguments.rate, lr_scheduler_type="constant", warmup_steps=0, logging_steps=1,
            max_length=MAX_LENGTH, bf16=False, use_cpu=True, report_to=[], save_strategy="no",
            gradient_checkpointing=arguments.checkpointing, disable_tqdm=True,
            precompute_ref_log_probs=precomputed, precompute_ref_batch_size=arguments.batch,
        )  # fmt: skip
        lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        started = time.perf_counter()
        trainer = InOrder(
            loaded.model, args=config, train_dataset=Dataset.from_list(rows), peft_config=lora,
            processing_class=loaded.tokenizer, callbacks=[clock],
        )  # fmt: skip
        start_alike(trainer.model)
        trainer.train()
        reference = time.perf_counter() - started - sum(clock.seconds)
    return clock.seconds, clock.losses, reference


def contend(name, arguments):
    """Run one contestant here; its last line of output is JSON."""
    torch.manual_seed(0)
    run = {"probe": probe, "trl": trl, "trl_precomputed": lambda a: trl(a, precomputed=True)}[name]
    seconds, losses, reference = run(arguments)
    counted = seconds[1:] or seconds
    print(
        json.dumps(
            {
                "name": name,
                "step_s": statistics.fmean(counted),
                "seconds": seconds,
                "before_s": reference,
                "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
                "losses": losses,
            }
        )
    )


def child(name):
    done = subprocess.run(
        [sys.executable, __file__, "--one", name, *sys.argv[1:]], capture_output=True, text=True, timeout=3600
    )
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-3000:]}")
    row = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name:16} {row['step_s']:.3g} s a step, {row['peak_gb']:.3g} GB, {row['before_s']:.3g} s before")
    return row


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pairs", type=Path, default=HH)
    parser.add_argument("--model", help="default: the embedded SmolLM2-135M-Instruct")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--micro-tokens", type=int, default=1024)
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, for everyone")
    arguments = parser.parse_args()
    if arguments.one:
        contend(arguments.one, arguments)
        return
    if not arguments.pairs.exists():
        sys.exit(f"{arguments.pairs}: not there. Give --pairs FILE.")
    rounds = {name: child(name) for name in arguments.contestants.split(",")}
    ours = rounds["probe"]
    ratios = {name: row["step_s"] / ours["step_s"] for name, row in rounds.items() if name != "probe"}
    memory = {name: row["peak_gb"] / ours["peak_gb"] for name, row in rounds.items() if name != "probe"}
    apart = {
        name: max(abs(a - b) for a, b in zip(row["losses"], ours["losses"], strict=True))
        for name, row in rounds.items()
        if name != "probe"
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} × our time, {memory[name]:.2f} × our memory, losses ±{apart[name]:.2g}")
    if arguments.json:
        packages = ("torch", "transformers", "trl", "peft", "accelerate")
        environment = {name: version(name) for name in packages} | {
            "python": platform.python_version(), "threads": torch.get_num_threads(), "cores": os.cpu_count(),
            "batch": arguments.batch, "steps": arguments.steps, "checkpointing": arguments.checkpointing,
        }  # fmt: skip
        report = {
            "ratios": ratios, "memory_ratios": memory, "loss_differences": apart,
            "rounds": list(rounds.values()), "environment": environment,
        }  # fmt: skip
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
