"""What the gate hands to each of its probes, the request and the work under way, and what it asks: a cost.

A probe's `gated.py` has a function of the `Work` that measures and one that says what it will cost; its entry
stands in `gate/registry.py`. Neither loads torch before it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from .. import config
from ..errors import ProbeError
from ..records import BiasRow, Measured, Run
from ..shared_limits import BOUND

if TYPE_CHECKING:
    from ..scoring.session import ModelOptions, Session, Source
    from ..scoring.table import ScoreTable


@dataclass(frozen=True, slots=True)
class Effort:
    """How many pairs a gate looks at: pairs after each look at the bias (none: all), pairs whose states are
    read, and how many times its own number of pairs the trial may take."""

    looks: tuple[int, ...] = (512, 2048)
    states: int = 300
    trial: int = 1


THOROUGH = Effort(looks=(), states=1500, trial=4)


def extent(off: frozenset[str], *, thorough: bool, quick: bool) -> tuple[frozenset[str], Effort]:
    """Which probes are off and how much the others look at; what was typed goes before a config file.

    Raises `ProbeError` where opposite things are asked for.
    """
    origins = config.current().get("origins") or {}
    typed = {name for name, origin in origins.items() if origin in config.TYPED}
    for other, asked in (("trial", "trial" not in off and "trial" in typed), ("thorough", thorough)):
        if asked and quick and (other in typed) == ("quick" in typed):
            raise ProbeError(f"--{other} --quick: they ask for opposite things. Give one of them.")
        quick = quick and not (asked and other in typed)
    thorough = thorough and not quick
    return off | ({"trial"} if quick else frozenset()), THOROUGH if thorough else Effort()


@dataclass(frozen=True, slots=True)
class GateRequest:
    """What to measure: a file, a model, and how. `off` names probes not to run."""

    source: Source
    how: ModelOptions
    fields: str | None = None
    off: frozenset[str] = frozenset()
    alpha: float = 0.05
    bound: float = BOUND
    beta: float = 0.1
    full: bool = False
    seed: int = 0
    trial_pairs: int = 128
    effort: Effort = Effort()
    limits: Mapping[str, float | bool] = field(default_factory=dict)  # as `[gate.limits]` has them


@dataclass(frozen=True, slots=True)
class Cost:
    """One probe's share: pairs forward only, pairs forward and backward, and the same in words."""

    probe: str
    forward: int
    backward: int
    what: str


@dataclass
class Work:
    """One gate under way."""

    request: GateRequest
    inputs: dict[str, Any] = field(default_factory=dict)
    bias: tuple[BiasRow, ...] = ()
    scores: ScoreTable | None = None
    rows: Iterable[Mapping[str, Any]] | None = None
    _session: Session | None = None
    _first_ids: str | None = None

    @property
    def session(self) -> Session:
        """The loaded model with its encoder and store; the first use surveys the file and loads it."""
        if self._session is None:
            from ..scoring.session import Session

            asked = self.request
            self._session = sharing(Session.open(asked.source, asked.how, asked.seed, served=True))
        return self._session

    @property
    def scoring(self) -> Session:
        """The session that pairs are scored in: where it may be, that of a copy in bfloat16."""
        from .half import scoring_session

        return scoring_session(self.session)

    @property
    def loaded(self) -> bool:
        """Whether any probe of this gate needs the model."""
        return self._session is not None

    @property
    def pairs(self) -> int:
        """The pairs of the file; without a model none is counted."""
        return self._session.survey.n if self._session else 0

    def facts(self) -> dict[str, Any]:
        """The `inputs` of `run.json`: the session's where there is one, else the data check's."""
        return {**self.inputs, **(self._session.inputs() if self._session else {})}

    def depends(self) -> dict[str, Any]:
        """All that a probe's result depends on: file, model, encoding and the options that reach it."""
        from ..scoring.identity import identity
        from ..scoring.rounding import allowed

        asked, session = self.request, self.session
        return {
            **identity(session.loaded, session.encoder),
            "ids": self._ids(session),
            "pairs": session.survey.facts["sha256"],
            "reading": [dict(asked.source.fields), asked.source.sides, asked.source.skip_bad],
            "device": session.loaded.facts.get("device"),
            "arithmetic": allowed(session),
            "options": [
                asked.alpha,
                asked.beta,
                asked.full,
                asked.seed,
                asked.trial_pairs,
                astuple(asked.effort),
            ],
        }

    def _ids(self, session: Session) -> str:
        """A hash of the token ids of the first pairs: some chat templates write the day's date, and a
        tokenizer may have settings that no hash of it knows."""
        if self._first_ids is None:
            codes = []
            with suppress(ProbeError):  # what cannot be encoded is for the probes to tell
                codes = session.encoder.many(session.survey.first)
            ids = [(side.start, side.ids) for code in codes for side in (code.chosen, code.rejected)]
            self._first_ids = sha256(repr(ids).encode()).hexdigest()
        return self._first_ids


def sharing(session: Session) -> Session:
    """The session, whose scores last as long as it where nothing is stored: probes share tokens."""
    from ..scoring.store import passing_store

    session.scorer.store = session.scorer.store or passing_store()
    return session


def part_of(run: Run) -> Measured:
    """What a run of a probe alone contributes to a gate."""
    return Measured(run.estimates, run.findings, run.details)
