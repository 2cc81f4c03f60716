"""Planted failures in every form a log is kept in: a reduced grid of bench/autopsy_grid.py."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = next(p for p in Path(__file__).resolve().parents if (p / "bench/autopsy_grid.py").is_file()) / "bench"
FORMS = [
    "trainer_state.json",
    "JSON list",
    "JSON Lines",
    "str(log_history)",
    "data frame, CSV",
    "data frame, JSON",
    "console, transformers 4",
    "console, transformers 5",
    "console with bars",
    "console, several lines",
    "console, UTF-16",
    "logger's lines",
    "Axolotl",
    "ms-swift, JSON Lines",
    "ms-swift, console",
    "LLaMA-Factory",
    "LLaMA-Factory 0.3",
    "torchtune",
    "mlx-lm",
    "OpenRLHF",
    "verl",
    "DeepSpeed-Chat",
    "Megatron",
    "own loop, key=value",
    "notebook, table",
    "notebook, printed",
    "model card",
    "W&B history",
    "W&B panel",
    "TensorBoard CSV",
    "Lightning CSV",
    "NeMo bar",
]


@pytest.fixture(scope="module")
def grid() -> Iterator[ModuleType]:
    before = sys.path[:]
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module("autopsy_grid")
    sys.path[:] = before


@pytest.mark.parametrize("name", FORMS)
def test_every_planted_failure_is_found_in_every_form(grid: ModuleType, tmp_path: Path, name: str) -> None:
    form = next(form for form in grid.FORMS if form.name == name)
    found = list(grid.cells(0, tmp_path, [form]))
    assert len(found) >= 3
    assert [f"{cell.failure}: {cell.wrong}" for cell in found if cell.wrong] == []


def test_the_grid_is_whole(grid: ModuleType) -> None:
    assert [form.name for form in grid.FORMS] == FORMS
    assert len(grid.FAILURES) * len(FORMS) >= 300
