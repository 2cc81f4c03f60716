"""The hyper-parameters of a stage as the loop takes them, from the shared table of shipped recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .methods import LossConstants, method_of
from .shipped import shipped_values as shipped

MICRO_TOKENS = 1024  # distinct tokens of one forward and backward, unless one pair is longer


@dataclass(frozen=True, slots=True)
class Recipe:
    """The hyper-parameters of one stage. `batch` counts pairs of one optimizer step, over all processes.

    Raises `ProbeError` for an unknown method.
    """

    method: str
    learning_rate: float
    epochs: float = 1.0
    batch: int = 8
    constants: LossConstants = field(default_factory=LossConstants)
    schedule: str = "cosine"  # a name that transformers.get_scheduler knows
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.0
    clip: float = 1.0  # largest gradient norm
    lora_rank: int = 16
    lora_alpha: int = 32
    full: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        method_of(self.method)

    def with_values(self, changes: Mapping[str, Any]) -> Recipe:
        """The recipe with other values: keys are its own fields and those of `LossConstants`. A None changes
        nothing.

        Raises `TypeError` for keys that are neither.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        inside = {key: given.pop(key) for key in list(given) if key in LossConstants.__dataclass_fields__}
        return replace(self, constants=replace(self.constants, **inside), **given)

    def facts(self) -> dict[str, Any]:
        """The recipe as flat JSON values, with those constants that its loss reads."""
        values = asdict(self)
        constants = values.pop("constants")
        return values | {name: constants[name] for name in method_of(self.method).constants}


def recipe(method: str, parameters: int | None, *, n: int = 128, full: bool = False) -> Recipe:
    """The starting point for a method on a model with so many weights and `n` training pairs.

    Raises `ProbeError` for an unknown method.
    """
    return of_values(method, shipped(method, parameters=parameters, n=n, tuning="full" if full else "lora"))


def of_values(method: str, values: Mapping[str, Any]) -> Recipe:
    """A recipe from the flat values of a decision. Raises `TypeError` for keys that no recipe has."""
    given = {key: value for key, value in values.items() if key != "eval_steps"}  # a tenth, as the loop's own
    return Recipe(method, values["learning_rate"]).with_values(given)
