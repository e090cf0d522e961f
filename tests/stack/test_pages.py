"""The model pages and the gallery in a browser: what axe finds, what keys and tabs do, what a fresh eye downloads."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Stack
from tests.screenshots import MODEL, PROMPTS, sign_in

EVERY = Path(__file__).parent.parent / "pages" / "every.toml"
PAGES = (
    "/",
    "/?q=day",
    "/?q=nothing-of-the-kind",
    MODEL,
    *(f"{MODEL}/{tab}" for tab in ("api", "examples", "readme")),
)
MAX_BYTES = 100_000
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def every(stack: Stack) -> str:
    """A model whose form has every control, in two versions."""
    folder = stack.data.parent
    older = folder / "older.toml"
    older.write_text(EVERY.read_text().replace("maximum = 40", "maximum = 60"))
    for path in (older, EVERY):
        stack.manage("publish", str(path), "--publisher", "vitrine")
    return "/m/vitrine/every"


def troubles(page: Page) -> list[str]:
    """What axe finds on the page as it is now."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, stack: Stack, every: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    wrong = {}
    for address in (*PAGES, every, f"{every}/versions", f"{every}/api", "/-/engines"):
        page.goto(stack.url + address)
        page.wait_for_load_state("networkidle")
        wrong[address] = troubles(page)
    page.goto(stack.url + every)
    page.click("#as-json")
    page.wait_for_selector("#f-json")
    page.fill("#f-json", '{"prompt": ')
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#f-json-error")
    wrong["json"] = troubles(page)
    page.goto(stack.url + every)
    page.fill("[name=num_inference_steps]", "99")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#f-num_inference_steps-error")
    wrong["error"] = troubles(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    wrong["keys"] = troubles(page)
    page.keyboard.press("Escape")
    page.fill("[name=num_inference_steps]", "2")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-status=succeeded] .made img", timeout=60_000)
    page.wait_for_timeout(800)
    wrong["result"] = troubles(page)
    assert {address: found for address, found in wrong.items() if found} == {}


def test_rows_json_and_tabs_keep_what_was_filled_in(page: Page, stack: Stack, every: str) -> None:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(stack.url + every)
    page.click("button:has-text('Add to adapters')")
    expect(page.locator("[name='adapters.0.path']")).to_be_focused()
    page.keyboard.type("mine/light")
    page.check("[name='frame.on']")
    page.fill("[name='frame.width']", "7")
    page.click(".more-fields summary")
    page.fill("[name=token]", "xyzzy")
    page.click("#as-json")
    page.wait_for_selector("#f-json")
    assert '"path": "mine/light"' in page.input_value("#f-json")
    assert page.input_value("[name=token]") == "xyzzy"
    page.click("#tab-api")
    page.wait_for_selector("#snippet")
    assert "mine/light" in page.inner_text("#snippet")
    assert "xyzzy" not in page.url + page.content()
    assert page.title().startswith("API")
    page.click("#tab-playground")
    page.wait_for_selector("#f-json")
    assert '"width": 7' in page.input_value("#f-json")
    page.wait_for_timeout(300)
    page.click("#as-form")
    page.wait_for_selector("[name='frame.width']")
    assert page.input_value("[name='frame.width']") == "7"
    page.go_back()
    page.wait_for_selector("#snippet")
    assert faults == []


def test_the_first_error_has_the_focus_and_is_described(page: Page, stack: Stack, every: str) -> None:
    page.goto(stack.url + every)
    page.fill("[name=num_images]", "99")
    page.fill("[name=num_inference_steps]", "99")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[name=num_images]")).to_be_focused()
    described = page.get_attribute("[name=num_images]", "aria-describedby") or ""
    assert "at most 50" in page.inner_text(f"#{described.split()[0]}")


def test_the_result_is_looked_at_as_before(page: Page, stack: Stack, every: str) -> None:
    page.goto(stack.url + every)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-status=succeeded] .made img", timeout=60_000)
    size = page.locator(".prediction").bounding_box()
    page.focus(".shows input:checked")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-pane=json]")).to_be_visible()
    assert '"status": "succeeded"' in page.inner_text("[data-pane=json]")
    assert page.locator(".prediction").bounding_box() == size
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-pane=logs]")).to_be_visible()
    page.reload()
    expect(page.locator("[data-pane=logs]")).to_be_visible()
    page.locator(".shows label").first.click()
    page.locator("a[data-zoom]").click()
    expect(page.locator("dialog.lightbox[open] img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.lightbox")).to_be_hidden()


def test_a_picture_that_does_not_load_can_be_tried_again(page: Page, stack: Stack, every: str) -> None:
    page.goto(stack.url + every)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-status=succeeded] .made img", timeout=60_000)
    page.route("**/media/**", lambda route: route.abort())
    page.reload()
    page.wait_for_selector(".broken button")
    page.unroute("**/media/**")
    page.click(".made .broken button")
    page.wait_for_selector(".made a[data-zoom] img")
    page.locator(".made img").evaluate("image => image.decode()")


def test_nothing_jumps_while_a_run_forms(page: Page, stack: Stack) -> None:
    page.evaluate(
        """() => { window.jumped = 0; new PerformanceObserver((list) => { for (const one of list.getEntries())
        if (!one.hadRecentInput) window.jumped += one.value; }).observe({type: 'layout-shift', buffered: true}); }"""
    )
    page.fill("[name=prompt]", PROMPTS[0])
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-status=succeeded] .made img", timeout=120_000)
    page.wait_for_timeout(1000)
    assert page.evaluate("window.jumped") < 0.1


def test_a_page_is_light_and_nothing_holds_up_its_first_paint(browser: Browser, stack: Stack) -> None:
    """Compressed bytes of everything but media, with an empty cache; scripts wait until the page is parsed."""
    for address in ("/", MODEL, f"{MODEL}/api"):
        context = browser.new_context()
        page = context.new_page()
        total = 0

        def count(response: object) -> None:
            nonlocal total
            sizes = response.request.sizes()  # type: ignore[attr-defined]
            kind = response.request.resource_type  # type: ignore[attr-defined]
            total += 0 if kind in {"image", "media"} else sizes["responseBodySize"]

        page.on("response", count)
        page.goto(stack.url + address, wait_until="networkidle")
        assert total < MAX_BYTES, f"{address}: {total} bytes"
        blocking = page.locator("head script[src]:not([type=module]):not([defer]):not([async])").count()
        assert blocking == 0, address
        context.close()


def test_the_gallery_searches_as_one_types_and_pages_without_scripts(browser: Browser, stack: Stack) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(stack.url)
    page.keyboard.press("/")
    page.keyboard.type("dayl")
    page.wait_for_url("**q=dayl**")
    page.wait_for_selector("#cards article")
    assert page.evaluate("document.activeElement.id") == "q"
    context.close()
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(stack.url)
    plain.fill("#q", "dayl")
    plain.keyboard.press("Enter")
    plain.wait_for_url("**q=dayl**")
    assert plain.locator("#cards article").count() >= 1
    plain.context.close()


def test_every_control_without_javascript(browser: Browser, stack: Stack, every: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, url=stack.url, email=stack.email, password=stack.password)
    page.goto(stack.url + every)
    page.click("button:has-text('Add to tags')")
    page.fill("[name='tags.1']", "red")
    page.click("#as-json")
    assert '"red"' in page.input_value("#f-json")
    page.click("#as-form")
    page.check("[name='frame.on']")
    page.fill("[name='frame.width']", "3")
    page.click("#run")
    for _ in range(60):
        if page.locator("article[data-status=succeeded]").count():
            break
        page.wait_for_timeout(500)
        page.reload()
    assert page.locator("article[data-status=succeeded] .made img").count() == 1
    context.close()
