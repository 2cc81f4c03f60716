"""What the scorer takes and gives. No torch: the probes read these as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LogProbs = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncodedSide:
    """One full sequence: context and response, as token ids.

    `ids[start:]` are scored, each given everything before it; `start >= 1` because a first token has nothing
    to be predicted from. The last `ends` ids close the response: an end token, of some templates two; 0 where
    it was cut. `bytes` counts the UTF-8 bytes of the response's text.
    """

    ids: tuple[int, ...]
    start: int
    bytes: int
    ends: int = 0

    @property
    def has_end(self) -> bool:
        """Whether anything closes the response."""
        return self.ends > 0


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """Both sequences of a pair. `flags` names what the encoder met (see `scoring.encode.FLAGS`)."""

    id: str
    chosen: EncodedSide
    rejected: EncodedSide
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SideScore:
    """Per-token log-probs (nats, float32) of one response; the sum of what closes it is kept apart.

    `totals` (logps, tokens) stands in for `token_logps` where those were dropped to save memory.
    """

    token_logps: LogProbs
    bytes: int
    end_logp: float | None = None
    totals: tuple[float, int] | None = None

    @property
    def tokens(self) -> int:
        """Response tokens that were scored, the end token not counted."""
        return self.totals[1] if self.totals else len(self.token_logps)

    @property
    def logps(self) -> float:
        """Σ log p over the response's tokens, in nats, without the end token."""
        return self.totals[0] if self.totals else float(self.token_logps.sum(dtype=np.float64))

    @property
    def mean_logps(self) -> float:
        """Nats per token, without the end token; NaN when there is no token."""
        return self.logps / self.tokens if self.tokens else float("nan")


@dataclass(frozen=True, slots=True)
class PairScore:
    """The scores of one pair; every normalisation is derived from them."""

    id: str
    chosen: SideScore
    rejected: SideScore
    group: str | None = None
    line: int = 0
    flags: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """mean_logps(chosen) − mean_logps(rejected), nats/token."""
        return self.chosen.mean_logps - self.rejected.mean_logps
