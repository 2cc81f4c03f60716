"""The cells of `forecast.py`, a set on a model each: what was known before, and what its runs led to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from forecast_stats import Outcome, Row, by_cell, outcome

from probe.gate.decide import decide
from probe.gate.judge import JudgeSettings
from probe.gate.registry import PROBE_NAMES
from probe.gate.states import DONE
from probe.records import BiasRow, Decision, Estimate, Finding, Run

BASE, IMITATE = "dpo/short/0", "sft/short/0"
NONE = "none"


@dataclass
class Cell:
    """One set on one model: what was known before, and the runs that have an outcome.

    `elsewhere`: the same runs on pairs of the same prompts whose negatives are harder, where there are such.
    """

    model: str
    set: str
    probes: Row
    runs: Mapping[str, Outcome]
    elsewhere: Mapping[str, Outcome]

    def known(self, name: str) -> float | None:
        """An estimate's value, or a baseline's."""
        found = self.probes["estimates"].get(name)
        return found[0] if found else self.probes["baselines"].get(name)

    @cached_property
    def decision(self) -> Decision:
        """What the decision table of today says of the stored probes."""
        return decided(self.probes)

    @property
    def choice(self) -> str:
        """The run that the decision asks for, as `method/variant/seed`, or `NONE`."""
        return f"{'+'.join(self.decision.stages)}/short/0" if self.decision.stages else NONE


def decided(row: Row) -> Decision:
    """The decision on stored probes: made anew, so that a changed table is scored without measuring again.

    The numerics probe is taken as passed: every run here is LoRA in float32, and one that fails shows it.
    """
    run = Run(
        "gate",
        row["provenance"]["created"],
        bias=tuple(BiasRow("all", verdict) for verdict in row["bias"]),
        estimates=tuple(Estimate(k, *v, row["pairs"], None, "", "") for k, v in row["estimates"].items()),
        findings=tuple(Finding(*f, "", "") for f in row["findings"] if not f[0].startswith("PB70")),
        inputs={"model": row["model_facts"], "pairs": {"n": row["pairs"]}},
        details={"probes": dict.fromkeys(PROBE_NAMES, DONE)},
    )
    judged = decide(run, JudgeSettings()).decision
    assert judged is not None
    return judged


def cells_of(rows: Sequence[Row]) -> list[Cell]:
    """The cells whose probes are stored."""
    return [
        Cell(
            model, name, found["probes/short/0"], *(_outcomes(found, of) for of in ("held_out", "elsewhere"))
        )
        for (model, name), found in by_cell(rows).items()
        if "probes/short/0" in found
    ]


def _outcomes(found: Mapping[str, Row], pairs_of: str) -> dict[str, Outcome]:
    return {key: outcome(row, pairs_of) for key, row in found.items() if pairs_of in row}


def number(value: float | None, form: str = ".2f") -> str:
    """A number of a table; a dash for what is not known."""
    return "–" if value is None else f"{float(value):{form}}"
