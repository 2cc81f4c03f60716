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
    from .configured import configured  # here and not above: the list of commands needs it as little

    function = getattr(import_module(f".{name}", __package__), name)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Page, epilog=_methods_told(name))(configured(function))
    return typer.main.get_command(alone)


def _methods_told(name: str) -> str | None:
    """What stands for METHOD in the options of a command; None for one that has no such option."""
    from ..training.methods import METHODS

    if name not in ("negatives", "trial", "train"):
        return None
    tried = [m for m, method in METHODS.items() if name != "trial" or method.reference or m == "sft"]
    told = f"Methods: {', '.join(tried)}"
    stages = "; stages such as sft+dpo." if name != "negatives" else "."
    unpaired = " Of answers with a label each: kto, sft, sft+kto." if name == "train" else ""
    return f"{told}{stages}{unpaired}"
