"""The bill before anything is spent: seconds of each probe on this machine, and what the training would take.

Seconds follow from the pace of a warm-up batch and from the counts that each probe states; memory follows
from measured steps (`training/footprint.py`). No torch at import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ProbeError
from ..number_format import number
from ..probes.bias.sizes import FEW_MORE, sizes
from ..probes.cost import clocked
from ..probes.effects.gated import forwards
from ..probes.gated import GateRequest, sharing
from ..probes.numerics.judge import STEP_PAIRS
from ..probes.trial.gated import RACE_STAGES, affordable
from ..records import Finding
from ..training.recipes import MICRO_TOKENS
from ..training.shipped import shipped_values
from .served_bill import SpentOf, served_seconds

if TYPE_CHECKING:
    from ..probes.pace import Pace
    from ..scoring.session import Session
    from ..training.footprint import MeasuredSteps

GIB = 2**30
MEMORY_UNITS = {"gib": GIB, "gb": 10**9, "mib": 2**20, "mb": 10**6}
TEXT = 1500  # pairs whose text is classified at most
SAMPLES_PER_PROMPT = 2
JUDGED_PROMPTS = 96


@dataclass(frozen=True, slots=True)
class Fit:
    """One way of training: peak bytes by part, whether they fit, and seconds of the whole run."""

    tuning: str
    parts: Mapping[str, float]
    memory: float
    seconds: float

    @property
    def total(self) -> float:
        """Peak bytes."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether the peak stays below the memory."""
        return self.total <= self.memory


Expected = tuple[SpentOf, Callable[[float], list[Fit]]]  # as `expected` gives them


def memory_of(text: str) -> float:
    """Bytes of `24GiB`, `16GB` or `512MiB`. Raises `ProbeError` for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    unit = MEMORY_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ProbeError(f"--device-memory {text}: is not a size. Give one such as 24GiB.")
    return float(match[1]) * unit


def own_memory(session: Session) -> float:
    """Bytes of the device that the model is on: of a processor, what a container allows."""
    import os

    import torch

    from ..scoring.machine import memory_limit

    if session.loaded.device.type == "cuda":
        return float(torch.cuda.get_device_properties(session.loaded.device).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(min(whole, memory_limit() or whole))


def probe_seconds(
    request: GateRequest, n: int, pace: Pace, step: float, text: float, *, short: float | None = None,
    most: bool = False,
) -> dict[str, float]:  # fmt: skip
    """Seconds of each probe. `step`: of a token forward and backward, `short`: the same in a short run (None:
    no other); `text`: of classifying all texts.

    `most`: where the first looks of bias and trial settle nothing, so that their last ones are made.
    """
    effort = request.effort
    looked = sizes(n, effort.looks)[-1 if most else 0]
    read, again = min(n, effort.states), min(n, 256)
    return {
        "data": 6 * n * pace.reading,
        "numerics": STEP_PAIRS * pace.plain * (2 * pace.forward + step),
        "negatives": text + 1.3 * read * (pace.pair + pace.alone) * pace.scoring,
        "bias": (max(looked - read, 0) + 2 * again) * pace.pair * pace.scoring,
        "effects": forwards(n, request.limits) * pace.pair * pace.scoring,
        "trial": _trial_seconds(request, n, _in_short_runs(pace, step, short), short or step, most),
    }


def _in_short_runs(pace: Pace, step: float, short: float | None) -> Pace:
    """What is scored and written with the weights of a short run takes less time as its steps do."""
    faster = short / step if short and step else 1.0
    return replace(pace, forward=pace.forward * faster, writing=pace.writing * faster)


def _trial_seconds(request: GateRequest, n: int, pace: Pace, step: float, most: bool) -> float:
    """A second look trains the other half of a small file too; of a larger one it measures more pairs."""
    drawn = request.effort.trial * request.trial_pairs
    asked = min(n, drawn)
    half = asked / 2
    recipe = shipped_values("dpo", parameters=None, n=int(half))
    prompts = min(half, JUDGED_PROMPTS)
    steps = affordable(pace.pair, int(recipe["batch"]))
    trained = RACE_STAGES * min(steps * recipe["batch"], recipe["epochs"] * half) * pace.pair * step
    scored = (asked + 3 * half) * pace.pair * pace.forward
    read_prompt = max(pace.pair - pace.alone, 0) * pace.forward
    written = 4 * prompts * (SAMPLES_PER_PROMPT * pace.sample * pace.writing + read_prompt)
    judged = (6 * prompts * SAMPLES_PER_PROMPT + asked) * (pace.pair / 2) * pace.forward
    measured = scored + written + judged
    if not most:
        return float(trained + measured)
    if n <= FEW_MORE * drawn:
        return float(2 * (trained + measured))
    return float(trained + measured * min(n, 4 * drawn) / asked)


def text_seconds(session: Session, n: int) -> float:
    """Seconds of the classifiers on `n` pairs' texts, from those on 48 of them and on 96.

    They grow between the square (kernel products for all relabellings) and the cube (decompositions): the
    power is read off the two.
    """
    import math

    from ..probes.negatives.triviality import surface

    sample = session.survey.sample
    sizes = (48, 96)
    if len(sample) < sizes[1]:
        return clocked(lambda: surface(sample, seed=0))[1] if len(sample) > 1 else 0.0
    small, large = (clocked(lambda k=k: surface(sample[:k], seed=0))[1] for k in sizes)  # type: ignore[misc]
    power = min(3.0, max(1.0, math.log2(large / small)))
    return float(large * (min(n, TEXT) / sizes[1]) ** power)


def fits(found: MeasuredSteps, pace: Pace, n: int, memory: float) -> list[Fit]:
    """LoRA, QLoRA and full tuning by the shipped recipe for `n` pairs."""
    from ..training.footprint import TUNINGS, footprint

    tokens = max(MICRO_TOKENS, pace.longest)
    made = []
    for tuning in TUNINGS:
        kind = "full" if tuning == "full" else "lora"
        values = shipped_values("dpo", parameters=found.counts.model, n=n, tuning=kind)  # type: ignore[arg-type]
        part = footprint(found, tuning, tokens)
        names = ("weights", "gradients", "optimizer", "activations", "logits")
        step = (found.full if kind == "full" else found.lora).seconds
        taken = values["epochs"] * n * pace.pair * step
        made.append(Fit(tuning, {name: getattr(part, name) for name in names}, memory, taken))
    return made


def bill_lines(
    spent: Mapping[str, float], most: Mapping[str, float], off: frozenset[str], fitting: list[Fit]
) -> Iterator[str]:
    """The bill as the plan prints it; `most` where the first looks settle nothing."""
    on = {name: value for name, value in spent.items() if name not in off and value > 0}
    told = ", ".join(f"{name} {duration(value)}" for name, value in on.items())
    yield f"on this machine about {duration(sum(on.values()))}: {told}"
    more = {name: most[name] for name in on if most[name] > on[name]}
    if more:
        told = ", ".join(f"{name} {duration(value)}" for name, value in more.items())
        yield f"  {duration(sum((on | more).values()))} where the first looks settle nothing: {told}"
    if not fitting:
        yield "what training takes is measured on the weights, and an endpoint gives log-probs"
        return
    memory = _size(fitting[0].memory)
    yield f"training with DPO, micro-batches of {MICRO_TOKENS:,} tokens, {memory} of memory:"
    for fit in fitting:
        parts = ", ".join(f"{name} {_size(value)}" for name, value in fit.parts.items())
        verdict = f"about {duration(fit.seconds)}" if fit.fits else "would not fit"
        yield f"  {fit.tuning:<6} {_size(fit.total):>9}  {verdict} ({parts})"
    run = min((fit.seconds for fit in fitting if fit.fits), default=None)
    if run is not None and sum(on.values()) > run and "trial" in on:
        yield "the gate costs more than the run that it guards: --quick makes no training steps"


def bill(
    session: Session, request: GateRequest, device_memory: str | None, known: Expected | None = None
) -> tuple[list[str], Finding | None]:
    """The lines of the bill and the finding, where the training would not fit. Takes some seconds where what
    is `expected` is not known yet.

    Raises `ProbeError` for quantised weights, which full tuning cannot be measured on.
    """
    spent, fitting = known or expected(session)
    memory = memory_of(device_memory) if device_memory else own_memory(session)
    ways = fitting(memory)
    lines = bill_lines(spent(request), spent(request, most=True), request.off, ways)
    return list(lines), too_large(ways, request.full) if ways else None


def expected(session: Session) -> Expected:
    """From one warm-up: the seconds of each probe for a request (`most` as in `probe_seconds`), and the ways
    of training for a memory (none behind a server).

    Raises `ProbeError` for quantised weights, which full tuning cannot be measured on.
    """
    from ..probes.half import gate_pace
    from ..scoring.quantized import is_quantized
    from ..scoring.rounding import allowed
    from ..training.footprint import measured_steps
    from ..training.recipes import recipe as values_of

    if is_quantized(session.loaded.model):
        raise ProbeError(
            "--plan, --budget: the bill is measured on plain weights, and these are quantised. Name the "
            "model without --quantize; QLoRA is a line of the bill."
        )
    n = session.survey.n
    if "endpoint" in session.loaded.facts:
        return served_seconds(session, text_seconds(session, n)), lambda memory: []
    found = gate_pace(sharing(session))
    steps = measured_steps(
        session.loaded.model, values_of("dpo", session.loaded.facts.get("parameters"), n=n),
        half=allowed(session),
    )  # fmt: skip
    text = text_seconds(session, n)
    return (
        lambda request, most=False: probe_seconds(
            request, n, found, steps.lora.seconds, text, short=steps.short, most=most
        ),
        lambda memory: fits(steps, found, n, memory),
    )


def too_large(fitting: list[Fit], full: bool) -> Finding | None:
    """PB010 out of memory: the training would not fit.

    Means: weights, gradients, optimizer states, what is kept for the backward pass and the logits of one
    micro-batch, added up, are more than the memory of the device, or than `--device-memory`. The activations
    are extrapolated from measured steps of 128 and 256 tokens.

    Why: the run would end at its first step, after the time for the gate has been used.

    Do: use what the message names: another kind of tuning that fits, gradient checkpointing where activations
    are the largest part, an 8-bit optimizer where its states are, or shorter pairs where logits or
    activations are.

    Source: counts of bytes; Dettmers et al. 2023 for 4-bit weights.
    """
    asked = next(fit for fit in fitting if fit.tuning == ("full" if full else "lora"))
    if asked.fits:
        return None
    other = next((fit.tuning for fit in fitting if fit.fits), None)
    largest = max(asked.parts, key=lambda name: asked.parts[name])
    change = {
        "weights": "load them in bfloat16, or quantise them (QLoRA)",
        "gradients": "train an adapter instead of all weights",
        "optimizer": "an 8-bit optimizer, or an adapter instead of all weights",
        "activations": "gradient checkpointing (--gradient-checkpointing), or a shorter --max-length",
        "logits": "a shorter --max-length",
    }[largest]
    text = (
        f"training ({asked.tuning}) would take {_size(asked.total)} of {_size(asked.memory)}, "
        f"most of it {largest}"
    )
    remedy = f"Change: {change}." + (f" {other} would fit." if other else "")
    return Finding("PB010", "warning", text, remedy)


def duration(value: float) -> str:
    """Seconds as one reads them: `48 s`, `12 min`, `3.5 h`."""
    return f"{value / 3600:.1f} h" if value >= 7200 else f"{value / 60:.0f} min" if value >= 120 else (
        f"{max(value, 1):.0f} s"
    )  # fmt: skip


def _size(value: float) -> str:
    return f"{number(value / GIB)} GiB" if value >= GIB / 10 else f"{number(value / 2**20)} MiB"
