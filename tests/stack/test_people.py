"""A newcomer, as a person sees it: sign up, prove the address by the mail, invite, accept, change a role, delete."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import Stack
from tests.screenshots import MODEL

PASSWORD = "correct horse battery"


def letter(page: Page, stack: Stack, *, to: str, subject: str) -> str:
    """The first link in the newest filed mail with this subject to this person, once it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        page.goto(f"{stack.url}/-/mail")
        found = page.locator("tr", has_text=to).filter(has_text=subject)
        if found.count():
            found.first.locator("a.go").click()
            return str(page.locator(".letter a").first.get_attribute("href"))
        time.sleep(0.5)
    pytest.fail(f"no mail “{subject}” to {to}")


def sign_up(page: Page, email: str, name: str) -> None:
    page.fill("input[name=email]", email)
    page.fill("input[name=name]", name)
    page.fill("input[name=password1]", PASSWORD)
    page.click("main form button[data-kind=primary]")


def press(page: Page, words: str) -> None:
    page.get_by_role("button", name=words, exact=True).click()


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "plain"])
def test_from_the_sign_up_to_the_end(browser: Browser, stack: Stack, javascript: bool) -> None:
    mark = f"{int(javascript)}-{time.time_ns()}"
    ada, bob = f"ada-{mark}@example.test", f"bob-{mark}@example.test"
    context = browser.new_context(java_script_enabled=javascript, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(stack.url + MODEL)
    page.fill("textarea[name=prompt]", "a matte terracotta bowl")
    press(page, "Run") if not javascript else page.click("#input .run [data-kind=primary]")
    page.wait_for_url("**/accounts/login?**")
    page.click("text=Make an account")
    sign_up(page, ada, "Ada")
    page.wait_for_url(f"**{MODEL}?**")
    assert page.input_value("textarea[name=prompt]") == "a matte terracotta bowl"

    page.goto(letter(page, stack, to=ada, subject="Confirm your email address"))
    press(page, "Confirm")
    page.goto(f"{stack.url}/accounts/email")
    assert page.get_by_text("Confirmed", exact=True).count() == 1

    page.goto(f"{stack.url}/dashboard/workspaces/new")
    page.fill("input[name=name]", f"Studio {mark}")
    press(page, "Make workspace")
    page.fill("input[name=email]", bob)
    press(page, "Send invitation")
    link = letter(page, stack, to=bob, subject="invites you")

    other = browser.new_context(java_script_enabled=javascript, viewport={"width": 1440, "height": 900})
    guest = other.new_page()
    guest.goto(link)
    guest.get_by_role("link", name="Make an account").click()
    assert guest.input_value("input[name=email]") == bob
    sign_up(guest, bob, "Bob")
    press(guest, "Join")
    assert f"You are in Studio {mark}" in guest.inner_text("main")

    page.goto(f"{stack.url}/dashboard/members")
    page.get_by_role("button", name=f"Change {bob}").click()
    page.locator(".ask:popover-open input[value=billing]").check()
    press(page, "Save role")
    assert f"{bob} is billing now." in page.inner_text("main")
    guest.goto(stack.url + MODEL)
    assert guest.locator("[popovertarget=who]").count() == 1

    page.goto(f"{stack.url}/dashboard/settings")
    page.get_by_role("link", name="Delete", exact=True).click()
    page.fill("input[name=password]", PASSWORD)
    press(page, "Go on")
    page.fill("input[name=name]", f"Studio {mark}")
    press(page, "Delete workspace")
    assert f"Studio {mark} was deleted." in page.inner_text("main")
    guest.goto(f"{stack.url}/dashboard/workspaces")
    assert "Studio" not in guest.inner_text("main")
    width = page.evaluate("document.documentElement.scrollWidth") if javascript else 390
    assert width <= 390
    other.close()
    context.close()
