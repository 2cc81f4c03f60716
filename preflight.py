"""`probe.Preflight`: one line in a training script that gates the run before its first step.

trainer = DPOTrainer(..., callbacks=[probe.Preflight()])
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Literal, cast

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .api import Result, autopsy, gate
from .api_inputs import listed
from .errors import ProbeError
from .gate.registry import PROBES
from .gate.settings import GateOptions, judged, named_limits
from .gate.states import DONE
from .probes.trainer.checks import Setup, judge_setup
from .probes.trainer.read import IDS, read_setup, trainer_method
from .probes.trainer.step import step_of
from .records import Finding, Measured
from .reports.answer import answered
from .reports.view import called
from .scoring.given import untouched
from .training.callback import GuardCallback

PAIRED = ("prompt", "chosen", "rejected")
ANSWERS = ("prompt", "completion", "label")
REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")


class PreflightFailed(ProbeError):
    """The run was stopped before its first step; `result` is the gate's run, where the gate came to one."""

    def __init__(self, message: str, findings: Sequence[Finding], result: Result | None) -> None:
        super().__init__(message)
        self.findings = tuple(findings)
        self.result = result


class Preflight(TrainerCallback):  # type: ignore[misc]
    """Looks at the trainer's own model, reference, batches and arguments, tries its first step, then gates
    its pairs.

    For TRL's DPO, ORPO, CPO, KTO, SFT and Reward trainers. A set-up that cannot train is refused in seconds:
    a reference that is not the starting policy, an adapter that is frozen, labels all masked, float16 weights
    under AdamW. Then `probe.gate` runs on the training set with the trainer's model, where it holds pairs.
    `on_fail`: "stop" raises `PreflightFailed`, "warn" prints and trains. `off` names probes of the gate not
    to run, `numerics` the first step. With `guard` the run is watched by `probe.Guard` and its log
    diagnosed at the end.

    The model, its gradients and adapters and the random state are afterwards what they were, bit for bit.
    `stored_reference`: the loss reads the columns that `probe reference` wrote, where TRL, with or without
    `precompute_ref_log_probs`, would compute them again.
    `setup`, `findings` and `result` hold what was found.
    """

    def __init__(
        self,
        *,
        on_fail: Literal["stop", "warn"] = "stop",
        off: Sequence[str] = (),
        limits: Mapping[str, float | bool] | None = None,
        guard: bool = True,
        stored_reference: bool = False,
        seed: int = 0,
    ) -> None:
        if on_fail not in ("stop", "warn"):
            raise ProbeError(f'on_fail="{on_fail}": there is no such choice. Use "stop" or "warn".')
        self.on_fail, self.off, self.seed = on_fail, listed("off", off), seed
        self.limits = named_limits(limits)
        self.stored_reference = stored_reference
        self.guard = GuardCallback() if guard else None
        self.setup: Setup | None = None
        self.findings: tuple[Finding, ...] = ()
        self.result: Result | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Judge the set-up, then the pairs. Raises `PreflightFailed` where one fails and may stop."""
        trainer = calling_trainer()
        if state.global_step == 0:  # a resumed run was judged when it started
            with untouched(trainer.model):
                self.setup = read_setup(trainer)
                tried = self.setup.trainable and "numerics" not in self.off
                step = try_step(trainer) if tried else None
            self.findings = _together(judge_setup(self.setup), step)
            self._decide([f for f in self.findings if f.severity == "error"], None)
            if not (step and any(f.severity == "error" for f in step.findings)):
                self._gate(trainer, step)  # on numbers that are finite
        if self.stored_reference:
            take_stored_reference(trainer)
        if self.guard is not None:
            self.guard.on_train_begin(args, state, control, **kwargs)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand the row to the guard."""
        if self.guard is not None:
            self.guard.on_log(args, state, control, **kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let the guard put weights back where it must, and say in a line what the log shows."""
        if self.guard is None:
            return
        self.guard.on_train_end(args, state, control, **kwargs)
        if state.is_world_process_zero and (told := _diagnosis(state.log_history)):
            print(f"probe autopsy: {told}", file=sys.stderr)

    def _gate(self, trainer: Any, step: Measured | None) -> None:
        rows = text_rows(trainer)
        if not rows:
            return
        off = {*self.off, "numerics"}  # on the trainer's own weights: `step`
        beta: dict[str, Any] = {"beta": float(getattr(trainer.args, "beta", None) or 0.1)}
        if "label" in rows[0]:  # of answers with a label each, only the trial can be left out
            off, beta = off & {"trial"}, {}
        if "Reward" in type(trainer).__name__:
            off |= {probe.name for probe in PROBES if probe.model}  # no language model is trained
        length = getattr(trainer.args, "max_length", None)
        self.result = self._judged(
            gate(
                rows, trainer.model, trainer.processing_class, off=sorted(off), limits=self.limits,
                seed=self.seed, max_length=length, **beta,
            ),
            step,
        )  # fmt: skip
        _track(trainer, self.result)
        if self.result.verdict.status == "fail":
            self._decide(_reasons(self.result), self.result)
        elif trainer.state.is_world_process_zero:
            print(f"probe preflight: {self.result.verdict.status}; training starts.", file=sys.stderr)

    def _judged(self, result: Result, step: Measured | None) -> Result:
        """The gate's result with the trainer's set-up and, in a gate of pairs, its first step."""
        told = replace(result, findings=(*self.findings, *result.findings))
        if step is None or result.command != "gate":
            return told
        probes = {**told.details["probes"], "numerics": DONE}
        run = replace(
            told, estimates=(*step.estimates, *told.estimates), details={**told.details, "probes": probes}
        )
        again = judged(run, GateOptions(limits=self.limits), date.today())
        return replace(cast(Result, answered(again)), next=None)

    def _decide(self, findings: Sequence[Finding], result: Result | None) -> None:
        if not findings and result is None:
            return
        told = "; ".join(f"{f.code} {f.message}" for f in findings[:3])
        remedy = findings[0].remedy if findings else "Read the report: print(preflight.result)."
        advice = f" The gate advises {result.decision.method}." if result and result.decision else ""
        message = f"preflight: {told or 'the gate failed'}.{advice} {remedy}"
        if self.on_fail == "stop":
            raise PreflightFailed(message, findings, result)
        print(f"probe {message}", file=sys.stderr)


def try_step(trainer: Any) -> Measured | None:
    """What the first step of the run shows (`step_of`); None, and a line that says why, where it takes more
    memory than there is or the weights are shared out among processes."""
    if getattr(trainer, "is_deepspeed_enabled", False) or getattr(trainer, "is_fsdp_enabled", False):
        why = "the weights are shared out among processes"
    else:
        try:
            return step_of(trainer)
        except torch.OutOfMemoryError:
            why = "it does not fit beside what is in memory"
    print(f"probe preflight: the first step was not tried: {why}.", file=sys.stderr)
    return None


def _together(setup: tuple[Finding, ...], step: Measured | None) -> tuple[Finding, ...]:
    """The findings of the step and those of the set-up that it does not have, errors first."""
    seen = step.findings if step else ()
    found = (*(f for f in setup if f.code not in {s.code for s in seen}), *seen)
    return tuple(sorted(found, key=lambda f: f.severity != "error"))


def calling_trainer() -> Any:
    """The trainer in whose `train` this is called: transformers hands callbacks its model, not itself.

    Raises `ProbeError` outside of a trainer.
    """
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer):
            return owner
        frame = frame.f_back  # type: ignore[assignment]
    raise ProbeError("Preflight is a trainer's callback. Pass it as callbacks=[probe.Preflight()].")


def take_stored_reference(trainer: Any) -> None:
    """Make DPOTrainer's loss read `ref_chosen_logps` and `ref_rejected_logps` of the training set.

    TRL 1.16 hands these columns through to the loss, which reads them only after its own reference pass
    (`precompute_ref_log_probs`). Raises `ProbeError` for a trainer or data without them, or a loss that
    needs more of the reference than its sums.
    """
    columns = set(getattr(trainer.train_dataset, "column_names", None) or ())
    if not columns.issuperset(REFERENCE):
        raise ProbeError(
            f"stored_reference: the training set has no {' and '.join(REFERENCE)}. "
            "Write them with `probe reference`."
        )
    if not hasattr(trainer, "precompute_ref_logps"):
        raise ProbeError(
            f"stored_reference: {type(trainer).__name__} does not read them. Use TRL's DPOTrainer."
        )
    if getattr(trainer.args, "ld_alpha", None) is not None:
        raise ProbeError(
            "stored_reference: ld_alpha weighs single tokens, and sums are stored. Leave one out."
        )
    if getattr(trainer, "eval_dataset", None) is not None and not columns_of(trainer.eval_dataset) >= {
        *REFERENCE
    }:
        raise ProbeError(
            "stored_reference: the evaluation set has no reference columns. Write them there too."
        )
    trainer.precompute_ref_logps = True
    print("probe preflight: the loss reads the stored reference; no reference pass is made.", file=sys.stderr)


def columns_of(dataset: Any) -> set[str]:
    """The columns that a dataset, or each of a dictionary of datasets, has."""
    many = dataset.values() if isinstance(dataset, Mapping) else [dataset]
    return set.intersection(*(set(getattr(one, "column_names", None) or ()) for one in many))


def text_rows(trainer: Any) -> list[dict[str, Any]]:
    """The training set as pairs, or as answers with a label each, of text or messages: its own columns, else
    its token ids as text.

    Empty for a set of neither.
    """
    dataset = trainer.train_dataset
    columns = getattr(dataset, "column_names", None) or ()
    kind = next((k for k in (PAIRED, ANSWERS) if set(k[1:]) <= {*columns}), None)
    if kind:
        names = [c for c in (*kind, "tools", "chat_template_kwargs") if c in columns]
        eos = trainer.processing_class.eos_token or ""
        return [
            {name: _without(row[name], eos) for name in names if row[name] is not None} for row in dataset
        ]
    if all(name in columns for name in IDS):
        decode = trainer.processing_class.decode
        return [{side: decode(row[f"{side}_ids"]) for side in PAIRED} for row in dataset]
    trainer_method(trainer)  # an unknown trainer is told, not passed over
    return []


def _without(value: Any, eos: str) -> Any:
    """A text without the end token that TRL has put behind it; probe adds its own."""
    return value.removesuffix(eos) if isinstance(value, str) else value


def _reasons(result: Result) -> list[Finding]:
    """The findings that the failed conditions rest on, errors first."""
    failed = {c.code for c in result.verdict.conditions if c.result == "fail" and c.gates}
    found = [f for f in result.findings if f.code in failed or f.severity == "error"]
    return sorted(found, key=lambda f: f.severity != "error")


def _track(trainer: Any, result: Result) -> None:
    """Send the main numbers to the trainer's trackers."""
    shown = ("win_rate", "gap", "surface_accuracy", "trial_accuracy")
    found = {
        f"probe/{name}": e.value for name in shown if (e := result.estimate(name)) and e.value is not None
    }
    if found:
        trainer.log({**found, "probe/exit_code": float(result.verdict.exit_code)})


def _diagnosis(history: Sequence[Mapping[str, Any]]) -> str:
    try:
        found = autopsy([row for row in history if not any(key.startswith("probe/") for key in row)])
    except ProbeError:
        return ""  # too short a run to have logged anything
    said = found.details["autopsy"]
    return f"{called(said)[0]}: {said['evidence']}"
