"""A run's `log_history` written as the tools write it: JSON, tables, notebooks, consoles of a dozen trainers.

Every writer is built to the format of its tool: names of columns, what it leaves out, what stands between the
entries. `keeps` says which columns survive.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from autopsy_consoles import (
    STEPS,
    Entries,
    Entry,
    axolotl,
    deepspeed_chat,
    logged,
    megatron,
    mlx,
    nemo,
    openrlhf,
    own_loop,
    printed,
    printed_as_text,
    printed_over_lines,
    printed_with_bars,
    swift_console,
    torchtune,
    trained,
    unstepped,
    verl,
)  # fmt: skip


class Form(NamedTuple):
    """How a log is kept: the file's name, its text, and the columns that it keeps (by TRL's names)."""

    name: str
    file: str
    write: Callable[[Entries], str]
    keeps: Callable[[str], bool] = lambda column: True
    encoding: str = "utf-8"


def trainer_state(entries: Entries) -> str:
    steps = [e["step"] for e in entries]
    return json.dumps(
        {
            "best_metric": None,
            "global_step": max(steps),
            "log_history": list(entries),
            "max_steps": max(steps),
        },
        indent=2,
    )


def json_list(entries: Entries) -> str:
    return json.dumps(list(entries))


def json_lines(entries: Entries) -> str:
    return "\n".join(json.dumps(e) for e in entries) + "\n"


def text_of_list(entries: Entries) -> str:
    return str([dict(e) for e in entries])


def frame_csv(entries: Entries) -> str:
    names = list(dict.fromkeys(k for e in entries for k in e))
    return _csv(names, [[e.get(n, "") for n in names] for e in entries])


def _csv(names: Sequence[str], rows: Sequence[Sequence[Any]], quoting: Any = csv.QUOTE_MINIMAL) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return out.getvalue()


def frame_json(entries: Entries) -> str:
    names = list(dict.fromkeys(k for e in entries for k in e))
    return json.dumps({n: {str(i): e.get(n) for i, e in enumerate(entries)} for n in names})


def swift(entries: Entries) -> str:
    """ms-swift's logging.jsonl."""
    total = max(e["step"] for e in entries)
    rows = []
    for e in entries:
        place = {
            "global_step/max_steps": f"{e['step']}/{total}",
            "percentage": f"{100 * e['step'] / total:.2f}%",
        }
        times = {
            "elapsed_time": "1m 3s",
            "remaining_time": "10m 2s",
            "memory(GiB)": 21.4,
            "train_speed(iter/s)": 0.31,
        }
        rows.append(json.dumps(unstepped(e) | place | times))
    return "\n".join(rows)


def llamafactory(entries: Entries) -> str:
    """trainer_log.jsonl from 0.7 on: loss, rate, and the accuracy of preferences."""
    total = max(e["step"] for e in entries)
    rows = []
    for e in entries:
        names = {
            "loss": "loss",
            "eval_loss": "eval_loss",
            "rewards/accuracies": "accuracy",
            "learning_rate": "lr",
            "epoch": "epoch",
        }
        kept = {new: e[old] for old, new in names.items() if old in e}
        rest = {
            "percentage": round(100 * e["step"] / total, 2),
            "elapsed_time": "0:01:10",
            "remaining_time": "0:10:00",
        }
        rows.append(json.dumps({"current_steps": e["step"], "total_steps": total} | kept | rest))
    return "\n".join(rows)


def llamafactory_old(entries: Entries) -> str:
    """trainer_log.jsonl of 0.3 to 0.6: keys that do not apply are null."""
    total = max(e["step"] for e in entries)
    rows = []
    for e in entries:
        row = {
            "current_steps": e["step"], "total_steps": total, "loss": e.get("loss"), "eval_loss": e.get("eval_loss"), "predict_loss": None,  # noqa: E501
            "reward": None, "accuracy": e.get("rewards/accuracies"), "learning_rate": e.get("learning_rate"), "epoch": e.get("epoch"),  # noqa: E501
            "percentage": round(100 * e["step"] / total, 2), "elapsed_time": "0:01:10", "remaining_time": "0:10:00",  # noqa: E501
        }  # fmt: skip
        rows.append(json.dumps(row))
    return "\n".join(rows)


def _table(entries: Entries, evaluated: bool) -> tuple[list[str], list[list[str]]]:
    """The table of transformers' notebook callback: with evaluations a row each, else a row an entry."""
    if not evaluated:
        names = [
            "loss",
            *dict.fromkeys(
                k for e in entries for k in e if k not in (*STEPS, "loss", "grad_norm", "learning_rate")
            ),
        ]
        heads = ["Step", "Training Loss", *(n.replace("/", " / ") for n in names[1:])]
        return heads, [
            [str(e["step"]), *(f"{e[n]:.6f}" if n in e else "" for n in names)] for e in trained(entries)
        ]
    names = list(
        dict.fromkeys(k for e in entries for k in e if k.startswith("eval_") and k != "eval_runtime")
    )
    rows, last = [], "No log"
    for e in entries:
        if "loss" in e:
            last = f"{e['loss']:.6f}"
        elif "eval_loss" in e:
            rows.append([str(e["step"]), last, *(f"{e[n]:.6f}" if n in e else "" for n in names)])
    words = [n.removeprefix("eval_").replace("/", " / ").replace("_", " ").capitalize() for n in names]
    return ["Step", "Training Loss", *("Validation Loss" if w == "Loss" else w for w in words)], rows


def notebook(entries: Entries) -> str:
    heads, rows = _table(entries, any("eval_loss" in e for e in entries))
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{h}</th>" for h in heads)
    html = f"<div><progress value='9' max='9'></progress>[9/9 00:10, Epoch 1/1]</div><table border='1' class='dataframe'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>"  # noqa: E501
    return _notebook(
        {
            "output_type": "display_data",
            "data": {"text/html": [html], "text/plain": ["<IPython.core.display.HTML object>"]},
        }
    )


def _notebook(output: Entry) -> str:
    cells = [
        {"cell_type": "markdown", "source": ["# loss"]},
        {"cell_type": "code", "source": ["trainer.train()"], "outputs": [output]},
    ]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def printed_notebook(entries: Entries) -> str:
    return _notebook(
        {"output_type": "stream", "name": "stdout", "text": printed(entries).splitlines(keepends=True)}
    )


def model_card(entries: Entries) -> str:
    heads, rows = _table(entries, True)
    lines = [
        "---",
        "tags: [trl, dpo]" if any("rewards" in h for h in heads) else "tags: [sft]",
        "---",
        "# model",
        "",
        "### Training results",
        "",
    ]
    lines += [
        f"| {' | '.join(heads)} |",
        f"|{':---:|' * len(heads)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines)


def wandb_history(entries: Entries) -> str:
    """`run.history().to_csv()`: every metric with its group, the step of the trainer beside W&B's own."""

    def named(k: str) -> str:
        return (
            f"eval/{k[5:]}" if k.startswith("eval_") else "train/global_step" if k == "step" else f"train/{k}"
        )

    rows = [
        {
            "": i,
            "_step": i,
            "_runtime": 10.0 * i,
            "_timestamp": 1.77e9 + i,
            **{named(k): v for k, v in e.items()},
        }
        for i, e in enumerate(entries)
    ]
    return frame_csv(rows)


def wandb_panel(entries: Entries) -> str:
    rows = [[e["step"], e["loss"], e["loss"], e["loss"]] for e in trained(entries)]
    run = "dpo-run-7"
    return _csv(
        ["Step", f"{run} - train/loss", f"{run} - train/loss__MIN", f"{run} - train/loss__MAX"],
        rows,
        csv.QUOTE_ALL,
    )


def tensorboard_csv(entries: Entries) -> str:
    return _csv(
        ["Wall time", "Step", "Value"],
        [[1.77e9 + e["step"], e["step"], e["loss"]] for e in trained(entries)],
    )


def lightning(entries: Entries) -> str:
    names = {
        "loss": "train_loss_step",
        "eval_loss": "val_loss",
        "learning_rate": "lr-AdamW",
        "grad_norm": "grad_norm",
        "step": "step",
        "epoch": "epoch",
    }
    return frame_csv([{names[k]: v for k, v in e.items() if k in names} for e in entries])


def _only(*names: str) -> Callable[[str], bool]:
    return lambda column: column in (*names, *STEPS)


LOSSES = _only("loss", "eval_loss", "learning_rate", "grad_norm")
TRAINED = _only("loss", "learning_rate")
PAIRED = _only("loss", "eval_loss", "rewards/accuracies", "learning_rate")
FORMS = (
    Form("trainer_state.json", "trainer_state.json", trainer_state),
    Form("JSON list", "log_history.json", json_list),
    Form("JSON Lines", "log.jsonl", json_lines),
    Form("str(log_history)", "history.txt", text_of_list),
    Form("data frame, CSV", "log.csv", frame_csv),
    Form("data frame, JSON", "frame.json", frame_json),
    Form("console, transformers 4", "train.log", printed),
    Form("console, transformers 5", "train5.log", printed_as_text),
    Form("console with bars", "train.out", printed_with_bars),
    Form("console, several lines", "pretty.log", printed_over_lines),
    Form("console, UTF-16", "powershell.log", printed, encoding="utf-16"),
    Form("logger's lines", "app.log", logged),
    Form("Axolotl", "axolotl.log", axolotl),
    Form("ms-swift, JSON Lines", "logging.jsonl", swift),
    Form("ms-swift, console", "swift.log", swift_console),
    Form("LLaMA-Factory", "trainer_log.jsonl", llamafactory, PAIRED),
    Form("LLaMA-Factory 0.3", "trainer_log.jsonl", llamafactory_old, PAIRED),
    Form("torchtune", "log_17.txt", torchtune, lambda c: not c.startswith("eval_")),
    Form("mlx-lm", "mlx.txt", mlx, _only("loss", "eval_loss", "learning_rate")),
    Form("OpenRLHF", "openrlhf.log", openrlhf, lambda c: c in ("loss", "learning_rate") or c.startswith("rewards/")),  # noqa: E501
    Form("verl", "verl.log", verl, LOSSES),
    Form("DeepSpeed-Chat", "training.log", deepspeed_chat, TRAINED),
    Form("Megatron", "megatron.log", megatron, LOSSES),
    Form("own loop, key=value", "loop.log", own_loop),
    Form("notebook, table", "train.ipynb", notebook, lambda c: c not in ("grad_norm", "learning_rate")),
    Form("notebook, printed", "printed.ipynb", printed_notebook),
    Form("model card", "README.md", model_card, _only("loss", "eval_loss")),
    Form("W&B history", "wandb.csv", wandb_history),
    Form("W&B panel", "wandb_export.csv", wandb_panel, _only("loss")),
    Form("TensorBoard CSV", "run-.-tag-train_loss.csv", tensorboard_csv, _only("loss")),
    Form("Lightning CSV", "metrics.csv", lightning, LOSSES),
    Form("NeMo bar", "nemo.log", nemo, _only("loss")),
)  # fmt: skip
