"""One stage of training on accelerate: steps under the guard, evaluations, checkpoints, a log.

A stage is a function of its inputs and seed alone: batches are drawn from (seed, epoch), dropout is off. So a
run that was killed and resumed has the weights of one that was not, bit for bit on a CPU.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import get_scheduler

from ..errors import ProbeError
from ..files import write_text
from ..scoring.model import LoadedModel
from ..scoring.scores import EncodedSide
from .checkpoint import is_sharded, keep_trainable_only, latest_checkpoint, load_checkpoint, prune
from .checkpoint import save_checkpoint as write_checkpoint
from .data import Example, batches, replayed, sides_of
from .evaluate import evaluation_row, perplexity, sampled_health, side_sums
from .guard import watch_held_out, watch_step
from .guard_records import Event, HeldOut
from .live import View, shown
from .methods import method_of
from .objective import Sums, reward_scale
from .plan import Material, Options, Progress, StageResult
from .policy import Policy
from .recipes import Recipe
from .rows import read_step
from .step import Stepper


class Stage:
    """One stage: `run()` trains the model in place and leaves it with the weights of the best step.

    `stepper` makes the updates and `judged` reads the held-out sums: a stage on unpaired answers has its own.
    """

    stepper: type[Stepper] = Stepper

    def __init__(
        self, loaded: LoadedModel, recipe: Recipe, material: Material, options: Options, directory: Path,
        *, plain: bool = False, cpu: bool = False, fingerprint: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.recipe, self.material, self.options, self.directory = recipe, material, options, directory
        self.accelerator = Accelerator(
            mixed_precision=options.mixed_precision, cpu=cpu, log_with=list(options.trackers) or None,
            project_dir=str(directory),
        )  # fmt: skip
        self.loaded = loaded
        policy = Policy(loaded.model, plain=plain)
        trained = [p for p in policy.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.999)
        )
        self.policy, self.optimizer = self.accelerator.prepare(policy, optimizer)
        self.each_epoch = -(-len(material.train) // recipe.batch)
        self.total = options.steps or max(1, math.ceil(recipe.epochs * self.each_epoch))
        self.scheduler = get_scheduler(
            recipe.schedule, self.optimizer, num_warmup_steps=round(recipe.warmup * self.total),
            num_training_steps=self.total,
        )  # fmt: skip
        self.accelerator.register_for_checkpointing(self.scheduler)
        self.step = self.stepper(
            self.accelerator, self.policy, self.optimizer, self.scheduler, recipe, options.micro_tokens
        )
        keep_trainable_only(self.accelerator)
        self.eval_every = options.eval_every or max(1, round(self.total / 10))
        self.log_every = options.log_every or max(1, self.total // 100)
        self.progress = Progress()
        self.fingerprint = {"recipe": recipe.facts(), "steps": self.total, "seed": options.seed,
                            "pairs": len(material.train), **(fingerprint or {})}  # fmt: skip

    # --- the run ------------------------------------------------------------------------------------------

    def run(self) -> StageResult:
        """Train to the end, or until the guard stops it. Raises `KeyboardInterrupt` after a checkpoint."""
        self._start()
        view = View(self.recipe.method, self.total, self.progress.step, self.progress.step)
        with shown(view, main=self.accelerator.is_main_process), interruptible() as asked:
            if not self.progress.guard.held_out:
                self._evaluate(view)
            stop = self._steps(view, asked)
            if self.progress.guard.held_out[-1].step < self.progress.step:
                self._evaluate(view)
            best = self._restore_best()
        self._write_log()
        # Not `end_training()`: that parts the processes, which still have a stage and scores before them.
        for tracker in self.accelerator.trackers if self.accelerator.is_main_process else ():
            tracker.finish()
        return StageResult(
            self.progress.step, best, tuple(self.progress.rows), tuple(self.progress.events), stop
        )

    def _start(self) -> None:
        last = latest_checkpoint(self.directory) if self.options.resume else None
        if last is not None:
            data = load_checkpoint(self.accelerator, last)
            if json.loads(json.dumps(self.fingerprint)) != data["run"]:
                raise ProbeError(
                    f"{last}: made with other options or another file. Resume with those of its run."
                )
            self.progress = Progress.from_json(data)
        if self.options.trackers:
            self.accelerator.init_trackers("probe", config=_flat(self.recipe.facts()))

    def _steps(self, view: View, asked: threading.Event) -> Event | None:
        plan = batches(
            len(self.material.train), self.recipe.batch, self.options.seed, self.total, self.progress.step
        )
        stop, view.started = self._stopped(), time.monotonic()
        for epoch, indices in plan:
            if stop:
                break
            step, rate = self.progress.step + 1, self.scheduler.get_last_lr()[0]  # of this update
            done = self.step([self.material.train[i] for i in indices], self._replayed(len(indices), step))
            self.progress.sums += done.sums
            if not done.finite:
                self.scheduler.step()  # its batch is spent all the same, though no update was made of it
            if not done.finite or step % self.log_every == 0 or step == self.total:
                stop = self._log(
                    view, step, {"grad_norm": done.grad_norm, "learning_rate": rate, "epoch": epoch}
                )
            if done.finite or not stop:  # where it ends the run, that ends with the step before it
                self.progress.step = step
            if not stop and (step % self.eval_every == 0 or step == self.total):
                stop = self._evaluate(view)
            if self._anyone(asked.is_set()):
                self._checkpoint()
                raise KeyboardInterrupt
        return stop

    def _anyone(self, asked: bool) -> bool:
        """Whether any process was asked to end: all end after the same step, or one waits for ever."""
        if self.accelerator.num_processes == 1:
            return asked
        flag = torch.tensor(float(asked), device=self.accelerator.device)
        return float(self.accelerator.reduce(flag, "sum")) > 0

    def _stopped(self) -> Event | None:
        return next((event for event in self.progress.events if event.action != "warn"), None)

    def _replayed(self, size: int, step: int) -> list[EncodedSide]:
        if self.recipe.method != "sft":
            return []
        return replayed(self.material.replay, self.options.replay_share, size, self.options.seed, step)

    # --- what is written down -----------------------------------------------------------------------------

    def _log(self, view: View, step: int, beside: Mapping[str, float | None]) -> Event | None:
        row = {**self.progress.sums.row(self.recipe.method), **beside, "step": step}
        row = {key: value for key, value in row.items() if value is not None}
        self.progress.sums = Sums()
        self._keep(view, row)
        return self._guard_step(view, row, step)

    def _guard_step(self, view: View, row: Mapping[str, Any], step: int) -> Event | None:
        method = self.recipe.method
        read = read_step(row, step, reward_scale(method, self.recipe.constants))
        assert read is not None
        self.progress.guard, events = watch_step(
            self.progress.guard, read, self.options.limits,
            dpo=method_of(method).bounded,
            scaled=self.accelerator.scaler is not None, total_steps=self.total,
        )  # fmt: skip
        if not method_of(method).starts_at_ln2:
            events = [event for event in events if event.code != "PB810"]
        return self._tell(view, events)

    def _evaluate(self, view: View) -> Event | None:
        """Measure on held-out pairs, judge, checkpoint."""
        items, step = self.material.held_out, self.progress.step
        accelerator, options = self.accelerator, self.options
        sums = side_sums(self.policy, accelerator, sides_of(items), options.micro_tokens)
        row, measured = self.judged(sums, items, step)
        watched = side_sums(self.policy, accelerator, self.material.watch, options.micro_tokens)
        extra = {"perplexity": perplexity(watched, self.material.watch), **self._sampled()}
        extra = {key: value for key, value in extra.items() if value is not None}
        measured = replace(measured, **extra)  # type: ignore[arg-type]
        row |= {f"eval_{key}": value for key, value in extra.items()}
        self._keep(view, {**row, "epoch": step / self.each_epoch, "step": step})
        self.progress.guard, events = watch_held_out(self.progress.guard, measured, options.limits)
        stop = self._tell(view, events)
        self._checkpoint()
        return stop

    def judged(
        self, sums: Sequence[float], items: Sequence[Example], step: int
    ) -> tuple[dict[str, Any], HeldOut]:
        """The evaluation row and what the guard takes, from Σ log p of both sides of each item in turn."""
        return evaluation_row(sums, items, self.recipe.method, self.recipe.constants, step)

    def _sampled(self) -> dict[str, float]:
        prompts = [item.codes.chosen.ids[: item.codes.chosen.start] for item in self.material.held_out]
        prompts = list(dict.fromkeys(prompts))[: self.options.sampled_prompts]
        if is_sharded(self.accelerator):
            return {}
        model = self.accelerator.unwrap_model(self.policy).model
        health = sampled_health(
            replace(self.loaded, model=model), self.accelerator, prompts, self.options.seed
        )
        return {} if health is None else {"top_mass": health[0], "repetition": health[1]}

    def _keep(self, view: View, row: dict[str, Any]) -> None:
        self.progress.rows.append(row)
        if self.accelerator.is_main_process:
            view.row(row)
        if self.options.trackers:
            numbers = {k: v for k, v in row.items() if k != "step"}
            self.accelerator.log(numbers, step=row["step"])

    def _tell(self, view: View, events: Sequence[Event]) -> Event | None:
        """Show and keep what the guard said; with the guard off its stops are warnings."""
        if not self.options.guard:
            events = [replace(event, action="warn") for event in events]
        self.progress.events += events
        for event in events if self.accelerator.is_main_process else ():
            view.event(event)
        return next((event for event in events if event.action != "warn"), None)

    def take_reference(self) -> None:
        """Make the log-probs of the model as it is, computed as in training, the reference of all pairs; of
        those held out alone, by which the guard judges, where the loss has none."""
        given = self.material
        train = self._rescored(given.train) if method_of(self.recipe.method).reference else given.train
        self.material = replace(given, train=train, held_out=self._rescored(given.held_out))

    def _rescored(self, items: Sequence[Example]) -> list[Example]:
        sums = side_sums(self.policy, self.accelerator, sides_of(items), self.options.micro_tokens)
        references = zip(sums[::2], sums[1::2], strict=True)
        return [replace(item, reference=pair) for item, pair in zip(items, references, strict=True)]

    # --- states -------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        self._write_log()
        step, best = self.progress.step, self.progress.guard.best
        write_checkpoint(self.accelerator, self.directory, step, self.progress.to_json(self.fingerprint))
        if self.accelerator.is_main_process:
            prune(self.directory, {step, best.step if best else 0})

    def _restore_best(self) -> int:
        best = self.progress.guard.best
        if best is None or best.step == self.progress.step:
            return self.progress.step
        load_checkpoint(self.accelerator, self.directory / f"checkpoint-{best.step}")
        return best.step

    def _write_log(self) -> None:
        if not self.accelerator.is_main_process:
            return
        best = self.progress.guard.best
        state = {
            "best_global_step": best.step if best else None, "best_metric": best.loss if best else None,
            "epoch": self.progress.step / self.each_epoch, "eval_steps": self.eval_every,
            "global_step": self.progress.step, "is_local_process_zero": True, "is_world_process_zero": True,
            "log_history": self.progress.rows, "logging_steps": self.log_every, "max_steps": self.total,
            "num_train_epochs": math.ceil(self.total / self.each_epoch),
            "train_batch_size": self.recipe.batch,
            "probe": {"recipe": self.recipe.facts(), "guard": [asdict(e) for e in self.progress.events]},
        }  # fmt: skip
        write_text(self.directory / "trainer_state.json", json.dumps(state, indent=1) + "\n")


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if isinstance(v, int | float | str | bool)}


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that a step ends whole; a second one interrupts at once.

    A process that was started to ignore it (`nohup`, `&` in a script) goes on ignoring it.
    """
    asked = threading.Event()
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(*_: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
