"""Credit bought in a browser, the whole site running: paid at the hosted page, told by a webhook, done by control."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.conftest import Stack
from tests.until import until

PAGE = "/dashboard/billing"


def micros(page: Page) -> int:
    return int(page.get_attribute("#balance data", "value") or 0)


def pay(page: Page, stack: Stack, *, card: str = "visa") -> None:
    """At the hosted page, which says that it is play money."""
    page.wait_for_url("**/-/stripe/checkout/**")
    expect(page.locator("body")).to_contain_text("test mode")
    if page.locator("input[type=email]").count():
        page.fill("input[type=email]", "ada@example.com")
    page.check(f"input[name=card][value={card}]", force=True)
    page.click("button:has-text('Pay')")


def test_credit_is_bought_and_the_buyer_comes_back_to_the_form(page: Page, stack: Stack) -> None:
    before = micros(page)
    page.goto(f"{stack.url}{PAGE}?need=5000&back=%2Fm%2Fvitrine%2Fdaylight%3Fprompt%3Da%2Bteal%2Bvase")
    page.click("button:has-text('Add credit')")
    pay(page, stack)
    page.wait_for_url("**/m/vitrine/daylight?prompt=a+teal+vase")
    expect(page.locator("[name=prompt]")).to_have_value("a teal vase")
    assert micros(page) == before + 10_000_000


def test_nobody_comes_back_and_the_webhook_alone_brings_it(page: Page, stack: Stack) -> None:
    before = micros(page)
    page.goto(stack.url + PAGE)
    page.click("button:has-text('Add credit')")
    page.wait_for_url("**/-/stripe/checkout/**")
    # The way back is cut off: the window is closed, the train is in a tunnel.
    page.context.route("**/dashboard/billing/topups/**", lambda route: route.abort())
    pay(page, stack)
    page.context.unroute_all()
    other = page.context.new_page()
    other.goto(f"{stack.url}/dashboard/history")

    def has_come() -> bool:
        other.reload()
        return micros(other) != before

    until(has_come)
    assert micros(other) == before + 25_000_000


def test_without_scripts(browser: Browser, signed_in: StorageState, stack: Stack) -> None:
    context = browser.new_context(java_script_enabled=False, storage_state=signed_in)
    try:
        page = context.new_page()
        page.goto(stack.url + PAGE)
        before = micros(page)
        page.check("input[name=amount][value=other]", force=True)
        page.fill("#b-other", "7.50")
        page.click("button:has-text('Add credit')")
        pay(page, stack)
        page.wait_for_url("**/dashboard/billing/topups/**")
        expect(page.locator("main")).to_contain_text("was added to the credit")
        assert micros(page) == before + 7_500_000
    finally:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_axe_and_nothing_scrolls_sideways(page: Page, stack: Stack, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    for path in (PAGE, f"{PAGE}?need=7000000&back=%2F"):
        page.goto(stack.url + path)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] != "minor"] == []
        page.set_viewport_size({"width": 390, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.set_viewport_size({"width": 1440, "height": 900})
