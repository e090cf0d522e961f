"""The history in a browser: rows that move, the drawer at its own address, keys, undo; and all without scripts."""

from __future__ import annotations

import io
import re
import zipfile

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Stack
from tests.stack.api import Api

LIST = "/dashboard/history"


@pytest.fixture
def made(stack: Stack) -> list[str]:
    """Three runs that have succeeded, newest first."""
    api = Api(stack.url, stack.key)
    ids = [api.submit(num_inference_steps=4)["id"] for _ in range(3)]
    for one in ids:
        api.until(one, lambda found: found["status"] == "succeeded")
    return ids[::-1]


def test_a_row_moves_while_its_run_does(page: Page, stack: Stack) -> None:
    run = Api(stack.url, stack.key).submit(num_inference_steps=40, width=192, height=192)["id"]
    page.goto(stack.url + LIST)
    row = page.locator(f"#row-{run}")
    row.locator("input").check()
    assert row.locator("td .pill").last.inner_text() in {"Queued", "Running"}
    row.locator("td .pill[data-status=succeeded]").last.wait_for(timeout=120_000)
    expect(row.locator("img.thumb")).to_have_count(1)
    assert row.locator("input").is_checked()
    assert row.get_attribute("data-open") is None


def test_the_drawer_has_the_runs_address_and_back_closes_it(
    page: Page, stack: Stack, made: list[str]
) -> None:
    page.goto(f"{stack.url}{LIST}?status=succeeded")
    drawer = page.locator("#drawer")
    page.locator(f"#row-{made[1]} a.go").click()
    drawer.wait_for(state="visible")
    page.wait_for_url(f"{stack.url}/p/{made[1]}")
    expect(drawer.locator(".made img")).to_have_count(1)
    expect(drawer.locator(".pane").first).to_be_hidden()  # it has no tabs for JSON and logs
    page.go_back()
    drawer.wait_for(state="hidden")
    page.wait_for_url(f"{stack.url}{LIST}?status=succeeded")
    expect(page.locator(f"#row-{made[1]}:focus-within")).to_have_count(1)
    page.go_forward()
    drawer.wait_for(state="visible")
    page.reload()  # at the run's address is its whole page
    assert page.locator("h1").inner_text() == "vitrine/daylight"
    page.go_back()
    page.locator(f"#row-{made[1]}").wait_for()


def test_keys_walk_select_and_open(page: Page, stack: Stack, made: list[str]) -> None:
    page.goto(f"{stack.url}{LIST}?status=succeeded")
    for key in "jjx":
        page.keyboard.press(key)
    expect(page.locator(f"#row-{made[1]} input")).to_be_checked()
    expect(page.locator("[data-chosen]")).to_have_text("1")
    page.keyboard.press("Enter")
    page.locator("#drawer").wait_for(state="visible")
    page.keyboard.press("k")
    page.wait_for_url(f"{stack.url}/p/{made[0]}")
    page.keyboard.press("Escape")
    page.locator("#drawer").wait_for(state="hidden")
    assert page.url.startswith(stack.url + LIST)


def test_what_is_selected_is_downloaded_deleted_and_brought_back(
    page: Page, stack: Stack, made: list[str]
) -> None:
    page.goto(stack.url + LIST)
    for one in made[:2]:
        page.locator(f"#row-{one} input").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    packed = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
    assert sorted(packed.namelist()) == sorted(["manifest.json", *(f"{one}/1.png" for one in made[:2])])
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("2 runs deleted").wait_for()
    expect(page.locator(f"#row-{made[0]}")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("2 runs are back").wait_for()
    expect(page.locator(f"#row-{made[0]}")).to_have_count(1)


def test_a_shared_run_is_seen_by_anybody_until_it_is_revoked(
    page: Page, browser: Browser, stack: Stack, made: list[str]
) -> None:
    page.goto(f"{stack.url}/p/{made[0]}")
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("#link").input_value()
    visitor = browser.new_context().new_page()
    visitor.goto(link)
    width = visitor.locator(".made img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width > 0
    card = visitor.locator("meta[property='og:image']").get_attribute("content")
    assert httpx.get(card, follow_redirects=True, timeout=60).headers["content-type"] == "image/png"
    visitor.get_by_role("link", name="Make your own").click()
    assert visitor.locator("textarea[name=prompt]").input_value()
    page.get_by_role("button", name="Revoke link").click()
    page.get_by_text("The link is revoked").wait_for()
    assert visitor.goto(link).status == 404
    assert httpx.get(card, timeout=60).status_code == 404
    visitor.context.close()


def test_without_scripts_everything_is_there(browser: Browser, stack: Stack, made: list[str]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{stack.url}/accounts/login")
    page.fill("input[name=login]", stack.email)
    page.fill("input[name=password]", stack.password)
    page.click("main form button[data-kind=primary]")
    page.goto(stack.url + LIST)
    page.select_option("#status", "succeeded")
    page.locator("form.toolbar > button").click()
    assert "status=succeeded" in page.url
    page.locator(f"#row-{made[2]} input").check()
    page.get_by_role("button", name="Delete", exact=True).click()
    assert "1 run deleted" in page.locator("main").inner_text()
    page.get_by_role("button", name="Undo").click()
    page.locator(f"#row-{made[2]} a.go").click()
    assert page.url.endswith(made[2])
    context.close()


def test_nothing_serious_for_who_cannot_see(page: Page, stack: Stack, made: list[str]) -> None:
    page.goto(f"{stack.url}/p/{made[0]}")
    if page.get_by_role("button", name="Make a link").count():
        page.get_by_role("button", name="Make a link").click()
    link = page.locator("#link").input_value()
    for address in (LIST, f"{LIST}?q=dragon&cost=1", f"/p/{made[0]}", f"/p/{made[0]}/receipt", link):
        page.goto(address if address.startswith("http") else stack.url + address)
        if address == LIST:
            page.locator("tbody .tick input").first.check()
            page.locator("tbody a.go").first.click()
            page.locator("#drawer").wait_for(state="visible")
        found = Axe().run(page).response["violations"]
        grave = [one["id"] for one in found if one["impact"] in {"serious", "critical"}]
        assert grave == [], (address, re.sub(r"\s+", " ", str(found))[:2000])
