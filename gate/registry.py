"""The probes of the gate: each with its cost, run, conditions, switch and section of the report.

A new one is a folder in `probes/` and an entry here: `probe gate` has its switch and its line in the plan,
`[gate.limits]` its limits, the verdict its conditions, `run.json` its state and the report its section.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ..probes.bias import gated as bias
from ..probes.data import gated as data
from ..probes.effects import gated as effects
from ..probes.effects.attributes import Attribute
from ..probes.gated import Cost, Effort, GateRequest, Work
from ..probes.negatives import gated as negatives
from ..probes.numerics import gated as numerics
from ..probes.trial import gated as trial
from ..records import Measured
from ..shared_limits import AGREEMENT, BUDGET_LIMIT, CHANCE, LEARNABLE, LENGTH_LIMIT, TEMPLATE_LIMIT, TRIVIAL

Sense = Literal["<=", ">=", "within", "clean"]
FORECAST_SOURCE = (
    "measured on 16 sets × 2 models"  # what bench/forecast.py trained; see docs/validity-appendix.md
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition. `name` is an estimate's name, or a probe's for sense `clean` (no error finding).

    `code` is the finding that says the same (a prefix for `clean`). `limit` None: off until configured.
    `exact`: a count of this very file, compared without an interval. `optional`: not judged where its probe
    ran and there is none of it; of a probe that is no part of the gate, judged only when measured.
    `forbids`: fails where it is shown to be past its limit, and passes where enough pairs do not show it.
    `also`: estimates with the same limit that show the same; one of them is enough, and each is tested at a
    level corrected for their number. `decisive`: one of those that, where it has a value, is judged alone.
    `kin`: further codes of findings on the same estimate; the condition bears the code of what was found.
    """

    name: str
    sense: Sense
    limit: float | None
    code: str
    probe: str
    help: str
    source: str
    gates: bool = True
    exact: bool = False
    optional: bool = False
    forbids: bool = False
    also: tuple[str, ...] = ()
    decisive: str = ""
    kin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the report: the list of rows in `details` that it shows, its title, its columns.

    `columns` maps a key of the rows to the units its numbers are printed in ("" for a text or a count).
    """

    key: str
    title: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of the gate. Its `name` is also its switch, `--no-NAME`, and its state in `details.probes`.

    `cost` takes the number of pairs in the file, the effort and the trial's number of pairs. `without`: what
    a gate would lose without it, where errors are the mean misses of docs/validity.md, all models together.
    `section` is for rows that no table of `reports/tables.py` shows.
    A `model` without `weights` may be a server's; `text` measures what of a probe needs neither.
    `idle` says why a request asks nothing of the probe, "" where it does.
    """

    name: str
    run: Callable[[Work], Measured]
    cost: Callable[[int, Effort, int], Cost]
    without: str
    conditions: tuple[Rule, ...] = ()
    section: Section | None = None
    model: bool = True
    weights: bool = True  # False: log-probs are enough, which a server gives too
    needed: bool = True  # False: what the file cannot carry is noted, and the gate goes on
    keeps: bool = True  # False: cheap, or kept pair by pair in the store of scores
    idle: Callable[[GateRequest], str] = lambda request: ""
    text: Callable[[Work], Measured] | None = None


def _bounds() -> Iterator[Rule]:
    """A condition of each effect that a limit can name; none is on until one does."""
    for name, effect in effects.BOUNDED.items():
        if isinstance(effect, Attribute):
            help = f"Mean chosen − rejected of {effect.name}, {effect.units}, within ± the limit."
            yield Rule(name, "within", None, "PB251", "effects", help, "equivalence test (TOST)")
        else:
            help = f"How far the pairs teach {effect.name} beyond control texts, nats/token."
            yield Rule(name, "<=", None, "PB250", "effects", help, "logit-linear selection, arXiv 2602.04863")


# The negatives stand before the bias: their reading of states gives the scores of the same tokens.
PROBES: tuple[Probe, ...] = (
    Probe(
        "data",
        data.measure,
        data.cost,
        "faults that training would learn go unseen; no forecast changes",
        conditions=(
            Rule(
                "data",
                "clean",
                None,
                "PB3",
                "data",
                "The file has no error that spoils training.",
                "exact counts",
            ),
            Rule(
                "agreement",
                ">=",
                AGREEMENT,
                "PB310",
                "label",
                "Agreement of a blind human re-label with the file's labels.",
                "convention of a published post-mortem",
                optional=True,
            ),
        ),
        model=False,
        keeps=False,
    ),
    Probe(
        "numerics",
        numerics.measure,
        numerics.cost,
        "a run that dies in its first steps goes unseen; no forecast changes",
        conditions=(
            Rule(
                "numerics",
                "clean",
                None,
                "PB0",
                "numerics",
                "Forward, backward and one step stay finite in the dtype and optimizer to be used.",
                "deterministic",
            ),
        ),
    ),
    Probe(
        "negatives",
        negatives.measure,
        negatives.cost,
        "no forecast where the trial is left out (it is wrong by 6.3 points of accuracy on average, the "
        "trial's own by 6.6, the win rate by 22.8)",
        conditions=(
            Rule(
                "surface_accuracy",
                "<=",
                TRIVIAL,
                "PB202",
                "negatives",
                "Accuracy of telling the sides apart without the prompt.",
                f"{FORECAST_SOURCE}: DPO saturates above it",
                gates=False,
            ),
            Rule(
                "states_accuracy",
                "<=",
                TRIVIAL,
                "PB204",
                "negatives",
                "Accuracy of telling the sides apart by the model's own states, without the prompt.",
                f"{FORECAST_SOURCE}: DPO saturates above it",
                gates=False,
                optional=True,
            ),
            Rule(
                "length_accuracy",
                "<=",
                LENGTH_LIMIT,
                "PB201",
                "negatives",
                "Accuracy of telling the sides apart by length alone.",
                "Singhal et al. 2023: at most .63 on natural sets",
                forbids=True,
            ),
            Rule(
                "template_share",
                "<=",
                TEMPLATE_LIMIT,
                "PB211",
                "negatives",
                "Share of one side's responses with a form that the other lacks: "
                "opening, ending, frame, phrase, sign, cut end, layout.",
                "convention",
                exact=True,
                optional=True,
                kin=("PB212", "PB213", "PB214", "PB215", "PB216", "PB217", "PB218", "PB203"),
            ),
            Rule(
                "signal_accuracy",
                ">=",
                LEARNABLE,
                "PB240",
                "negatives",
                "Forecast of held-out accuracy by a linear probe on the frozen model.",
                f"{FORECAST_SOURCE}: DPO teaches nothing below it",
                gates=False,
            ),
        ),
        needed=False,
        text=negatives.measure_text,
    ),
    Probe(
        "bias",
        bias.measure,
        bias.cost,
        "which side the model prefers; of forecasts only the win rate, which is wrong by 22.8 points",
        conditions=(
            Rule(
                "gap",
                "within",
                None,
                "PB101",
                "bias",
                "Mean gap of the base model, nats/token, within ± the limit. Off until a limit is set.",
                "equivalence test (TOST)",
            ),
            Rule(
                "flip_budget_share",
                "<=",
                BUDGET_LIMIT,
                "PB120",
                "bias",
                "Share of pairs that DPO must flip by more than 1/beta nats.",
                "Chen et al. 2024, theorem 4.1; limit by convention",
                gates=False,
            ),
        ),
        weights=False,
        keeps=False,
    ),
    Probe(
        "effects",
        effects.measure,
        effects.cost,
        "effects that a limit bounds stay open; no forecast changes",
        conditions=tuple(_bounds()),
        keeps=False,
        idle=effects.idle,
    ),
    Probe(
        "trial",
        trial.measure,
        trial.cost,
        "no pass, no race of methods, no samples (its forecast of margins is wrong by 6.6 points on "
        "average, that of the negatives by 6.3)",
        conditions=(
            Rule(
                "trial_accuracy",
                ">=",
                CHANCE,
                "PB501",
                "trial",
                "Share of unseen pairs whose margin a short trial raises, or of the samples that moved, "
                "those that moved to the chosen kind.",
                "chance",
                also=("behaviour_up",),
                decisive="behaviour_up",
            ),
        ),
        needed=False,
    ),
)
PROBE_NAMES = tuple(probe.name for probe in PROBES)
