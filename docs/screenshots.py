"""Take the pictures and outputs of README and docs anew, from real runs: `make screenshots`.

Needs the embedded model, playwright and Chromium; takes two minutes, less when the scores are stored.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from probe.records import Run
from probe.reports.text import render
from probe.runs import load_run

DOCS = Path(__file__).parent
IMAGES, OUTPUT = DOCS / "images", DOCS / "output"
BIAS = ("bias", "pairs/cico_insulin.jsonl", "--sides", "CICO,insulin")
# Commands without a model, whose whole output a page shows.
WITHOUT_MODEL = (
    ("data", "pairs/length_gap.jsonl"),
    ("negatives", "pairs/listing_taste_hype.jsonl", "--no-states", "--no-numerics"),
)
VIEWS = (
    ("report-light", 1280, 1000, "light"),
    ("report-dark", 1280, 1000, "dark"),
    ("report-phone", 360, 780, "light"),
)
OUTSIDE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def measure(*arguments: str) -> Path:
    """The directory of a real command's run."""
    directory = Path(".probe/screenshots") / arguments[0]
    command = [sys.executable, "-m", "probe", *arguments, "--out", str(directory)]
    subprocess.run(command, check=True, cwd=DOCS.parent, stdout=subprocess.DEVNULL)
    return DOCS.parent / directory


def printed(*arguments: str) -> str:
    """What the command prints on a terminal of 80 columns."""
    with TemporaryDirectory() as place:
        command = [sys.executable, "-m", "probe", *arguments, "--out", place]
        env = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}
        done = subprocess.run(command, check=True, cwd=DOCS.parent, env=env, capture_output=True, text=True)
    return done.stdout


def top(report: str) -> str:
    """The report down to the table of groups."""
    return re.split(r"\n.*also measured", report, maxsplit=1)[0]


def terminal_svg(run: Run, title: str) -> str:
    """The text report as a picture of a terminal, without the web font that rich would load."""
    report = Text.from_ansi(top(render(run, width=80, color=True)))
    console = Console(record=True, width=80, file=StringIO(), force_terminal=True)
    console.print(report)
    return OUTSIDE.sub("", console.export_svg(title=title, theme=MONOKAI, unique_id="probe"))


def photograph(browser: Browser, page: Path) -> None:
    """The HTML report in every view, and the token view alone."""
    for name, width, height, scheme in VIEWS:
        view = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        view.goto(page.as_uri())
        view.screenshot(path=IMAGES / f"{name}.png")
        if name == "report-light":
            view.locator("details.pair").first.screenshot(path=IMAGES / "tokens.png")
        view.close()


def main() -> None:
    """Write docs/images and docs/output."""
    IMAGES.mkdir(exist_ok=True)
    OUTPUT.mkdir(exist_ok=True)
    measured = measure(*BIAS)
    run = load_run(measured)
    (OUTPUT / "bias.txt").write_text(top(render(run, width=80)), encoding="utf-8")
    (IMAGES / "bias.svg").write_text(terminal_svg(run, f"probe {' '.join(BIAS)}"), encoding="utf-8")
    for command in WITHOUT_MODEL:
        (OUTPUT / f"{command[0]}.txt").write_text(printed(*command), encoding="utf-8")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        photograph(browser, measured / "report.html")
        browser.close()


if __name__ == "__main__":
    main()
