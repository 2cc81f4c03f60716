"""A pair file and how it is read, and what one reading of it tells before any model is loaded."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..pairs.fields import parse_fields, parse_sides
from ..pairs.formats import fingerprint
from ..pairs.read import Reading, read_pairs
from ..pairs.record import Pair

BUNDLED = Path(__file__).resolve().parents[1] / "pairs"
STABILITY_PAIRS = 256  # at most so many, drawn by seed, are scored again under other templates and premises


@dataclass(frozen=True, slots=True)
class Source:
    """A pair file and how to read it. `survey` reads it once before any model is loaded."""

    path: Path
    fields: Mapping[str, str]
    sides: tuple[str, str]
    skip_bad: bool = False

    @classmethod
    def of(cls, path: Path, fields: str | None, sides: str | None, skip_bad: bool) -> Source:
        """A source from the options as they were typed. Raises `ProbeError` for malformed ones."""
        return cls(path, parse_fields(fields), parse_sides(sides), skip_bad)

    @property
    def bundled(self) -> bool:
        """Whether the file comes with probe: what is told of it holds on every machine, so in float32."""
        return self.path.resolve().parent == BUNDLED

    def pairs(self) -> Reading:
        """The pairs as a stream."""
        return read_pairs(self.path, fields=self.fields, skip_bad=self.skip_bad)

    def survey(self, seed: int) -> Survey:
        """Count the pairs and draw a sample; every bad line is told before minutes are spent on good ones."""
        reading, draw = self.pairs(), random.Random(seed)
        first: list[Pair] = []
        sample: list[Pair] = []
        for i, pair in enumerate(reading):
            if i < STABILITY_PAIRS:
                first.append(pair)
                sample.append(pair)
            elif (j := draw.randrange(i + 1)) < STABILITY_PAIRS:
                sample[j] = pair
        facts = {
            "path": str(self.path),
            "sha256": fingerprint(self.path),
            "n": reading.n,
            "dropped": len(reading.bad),
            "dropped_lines": [bad.line for bad in reading.bad[:100]],
        }
        return Survey(facts, first, sorted(sample, key=lambda pair: pair.line))


@dataclass(frozen=True, slots=True)
class Survey:
    """What one reading of the file told: facts for the report, its first pairs, a uniform sample."""

    facts: Mapping[str, Any]
    first: Sequence[Pair]
    sample: Sequence[Pair]

    @property
    def n(self) -> int:
        """Pairs in the file."""
        return int(self.facts["n"])
