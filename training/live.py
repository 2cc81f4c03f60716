"""What a run shows while it goes: a live table on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..streams import unescaped_stream
from .guard_records import Event

LIVE_COLUMNS = {
    "loss": "loss",
    "rewards/margins": "reward margin",
    "rewards/accuracies": "accuracy",
    "grad_norm": "gradient norm",
    "learning_rate": "learning rate",
    "eval_loss": "held-out loss",
    "eval_rewards/accuracies": "held-out accuracy",
    "eval_logps/chosen": "held-out logps chosen",
    "eval_logps/rejected": "held-out logps rejected",
    "eval_perplexity": "watched perplexity",
}


@dataclass
class View:
    """The state that is drawn: last values by name, steps done, the guard's last words."""

    name: str
    total: int
    first: int = 0
    step: int = 0
    values: dict[str, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    told: int = 0
    terminal: bool = False

    def row(self, row: Mapping[str, Any]) -> None:
        """Take a log row; without a terminal, print a line for evaluations and every tenth of the run."""
        self.values.update({k: float(v) for k, v in row.items() if k in LIVE_COLUMNS})
        self.step = int(row["step"])
        tenth = 10 * self.step // max(self.total, 1)
        if not self.terminal and ("eval_loss" in row or tenth > self.told):
            self.told = tenth
            print(self.line(row), file=sys.stderr, flush=True)

    def event(self, event: Event) -> None:
        """Take something the guard said."""
        self.events.append(event)
        if not self.terminal:
            print(f"guard: step {event.step}: {event.action}: {event.code} {event.text}", file=sys.stderr)

    def line(self, row: Mapping[str, Any]) -> str:
        """A log row in one line."""
        numbers = ", ".join(f"{LIVE_COLUMNS[k]} {v:.4g}" for k, v in row.items() if k in LIVE_COLUMNS)
        return f"{self.name} {self.step}/{self.total}: {numbers}, {self.rate()}"

    def rate(self) -> str:
        """Speed and time left, from this process's own steps."""
        done, seconds = self.step - self.first, time.monotonic() - self.started
        if not done:
            return "starting"
        left = seconds / done * (self.total - self.step)
        return f"{seconds / done:.3g} s/step, {_clock(left)} left"

    def __rich__(self) -> Any:
        from rich.panel import Panel
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for key, label in LIVE_COLUMNS.items():
            if key in self.values:
                table.add_row(label, f"{self.values[key]:.4g}")
        for event in self.events[-3:]:
            table.add_row(f"guard: {event.action}", f"step {event.step}: {event.code} {event.text}")
        return Panel(table, title=f"{self.name} {self.step}/{self.total}", subtitle=self.rate(), expand=False)


@contextmanager
def shown(view: View, *, main: bool = True) -> Iterator[View]:
    """Draw `view` until the block ends; processes other than the main one stay silent."""
    if main and sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        view.terminal = True
        with Live(
            view, console=Console(file=unescaped_stream(sys.stderr)), refresh_per_second=2, transient=True
        ):
            yield view
        return
    view.terminal = not main  # silent
    yield view


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
