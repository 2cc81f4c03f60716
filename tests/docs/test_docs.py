"""The documentation site builds without a warning and has a page for every command and finding."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from probe.cli import app
from probe.explain import explanations

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="mkdocs-material builds the site; it is not installed")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return target


def test_every_command_has_a_page_with_every_option(site):
    from typer.main import get_command

    for name, command in get_command(app).commands.items():
        page = (site / "commands" / name / "index.html").read_text()
        options = [option for parameter in command.params for option in parameter.opts if option[0] == "-"]
        assert [option for option in options if f"<code>{option}</code>" not in page] == [], name


def test_every_finding_has_a_page(site):
    index = (site / "findings" / "index.html").read_text()
    for code, page in explanations().items():
        assert (site / "findings" / code / "index.html").exists() and code in index
        assert page.name.split()[0] in index


def test_pages_load_nothing_from_elsewhere(site):
    loads = re.compile(
        r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=["'](?:https?:)?//[^"']+["'][^>]*>"""
    )
    found = {path.name: hit for path in site.rglob("*.html") for hit in loads.findall(path.read_text())}
    assert {name: hit for name, hit in found.items() if 'rel="canonical"' not in hit} == {}


@pytest.mark.parametrize(
    "command",
    ["data pairs/length_gap.jsonl", "negatives pairs/listing_taste_hype.jsonl --no-states --no-numerics"],
)
def test_the_output_of_a_command_without_a_model_is_what_it_prints(command, tmp_path):
    """What `docs/screenshots.py` wrote: a page that shows an output of long ago is read as today's."""
    done = subprocess.run(
        [sys.executable, "-m", "probe", *command.split(), "--out", str(tmp_path)],
        cwd=ROOT, env=os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    name = command.split()[0]
    assert done.stdout == (ROOT / f"docs/output/{name}.txt").read_text(encoding="utf-8")
    assert f"$ probe {command}\n" in (ROOT / f"docs/commands/{name}.md").read_text(encoding="utf-8")


def test_shown_output_is_what_the_renderer_writes_today():
    """docs/output is made by `make screenshots`; its layout must not fall behind the renderer."""
    shown = (ROOT / "docs/output/bias.txt").read_text(encoding="utf-8")
    assert all(part in shown for part in ("MEASURED", "gap = mean logp/token", "\ngroup ", "\nall "))
    assert all(len(line) <= 80 for line in shown.splitlines())
