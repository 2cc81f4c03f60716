"""The generated pages are those that the code's tables give today."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def pages():
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


@pytest.mark.parametrize("name", ["decision-table.md", "config.md", "glossary.md"])
def test_the_page_is_current(name):
    """Mend with `python docs/tables.py`."""
    assert (DOCS / name).read_text() == pages()[DOCS / name]


def test_every_row_threshold_and_key_is_on_its_page():
    from probe.gate.table import ROWS
    from probe.gate.thresholds import THRESHOLDS

    table = pages()[DOCS / "decision-table.md"]
    assert all(f"**{row.key}**" in table for row in ROWS)
    assert all(f"`{name}`" in table for name in THRESHOLDS)
    config = pages()[DOCS / "config.md"]
    assert all(f"`{key}`" in config for key in ("until", "surface-accuracy", "force"))


def test_the_readme_shows_the_report_that_is_printed():
    """The outputs are taken by `make screenshots`; the README quotes the first screen of one of them."""
    printed = (DOCS / "output/bias.txt").read_text(encoding="utf-8")
    first_screen = printed.split("\n\ngap = ")[0]
    assert "NEXT" in first_screen and first_screen in (DOCS.parent / "README.md").read_text(encoding="utf-8")
