"""A pace of round numbers: a millisecond a token forward, two to write one, pairs of 100 tokens."""

from probe.probes.pace import Pace

PACE = Pace(
    forward=1e-3, writing=2e-3, reading=1e-5, pair=100.0, alone=60.0, longest=300, plain=150.0, scoring=1e-3,
    sample=40,
)  # fmt: skip
