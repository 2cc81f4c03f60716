"""Commands that are imported when they are asked for: `probe --help` needs none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import typer

from .help_page import Page


class LazyCommands(Mapping[str, Any]):
    """Commands by name, made by `load` at the first use of each."""

    def __init__(self, names: Iterable[str], load: Callable[[str], Any]) -> None:
        self._names, self._load = tuple(names), load
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = self._load(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def load_command(name: str) -> Any:
    """The command `name` of the module `name`: its function under the config, as typer builds it."""
    from ..training.methods import METHODS  # here and not above: the list of commands needs neither
    from .configured import configured

    function = getattr(import_module(f".{name}", __package__), name)
    epilog = f"Methods: {', '.join(METHODS)}." if name in ("negatives", "trial", "train") else None
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Page, epilog=epilog)(configured(function))
    return typer.main.get_command(alone)
