"""Consoles of trainers: what a run's `log_history` looks like as they print it."""

from __future__ import annotations

import math
import pprint
from collections.abc import Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]
Entries = Sequence[Entry]
STEPS = ("step", "epoch")


def trained(entries: Entries) -> list[Entry]:
    """The entries with a training loss."""
    return [e for e in entries if "loss" in e]


def unstepped(entry: Entry) -> dict[str, Any]:
    """An entry as transformers prints it: without its step."""
    return {k: v for k, v in entry.items() if k != "step"}


def printed(entries: Entries) -> str:
    """transformers' console until version 4: no step."""
    return "Loading checkpoint shards: done\n" + "\n".join(str(unstepped(e)) for e in entries) + "\n"


def printed_as_text(entries: Entries) -> str:
    """transformers' console from version 5: every number as a text of four digits."""
    shown = [{k: f"{v:.4g}" for k, v in unstepped(e).items()} for e in entries]
    return "\n".join(map(str, shown)) + "\n"


def printed_with_bars(entries: Entries) -> str:
    total = max(e["step"] for e in entries)
    parts = []
    for e in entries:
        n = e["step"]
        bar = f"{100 * n // total:3d}%|███       | {n}/{total} [01:{n % 60:02d}<02:00,  1.20s/it]"
        parts.append(f"\r{bar}\n{unstepped(e)}\n\r{bar}")
    return "".join(parts)


def printed_over_lines(entries: Entries) -> str:
    return "\n".join(pprint.pformat(unstepped(e), width=40) for e in entries)


def logged(entries: Entries) -> str:
    head = "2026-03-01 10:00:{:02d},123 - INFO - train.py:88 - "
    return "\n".join(head.format(i % 60) + str(dict(e)) for i, e in enumerate(entries))


def axolotl(entries: Entries) -> str:
    total = max(e["step"] for e in entries)
    lines = ["[2026-03-01 10:00:00,000] [INFO] [axolotl.train:120] [PID:77] Starting trainer..."]
    for e in entries:
        n, extra = (
            e["step"],
            {
                "memory/max_active (GiB)": 17.3,
                "memory/max_allocated (GiB)": 17.3,
                "tokens_per_second_per_gpu": 812.4,
            },
        )
        lines += [
            f"{unstepped(e) | extra}",
            f"\r {100 * n // total}%|█▌ | {n}/{total} [10:02<55:10, 3.1s/it]",
        ]
    return "\n".join(lines)


def swift_console(entries: Entries) -> str:
    """ms-swift's console: dictionaries after the bar, on its line."""
    total = max(e["step"] for e in entries)
    lines = ["[INFO:swift] Start time of running main: 2026-03-01 10:00:00"]
    for e in entries:
        n = e["step"]
        lines.append(
            f"Train: {100 * n // total:3d}%|██  | {n}/{total} [00:51<01:10,  1.1it/s]{unstepped(e) | {'global_step/max_steps': f'{n}/{total}'}}"  # noqa: E501
        )
    return "\n".join(lines)


def torchtune(entries: Entries) -> str:
    """The file of torchtune's disk logger; its DPO recipe writes log_probs/."""
    names = {
        "loss": "loss",
        "learning_rate": "lr",
        "grad_norm": "grad_norm",
        "logps/chosen": "log_probs/chosen",
        "logps/rejected": "log_probs/rejected",
    }
    lines = []
    for e in trained(entries):
        kept = {names.get(k, k): v for k, v in e.items() if k not in STEPS}
        lines.append(
            f"Step {e['step']} | "
            + " ".join(f"{k}:{v}" for k, v in kept.items())
            + " tokens_per_second_per_gpu:1200.5 "
        )
    return "\n".join(lines)


def mlx(entries: Entries) -> str:
    lines = ["Loading pretrained model", "Starting training..., iters: 400"]
    for e in entries:
        if "loss" in e:
            lines.append(
                f"Iter {e['step']}: Train loss {e['loss']:.3f}, Learning Rate {e['learning_rate']:.3e}, It/sec 0.412, "  # noqa: E501
                "Tokens/sec 301.204, Trained Tokens 7312, Peak mem 5.276 GB"
            )
        elif "eval_loss" in e:
            lines.append(f"Iter {e['step']}: Val loss {e['eval_loss']:.3f}, Val took 4.512s")
    return "\n".join(lines)


def openrlhf(entries: Entries) -> str:
    """OpenRLHF's bars for DPO, a new line each as in a captured log."""
    rows = trained(entries)
    lines = []
    for i, e in enumerate(rows, 1):
        tail = {
            "loss": e["loss"],
            "acc": e.get("rewards/accuracies"),
            "chosen_reward": e.get("rewards/chosen"),
            "reject_reward": e.get("rewards/rejected"),
            "lr": e["learning_rate"],
        }
        shown = ", ".join(f"{k}={v:.4g}" for k, v in tail.items() if v is not None)
        lines.append(
            f"Train step of epoch 0: {100 * i // len(rows):3d}%|█▍ | {i}/{len(rows)} [00:10<01:20,  1.02s/it, {shown}]"  # noqa: E501
        )
    return "\r".join(lines)


def verl(entries: Entries) -> str:
    """verl's console logger of its SFT trainer."""
    lines = []
    for e in entries:
        names = {
            "loss": "train/loss",
            "learning_rate": "train/lr",
            "grad_norm": "train/grad_norm",
            "eval_loss": "val/loss",
        }
        kept = [f"{new}:{e[old]}" for old, new in names.items() if old in e]
        lines.append(f"(TaskRunner pid=4711) step:{e['step']} - " + " - ".join(kept))
    return "\n".join(lines)


def deepspeed_chat(entries: Entries) -> str:
    lines = ["***** Running training *****"]
    for e in trained(entries):
        lines.append(f"Epoch: 0, Step: {e['step']}, Rank: 0, loss = {e['loss']}")
        lines.append(
            f"[2026-03-01 10:00:00,123] [INFO] [logging.py:96:log_dist] [Rank 0] step={e['step']}, skipped=0, lr=[{e['learning_rate']}, {e['learning_rate']}], mom=[(0.9, 0.95), (0.9, 0.95)]"  # noqa: E501
        )
    return "\n".join(lines)


def megatron(entries: Entries) -> str:
    total = max(e["step"] for e in entries)
    lines = []
    for e in entries:
        if "loss" in e:
            norm = f" grad norm: {e['grad_norm']:.3f} |" if "grad_norm" in e else ""
            lines.append(
                f" [2026-03-01 10:00:00] iteration {e['step']:8d}/{total:8d} | consumed samples: {e['step'] * 16:12d} | elapsed time per iteration (ms): 412.1 | "  # noqa: E501
                f"learning rate: {e['learning_rate']:.6E} | global batch size:    16 | lm loss: {e['loss']:.6E} | loss scale: 1.0 |{norm} number of skipped iterations:   0 | number of nan iterations:   0 |"  # noqa: E501
            )
        elif "eval_loss" in e:
            lines.append(
                f" validation loss at iteration {e['step']} | lm loss value: {e['eval_loss']:.6E} | lm loss PPL: {math.exp(e['eval_loss']):.6E} | "  # noqa: E501
            )
    return "\n".join(lines)


def own_loop(entries: Entries) -> str:
    lines = []
    for e in entries:
        rest = " ".join(f"{k}={v}" for k, v in e.items() if k not in STEPS)
        lines.append(f"[10:00:00] epoch {e['epoch']:.2f} step {e['step']} {rest}")
    return "\n".join(lines)


def nemo(entries: Entries) -> str:
    rows = trained(entries)
    bar = "Epoch 0: :  {p}%|█  | {i}/{n} [00:10<00:20, 1.1it/s, v_num=4d2, reduced_train_loss={loss:.4g}, global_step={step:.1f}, consumed_samples={samples:.1f}]"  # noqa: E501
    return "\r".join(
        bar.format(
            p=100 * i // len(rows), i=i, n=len(rows), loss=e["loss"], step=e["step"], samples=16.0 * e["step"]
        )
        for i, e in enumerate(rows, 1)
    )
