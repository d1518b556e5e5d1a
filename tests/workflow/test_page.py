"""The report of a finished run in a real browser: what it shows, how it is used, and that it asks for nothing."""

import math
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.workflow import shown
from tests.workflow.conftest import needs_chromium

PICTURES = Path(__file__).parents[2] / "build/screenshots"

pytestmark = needs_chromium


@pytest.fixture
def visit(browser, finished):
    """Open the page with a width and a colour scheme; afterwards: nothing was requested and nothing went wrong."""
    seen = {"requests": [], "problems": []}
    contexts = []
    address = (finished.folder / "results/report/index.html").as_uri()

    def open_page(width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen["problems"].append(message.text))
        page.on("pageerror", lambda error: seen["problems"].append(str(error)))
        page.on("request", lambda request: seen["requests"].append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert {url for url in seen["requests"] if not url.startswith("data:")} == {address}
    assert seen["problems"] == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_is_accessible(visit, width, scheme):
    page = visit(width, scheme)
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"report_{width}_{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    violations = Axe().run(page).response["violations"]
    assert [(each["impact"], each["id"], each["nodes"][0]["html"]) for each in violations] == []


def test_every_number_is_that_of_its_file(visit, finished):
    shown.check(visit(), finished)


def test_tables_are_sorted_by_keyboard(visit):
    page = visit()
    table = page.locator("table.sortable").first
    header = table.locator("thead tr").last.locator("th").nth(2)

    def column():
        values = table.locator("tbody tr").evaluate_all("rows => rows.map(row => row.cells[2].dataset.value)")
        return [float(value) for value in values if value]

    before = column()
    assert not any(math.isnan(value) for value in before) and before != sorted(before)
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert column() == sorted(before)
    assert header.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert column() == sorted(before, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"


def test_a_figure_is_enlarged_and_saved_by_keyboard(visit):
    page = visit()
    button = page.locator(".enlarge").first
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("#viewer").evaluate("dialog => dialog.open")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").evaluate("dialog => dialog.open")
    assert button.evaluate("each => each === document.activeElement")
    with page.expect_download() as download:
        page.locator(".save[data-name$='.svg']").first.press("Enter")
    assert "<svg" in download.value.path().read_text()


def test_the_first_stop_of_the_keyboard_skips_to_the_results(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


def test_paper_and_the_other_theme(visit, tmp_path):
    page = visit()
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("#theme").press("Enter")
    assert page.evaluate(background) != light
    page.emulate_media(media="print")
    assert page.evaluate(background) in ("rgb(255, 255, 255)", light)
    assert page.pdf(path=tmp_path / "page.pdf", format="A4").startswith(b"%PDF")
