"""Limits that several rooms judge by, each written once, with where it comes from."""

from __future__ import annotations

SHIPPED_LEVEL = 0.05  # alpha of intervals, and of runs that were saved without theirs
BOUND = 0.1  # nats/token; half-width of the zone in which a gap counts as neutral: a convention
CHANCE = 0.5  # accuracy of guessing
LOW = 0.45  # accuracy of a whole run that lies below guessing
TRIVIAL = 0.9  # accuracy; measured (docs/validity-appendix.md): above it DPO saturates
TRIVIAL_CODES = ("PB20", "PB21")  # told apart by other than content: another writer's negatives mend it
LENGTH_LIMIT = 0.65  # accuracy by length alone; Singhal et al. 2023: at most .63 on natural sets
LEARNABLE = 0.6  # accuracy; measured (docs/validity-appendix.md): below it DPO taught nothing
TEMPLATE_LIMIT = 0.5  # share of one side's responses with a form; a convention
BUDGET_LIMIT = 0.5  # share of pairs beyond the flip budget; a convention on an exact theorem
AGREEMENT = 0.8  # of a blind re-label with the file's labels; convention of a published post-mortem
SATURATED = 0.99  # training accuracy at which nothing is left to learn; a convention
CHOSEN_SHARE = 0.2  # of |log p|, that chosen responses may lose where token counts are unknown; a convention
PERPLEXITY_RATIO = 1.2  # of watched texts, after training over before; a convention
WIDENED = 0.01  # share that rounding may add to an interval: its own resampling differs by more
