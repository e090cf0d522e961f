"""The whole site without JavaScript: a newcomer looks around, signs up, runs, keeps, shares, and leaves."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Stack
from tests.screenshots import MODEL

PASSWORD = "a long password"
SHELF = """
from marketplace import catalog
from marketplace.models import Listing, Publisher
from tests.predictions import cast
house = Publisher.objects.get(name="vitrine")
for number in range(26):
    card = {"family": "testcard", "weights": ""}
    made = cast.manifest(name=f"plain-{number}", lane="cpu", recipe=card)
    catalog.publish(house, made)
"""
AWAY = """
from marketplace.models import Listing
Listing.objects.filter(name__startswith="plain-").update(visibility="private")
"""


@pytest.fixture
def long_shelf(stack: Stack) -> Iterator[None]:
    """More models than one page of the gallery holds; they are gone from the shelf afterwards."""
    stack.manage("shell", "--no-imports", "-c", SHELF)
    yield
    stack.manage("shell", "--no-imports", "-c", AWAY)


def press(page: Page, name: str) -> None:
    page.locator("main").get_by_role("button", name=name, exact=True).click()


def follow(page: Page, name: str) -> None:
    page.locator("main").get_by_role("link", name=name, exact=True).first.click()


def until(page: Page, selector: str, *, seconds: float = 120) -> None:
    """The page, which looks again by itself, has come to it."""
    expect(page.locator(selector).first).to_be_visible(timeout=seconds * 1000)


@pytest.mark.usefixtures("long_shelf")
def test_everything_is_done_with_links_and_forms(browser: Browser, stack: Stack) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    browse(page, stack)
    email = f"plain-{time.time_ns()}@example.test"
    sign_up_on_the_way_to_a_run(page, stack, email)
    run = look_at_the_result(page, stack)
    find_it_in_the_history(page, run)
    make_a_key(page, stack)
    share_and_revoke(page, browser, stack, run)
    sign_out_and_in(page, stack, email)
    context.close()


def browse(page: Page, stack: Stack) -> None:
    page.goto(stack.url)
    first = page.locator("#cards h3").first.inner_text()
    follow(page, "Show more")
    assert "page=2" in page.url
    assert page.locator("#cards h3").first.inner_text() != first
    follow(page, "Previous page")
    assert page.locator("#cards h3").first.inner_text() == first
    page.locator("#tasks").get_by_role("link", name="Text to image").click()
    assert "task=text-to-image" in page.url
    page.fill("#q", "plain-17")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=plain-17**")
    assert "task=text-to-image" in page.url
    assert page.locator("#cards article").count() == 1
    page.fill("#q", "nothing-of-the-kind")
    page.select_option("#sort", "cheapest")
    press(page, "Apply")
    assert "sort=cheapest" in page.url
    follow(page, "Show all models")
    page.get_by_role("link", name="vitrine/daylight").first.click()
    for tab in ("API", "Examples", "README", "Versions"):
        page.get_by_role("link", name=re.compile(f"^{tab}")).first.click()
        assert page.url.endswith(f"{MODEL}/{tab.lower()}")
    follow(page, "Playground")


def sign_up_on_the_way_to_a_run(page: Page, stack: Stack, email: str) -> None:
    assert page.locator("button[data-word]:enabled").count() == 0  # what needs a script is no button
    page.fill("textarea[name=prompt]", "a matte terracotta bowl")
    press_run(page)
    page.wait_for_url("**/accounts/login?**")
    follow(page, "Make an account")
    page.fill("input[name=email]", email)
    page.fill("input[name=name]", "Plain")
    page.fill("input[name=password1]", PASSWORD)
    press(page, "Make account")
    page.wait_for_url(f"**{MODEL}?**")
    assert page.input_value("textarea[name=prompt]") == "a matte terracotta bowl"
    page.fill("input[name=num_inference_steps]", "99")
    press_run(page)
    assert "at most 40" in page.inner_text("#input")
    page.goto(page.url)  # by the address of the refused form
    assert page.url.endswith(MODEL)
    page.fill("textarea[name=prompt]", "a matte terracotta bowl")
    page.fill("input[name=num_inference_steps]", "4")
    press_run(page)
    page.wait_for_url("**/p/p_*")


def press_run(page: Page) -> None:
    page.locator("#run").click()


def look_at_the_result(page: Page, stack: Stack) -> str:
    until(page, "article[data-status=succeeded] .made img")
    source = page.locator(".made img").get_attribute("src")
    assert httpx.get(stack.url + str(source)).headers["content-type"] == "image/png"
    follow(page, "For paper")
    assert "Charged" in page.inner_text("main")
    page.go_back()
    press(page, "Run again")
    page.wait_for_url("**/p/p_*")
    until(page, "article[data-status=succeeded] .made img")
    return page.url.rpartition("/")[2]


def find_it_in_the_history(page: Page, run: str) -> None:
    page.locator("header.topbar").get_by_role("link", name="History").click()
    page.fill("#q", "terracotta")
    page.select_option("#status", "succeeded")
    press(page, "Apply")
    assert page.locator("tbody tr").count() == 2
    page.locator(f"#row-{run} input").check()
    press(page, "Delete")
    assert "1 run deleted" in page.inner_text("main")
    press(page, "Undo")
    assert "status=succeeded" in page.url
    page.locator(".further summary").click()
    page.fill("#from", "26.11.2026")
    page.locator(".further").get_by_role("button", name="Apply").click()
    assert "from=" not in page.url  # the browser itself says how a day is written
    page.fill("#from", "2026-01-01")
    page.locator(".further").get_by_role("button", name="Apply").click()
    assert "from=2026-01-01" in page.url
    page.locator(f"#row-{run} a.go").click()
    page.wait_for_url(f"**/p/{run}")


def make_a_key(page: Page, stack: Stack) -> None:
    page.locator("[popovertarget=who]").click()
    page.locator("#who").get_by_role("link", name="API keys").click()
    follow(page, "Make a key")
    page.fill("#k-name", "plain")
    press(page, "Make key")
    key = page.input_value("#secret")
    asked = httpx.get(f"{stack.url}/api/v1/key", headers={"Authorization": f"Bearer {key}"})
    assert asked.json()["name"] == "plain"
    page.locator("a.go").click()
    press(page, "Revoke this key…")
    page.locator("#sure").get_by_role("button", name="Revoke", exact=True).click()
    assert "“plain” is revoked." in page.inner_text("main")


def share_and_revoke(page: Page, browser: Browser, stack: Stack, run: str) -> None:
    page.goto(f"{stack.url}/p/{run}")
    press(page, "Make a link")
    link = page.input_value("#link")
    visitor = browser.new_context(java_script_enabled=False).new_page()
    visitor.goto(link)
    assert "a matte terracotta bowl" in visitor.inner_text("h1")
    picture = str(visitor.locator(".made a").get_attribute("href"))
    assert httpx.get(stack.url + picture, follow_redirects=True).headers["content-type"] == "image/png"
    follow(visitor, "Make your own")
    assert visitor.input_value("textarea[name=prompt]") == "a matte terracotta bowl"
    press(page, "Revoke link")
    assert "The link is revoked" in page.inner_text("main")
    answer = visitor.goto(link)
    assert answer is not None
    assert answer.status == 404
    follow(visitor, "All models")
    visitor.context.close()


def sign_out_and_in(page: Page, stack: Stack, email: str) -> None:
    page.goto(f"{stack.url}/dashboard/keys")
    page.locator("[popovertarget=who]").click()
    page.locator("#who").get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{stack.url}/")
    page.goto(f"{stack.url}/dashboard/keys")
    page.fill("input[name=login]", email)
    page.fill("input[name=password]", PASSWORD)
    press(page, "Sign in")
    page.wait_for_url("**/dashboard/keys")
