"""`report.html` in a real browser: nothing overflows, loads or complains, and it is accessible."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from probe.reports.answer import answered
from probe.reports.html import render
from probe.runs import load_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright drives the browser; it is not installed"
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
ROOT = Path(__file__).parents[2]
STORED = sorted((Path(__file__).parent / "stored").glob("*.json"))
SHOTS = os.environ.get("PROBE_SCREENSHOTS")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def page(request, browser, tmp_path_factory, gate_run):
    """The report in one view; `page.complaints` collects what the console says and what it asks for."""
    width, scheme = request.param
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(answered(gate_run)), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda r: r.url == path.as_uri() or page.complaints.append(r.url))
    page.goto(path.as_uri())
    shots = Path(SHOTS) if SHOTS else path.parent
    page.screenshot(path=shots / f"report-{width}-{scheme}.png", full_page=True)
    yield page
    page.close()


def test_nothing_overflows_the_page(page):
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0
    cut = page.evaluate(
        """() => [...document.querySelectorAll("p, h1, h2, h3, h4, h5, dd, dt, figcaption, li, summary")]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll"))
            .map(e => e.textContent.slice(0, 60))"""
    )
    assert cut == []


def test_plots_stay_in_their_figures(page):
    outside = page.evaluate(
        """() => [...document.querySelectorAll("figure")].flatMap(f => {
            const box = f.getBoundingClientRect()
            return [...f.querySelectorAll("text, circle, line, rect")].filter(e => {
                const r = e.getBoundingClientRect()
                return r.left < box.left - 1 || r.right > box.right + 1
                    || r.top < box.top - 1 || r.bottom > box.bottom + 1
            }).map(e => f.textContent.slice(0, 30) + ": " + e.outerHTML)
        })"""
    )
    assert outside == []


def test_the_verdict_and_the_decision_are_on_the_first_screen(page):
    bottoms = page.evaluate(
        '[...document.querySelectorAll("#verdict, .answer")].map(e => e.getBoundingClientRect().bottom)'
    )
    assert len(bottoms) == 2 and max(bottoms) < 900


def test_the_console_is_silent_and_nothing_is_asked_for(page):
    page.wait_for_timeout(100)
    assert page.complaints == []


def axe_core():
    """The source of axe-core: npm's (`make browser`), else the copy in its Python wrapper."""
    installed = ROOT / ".venv/node/node_modules/axe-core/axe.min.js"
    if not installed.exists():
        wrapper = pytest.importorskip(
            "axe_playwright_python", reason="axe-core is not installed: make browser"
        )
        installed = Path(wrapper.__path__[0]) / "axe.min.js"
    return installed.read_text(encoding="utf-8")


def test_the_table_of_pairs_sorts_and_filters(page):
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.click("#every thead th:nth-child(4) button")
    gaps = page.evaluate("[...document.querySelectorAll('#every td:nth-child(4)')].map(e => +e.dataset.v)")
    assert gaps == sorted(gaps) and len(gaps) > 2
    page.fill("#filter input", "no such pair")
    assert page.inner_text("#count").startswith("0 of ")
    page.fill("#filter input", "")


@pytest.mark.parametrize("opened", [False, True], ids=["folded", "open"])
def test_axe_finds_nothing(page, opened):
    page.evaluate(f"document.querySelectorAll('details').forEach(d => d.open = {str(opened).lower()})")
    page.evaluate(axe_core())
    found = page.evaluate("axe.run()")["violations"]
    assert [(v["id"], v["impact"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found] == []


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_real_report_is_accessible_and_fits_a_phone(browser, path):
    view = browser.new_page(viewport={"width": 390, "height": 900})
    view.set_content(render(answered(load_run(path))))
    view.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide = view.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    view.evaluate(axe_core())
    found = view.evaluate("axe.run()")["violations"]
    view.close()
    assert wide == 0
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found] == []


def test_it_prints(browser, gate_run):
    page = browser.new_page(viewport={"width": 720, "height": 1000})
    page.set_content(render(gate_run))
    page.emulate_media(media="print")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0
    pdf = page.pdf(format="A4", path=Path(SHOTS) / "report.pdf" if SHOTS else None)
    assert pdf.startswith(b"%PDF")


def test_no_pair_is_lost_by_the_filter_or_by_sorting(browser, bias_run):
    """Whatever a group is called each choice shows its pairs; a minus may be typed; cells stand apart; what
    has no number stands last; a dot that is clicked leads to its pair, and the count says what is shown."""
    names = ["a  b", " x", "<b>", "日本", "x\u202ey", '"q"']
    rows = [{**row, "group": names[i % 6]} for i, row in enumerate(bias_run.details["pairs"])]
    rows[3] |= {"line": None, "chosen_tokens": None}
    rows[4] |= {"line": None, "chosen_tokens": None}
    rows[0] |= {"id": "1"}
    details = {**bias_run.details, "pairs": rows}
    view = browser.new_page()
    view.set_content(render(answered(dataclasses.replace(bias_run, details=details))))
    view.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    options = view.locator("#filter option").count()
    for i in range(1, options):
        view.select_option("#filter select", index=i)
        assert view.inner_text("#count") == "4 of 24 pairs"
    view.select_option("#filter select", index=0)
    for words, hits in (("-0.3", 2), ("−0.3", 2), ("all+", 0), ("11", 2), ("ADVICE-10", 1)):
        view.fill("#filter input", words)
        assert view.inner_text("#count") == f"{hits} of 24 pairs", words
    for line in (7, 8):
        dot = f"document.querySelector('circle[data-line=\"{line}\"]')"
        view.evaluate(f"{dot}.dispatchEvent(new Event('click', {{bubbles: true}}))")
    assert view.inner_text("#count") == "24 of 24 pairs"
    assert view.evaluate("[...document.querySelectorAll('.found')].map(e => e.id)") == ["row-8"]
    for i in (0, 0, 4, 4):
        view.click(f"#every thead th:nth-child({i + 1}) button")
        cells = f"[...document.querySelectorAll('#every tbody tr')].map(row => row.cells[{i}].textContent)"
        *known, one, other = view.evaluate(f"{cells}.map(parseFloat)")
        assert len(known) == 22 and one != one and other != other
        assert known in (sorted(known), sorted(known, reverse=True))
    ids = view.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    view.close()
    assert len(ids) == len(set(ids))
