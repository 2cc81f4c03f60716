"""The cells of `forecast.py`, a set on a model each: what was known before, and what its runs led to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forecast_stats import Outcome, Row, by_cell, outcome

BASE, IMITATE = "dpo/short/0", "sft/short/0"
NONE = "none"


@dataclass(frozen=True)
class Cell:
    """One set on one model: what was known before, and the runs that have an outcome."""

    model: str
    set: str
    probes: Row
    runs: Mapping[str, Outcome]

    def known(self, name: str) -> float | None:
        """An estimate's value, or a baseline's."""
        found = self.probes["estimates"].get(name)
        return found[0] if found else self.probes["baselines"].get(name)

    @property
    def decided(self) -> str:
        """The run that the decision asks for, as `method/variant/seed`, or `NONE`."""
        stages = self.probes["stages"]
        return f"{'+'.join(stages)}/short/0" if stages else NONE


def cells_of(rows: Sequence[Row]) -> list[Cell]:
    """The cells whose probes are stored."""
    return [
        Cell(
            model, name, found["probes/short/0"], {k: outcome(r) for k, r in found.items() if "held_out" in r}
        )
        for (model, name), found in by_cell(rows).items()
        if "probes/short/0" in found
    ]


def number(value: float | None, form: str = ".2f") -> str:
    """A number of a table; a dash for what is not known."""
    return "–" if value is None else f"{float(value):{form}}"
