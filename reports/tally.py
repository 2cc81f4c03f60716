"""What scoring shows while it goes: every group as it stands so far, in the layout of the final table."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult

from ..number_format import number
from .axis import ends
from .text_page import PageLayout
from .text_tables import table_lines
from .view import Column, IntervalCell, Table

LARGEST_GROUPS = 10  # rows, the largest groups; the view must fit a small terminal
COLUMNS = (
    Column("group"), Column("n", "right"), Column("wins", "right", drop=1), Column("gap", "right"),
    Column("", "plot"),
)  # fmt: skip


@dataclass(slots=True)
class GroupTally:
    """Pairs seen of a group, how many prefer chosen, and the sum of their gaps (nats/token)."""

    n: int = 0
    wins: int = 0
    total: float = 0.0

    def add(self, gap: float) -> None:
        """Take one pair's gap."""
        self.n, self.wins, self.total = self.n + 1, self.wins + (gap > 0), self.total + gap


@dataclass(slots=True)
class Tally:
    """The running means of a stream of scores, drawn by rich.

    They come without intervals and without a test: a run that is stopped because of what it shows here would
    need the anytime-valid test of `--stop-early`.
    """

    sides: tuple[str, str]
    groups: dict[str, GroupTally] = field(default_factory=dict)
    whole: GroupTally = field(default_factory=GroupTally)

    def add(self, group: str, gap: float) -> None:
        """Take the gap of a pair of `group`, in nats/token."""
        self.groups.setdefault(group, GroupTally()).add(gap)
        self.whole.add(gap)

    def table(self) -> Table:
        """The largest groups, then the whole file."""
        # A copy: the display's thread draws while the scoring thread adds groups.
        largest = sorted(self.groups.copy().items(), key=lambda item: -item[1].n)[:LARGEST_GROUPS]
        standings = [*(item for item in largest if item[0] != "all"), ("all", self.whole)]
        first, second = self.sides
        rows = tuple(_row(name, standing) for name, standing in standings if standing.n)
        gaps = (cell.value for row in rows for cell in row if isinstance(cell, IntervalCell))
        title = f"so far, no verdict yet: gap = mean logp/token ({first}) − mean logp/token ({second})"
        return Table("tally", title, COLUMNS, rows, total=True, axis=ends(gaps))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        page = PageLayout(max(40, options.max_width), ascii_only=options.ascii_only)
        yield from table_lines(self.table(), page) if self.whole.n else ()


def _row(name: str, standing: GroupTally) -> tuple[str | IntervalCell, ...]:
    gap = standing.total / standing.n
    return name, str(standing.n), str(standing.wins), number(gap, "nats"), IntervalCell(gap, None, None)
