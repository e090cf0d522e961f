"""A key as a newcomer makes it: the form, the secret once, the snippet as pasted, and the end of it."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Stack
from tests.until import until

NEW = "/dashboard/keys/new"
RUNNERS = {"curl": ["bash"], "python": [sys.executable, "-I"], "javascript": ["node"]}


def make(page: Page, stack: Stack, name: str) -> str:
    page.goto(stack.url + NEW)
    page.fill("#k-name", name)
    page.click("text=Make key")
    return page.input_value("#secret")


def ask(stack: Stack, key: str, **headers: str) -> httpx.Response:
    sent = {"Authorization": f"Bearer {key}", **headers}
    return httpx.get(f"{stack.url}/api/v1/key", headers=sent, trust_env=False, timeout=60)


def test_the_secret_is_shown_once_and_its_snippets_run_as_pasted(page: Page, stack: Stack) -> None:
    key = make(page, stack, "newcomer")
    shown = {one: page.text_content(f"#check-{one}") or "" for one in RUNNERS}
    for language, code in shown.items():
        expect(page.locator(f"[data-language={language}]")).to_be_visible(visible=language == "curl")
        done = subprocess.run([*RUNNERS[language]], input=code, capture_output=True, text=True, timeout=120)
        assert json.loads(done.stdout)["name"] == "newcomer", (language, done.stderr)
    page.check("input[name=check][value=python]", force=True)
    expect(page.locator("[data-language=python]")).to_be_visible()
    page.goto(page.url)  # the address alone has nothing to tell
    assert key not in page.content()
    page.goto(f"{stack.url}/dashboard/keys")
    assert key not in page.content()


def test_going_back_and_sending_again_shows_nothing_and_makes_nothing(page: Page, stack: Stack) -> None:
    key = make(page, stack, "once only")
    page.reload()  # sends the form again
    page.wait_for_load_state()
    assert key not in page.content()
    assert page.locator("a.go", has_text="once only").count() == 1


def test_rotating_and_revoking(page: Page, stack: Stack) -> None:
    first = make(page, stack, "worker")
    page.click("a.go:has-text('worker')")
    page.click("text=Make a new secret")
    second = page.input_value("#secret")
    assert [ask(stack, key).status_code for key in (first, second)] == [200, 200]
    page.click("a.go:has-text('worker')")
    page.click("text=Revoke this key…")
    page.click("#sure >> text=Keep it")
    expect(page.locator("#sure")).to_be_hidden()
    page.click("text=Revoke this key…")
    page.click("#sure button[data-kind=danger]:has-text('Revoke')")
    page.wait_for_selector("text=“worker” is revoked.")
    until(
        lambda: [ask(stack, key).status_code for key in (first, second)] == [401, 401]
    )  # it is remembered for a second


def test_a_key_for_a_web_page(page: Page, stack: Stack) -> None:
    page.goto(stack.url + NEW)
    expect(page.locator("#k-origins")).to_be_hidden()
    page.check("input[name=kind][value=publishable]")
    expect(page.locator("input[name=preset]").first).to_be_hidden()
    page.fill("#k-name", "shop")
    page.fill("#k-origins", "https://shop.example")
    page.fill("#k-models", "vitrine/daylight")
    page.click("text=Make key")
    page.wait_for_selector("text=is required for a publishable key")
    page.fill("#k-day", "1")
    page.click("text=Make key")
    key = page.input_value("#secret")
    assert key.startswith("vt_pub")
    assert ask(stack, key).json()["code"] == "origin_not_allowed"
    assert ask(stack, key, Origin="https://shop.example").json()["name"] == "shop"


@pytest.mark.parametrize("path", ["/dashboard/keys", NEW, "/dashboard/usage"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_serious_for_axe_and_nothing_scrolls_sideways(
    page: Page, stack: Stack, path: str, width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.set_viewport_size({"width": width, "height": 900})
    page.goto(stack.url + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
    assert found == []
