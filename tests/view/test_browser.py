"""The view in a real browser: every page by its links, on a search that is running, with hostile texts in the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.view.conftest import LINK, STUDY, Searched

BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="the browser tests need Chromium")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page that nothing foreign may load or run in, and nothing may be wrong with."""
    context = browser.new_context()
    opened, wrong = context.new_page(), []
    opened.set_default_timeout(20_000)
    opened.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: wrong.append(dialog.message))
    opened.on(
        "request", lambda asked: None if asked.url.startswith((address, "data:", "blob:")) else wrong.append(asked.url)
    )
    opened.goto(address)
    yield opened
    assert not wrong
    assert opened.evaluate("window.hacked") is None
    context.close()


def require_plain(page: Any) -> None:
    """Nothing that was said became an element, runs off the screen or leads anywhere."""
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script:not([type='application/json']), a[href^='javascript:']").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.wait_for_function(
        "[...document.querySelectorAll('.scroll')].every("
        "each => each.classList.contains('wide') === each.scrollWidth > each.clientWidth + 1)"
    )


@pytest.mark.parametrize("width, scheme", [(390, "dark"), (2000, "light")])
def test_every_page_fits_the_screen(page: Any, address: str, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    paths = (
        "",
        "/studies/1",
        "/studies/1/wrong",
        "/studies/1/search?q=evil",
        "/studies/1/trials/1",
        "/compare?a=1:1&b=1:2",
    )
    for path in paths:
        page.goto(address + path)
        require_plain(page)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == BACKGROUNDS[scheme]


def test_every_page_is_reached_by_its_links(page: Any) -> None:
    require_plain(page)
    assert page.get_by_role("link", name="one </script>").first.inner_text() == STUDY.replace("\x1b", "\\x1b").replace(
        "\u202e", "\\u202e"
    )
    page.locator("main th a").click()
    page.locator("#figures .plot svg").first.wait_for()  # drawn by plotly, under the policy
    assert page.locator("#timeline .chapter").count() >= 3
    require_plain(page)
    page.get_by_role("link", name="best score first").click()
    page.locator("#trials th a").first.click()
    require_plain(page)
    page.get_by_role("link", name="worst score first").click()
    page.locator("#examples th a").first.click()
    assert page.locator(".stage").count() == 2 and "needle" in page.locator(".message").first.inner_text()
    assert page.locator(".given").get_by_text("question").count() == 1
    assert page.locator(".handed").count() == 2
    require_plain(page)
    place = page.url
    page.keyboard.press("j")
    page.wait_for_url(lambda url: url != place)
    page.keyboard.press("k")
    page.wait_for_url(place)  # every page has its own lasting address
    page.keyboard.press("u")
    page.wait_for_url("**/trials/*")
    page.keyboard.press("/")
    page.keyboard.type("NEEDLE2")
    page.keyboard.press("Enter")
    page.locator("#hits li mark").first.wait_for()
    assert page.locator("#hits mark").first.inner_text() == "needle2"
    page.get_by_text("Looked through all trials.").wait_for()
    require_plain(page)
    page.locator("#hits a").first.click()
    assert "needle2" in page.locator(".message .raw").first.inner_text()


def test_what_went_wrong_comes_first(page: Any) -> None:
    page.locator("main th a").click()
    page.get_by_role("link", name="Failed and unusable first").click()
    assert "unusable" in page.locator("tbody tr").first.inner_text()
    require_plain(page)
    page.locator("tbody th a").first.click()
    assert page.locator(".samples .unusable").count() >= 1
    assert LINK in page.locator(".stage").last.inner_text() or page.locator(".bad").count() >= 1


def test_two_trials_stand_side_by_side_on_the_same_examples(page: Any) -> None:
    page.locator("main th a").click()
    page.get_by_role("radio", name="A: trial 1", exact=True).check()
    page.get_by_role("radio", name="B: trial 2", exact=True).check()
    page.get_by_role("button", name="Compare A and B").click()
    assert "Of 4 examples B wins" in page.locator("main").inner_text()
    require_plain(page)
    page.locator("tbody th a").first.click()
    assert page.locator(".sides .stage").count() == 4
    require_plain(page)
    page.goto(f"{page.url.partition('/compare')[0]}/compare?a=1&b=1")  # the best of two studies
    assert "A beside B" in page.locator("h1").inner_text()


def test_a_running_search_is_watched_without_losing_the_place(page: Any, searched: Searched) -> None:
    page.locator("main th a").click()
    page.locator(".status").first.wait_for()  # running, or stopped where this machine has been slow
    before = searched.store.count_trials(searched.store.study())
    page.locator(".chapter summary").last.click()
    page.locator("#trials th a").first.focus()
    focused = page.evaluate("document.activeElement.getAttribute('href')")
    opened = page.locator(".chapter[open]").evaluate_all("each => each.map(one => one.id)")
    searched.going.set()
    searched.wait_for(before + 1)
    page.locator("#trials th a", has_text=str(before + 1)).first.wait_for()
    assert page.evaluate("document.activeElement.getAttribute('href')") == focused
    assert set(opened) <= set(page.locator(".chapter[open]").evaluate_all("each => each.map(one => one.id)"))
    searched.finish()
    page.get_by_text("ended").first.wait_for()
