"""What is seen where something went wrong, on the narrowest screens, and on the page that shows every part."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from playwright.sync_api import Browser, Page, Route

from playground.pages import errors
from tests.conftest import Stack
from tests.screenshots import MODEL
from tests.stack.test_pages import troubles

DASHBOARD = (
    "history",
    "history/all",
    "usage",
    "billing",
    "billing?need=7000000&back=%2F",
    "limits",
    "invoices",
    "keys",
    "keys/new",
    "webhooks",
    "members",
    "settings",
    "workspaces",
)
ACCOUNT = ("profile", "email", "password", "two-factor", "sessions", "delete")
ADDRESSES = (
    *("/", "/?q=nothing-of-the-kind", "/docs", "/nothing-here", "/-/components", "/-/mail"),
    *(MODEL + tab for tab in ("", "/api", "/examples", "/readme", "/versions")),
    *(f"/dashboard/{name}" for name in DASHBOARD),
    *(f"/accounts/{name}" for name in ACCOUNT),
    *("/publish", "/publish/prices", "/publish/earnings", "/publish/payouts"),
    *("/-/engines", "/-/books", "/-/refunds", "/-/payouts", "/-/stripe"),
    "/dashboard/history?from=26.11.2026&to=2026-11-26&cost=1",
    "/dashboard/settings/delete",
    "/dashboard/workspaces/new",
    "/dashboard/history/delete",
)
MONEY = (
    *("/dashboard/billing", "/dashboard/limits", "/dashboard/invoices"),
    *("/publish", "/publish/prices", "/publish/earnings", "/publish/payouts"),
    *("/-/books", "/-/refunds", "/-/payouts", "/-/stripe"),
)
SIDEWAYS = """() => {
  const wide = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
  const bar = document.querySelector(".topbar nav");
  if (bar && bar.scrollWidth > bar.clientWidth) wide.push("the top bar");
  return wide;
}"""
BROKEN = (
    *("DAMAGED", "FORBIDDEN", "STALE", "NO_COOKIE", "MISSING", "NO_SUCH_ACT", "TOO_SLOW", "TOO_LARGE"),
    *("TOO_FAST", "BROKEN", "BACK_SOON"),
)


@pytest.fixture
def drawn(page: Page, stack: Stack, settings) -> Page:
    """A page at whose `/fails/NAME` stands what is said of that trouble, with the styles of the running site."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }

    def answer(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        asked = RequestFactory().get(
            f"/fails/{name}", headers={"Referer": "http://testserver/dashboard/keys"}
        )
        asked.user = asked.request_id = None  # type: ignore[attr-defined]
        made = errors._page(asked, getattr(errors, name))
        route.fulfill(status=made.status_code, content_type="text/html", body=made.content)

    page.route("**/fails/*", answer)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_where_something_went_wrong(drawn: Page, stack: Stack, scheme: str) -> None:
    drawn.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    wrong = {}
    for name in BROKEN:
        drawn.goto(f"{stack.url}/fails/{name}")
        assert drawn.locator("h1").inner_text() == getattr(errors, name).title
        wrong[name] = troubles(drawn)
    for address in ("/nothing-here", "/dashboard/history/delete"):
        drawn.goto(stack.url + address)
        wrong[address] = troubles(drawn)
    assert {address: found for address, found in wrong.items() if found} == {}


def test_a_form_that_is_refused_says_why_and_leads_back(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.url}/dashboard/settings")
    page.evaluate("document.querySelector('main form [name=csrfmiddlewaretoken]').value = 'x'.repeat(64)")
    page.click("main form button")
    assert page.locator("h1").inner_text() == "The form was not taken"
    page.click("text=Back to where you were")
    assert page.url == f"{stack.url}/dashboard/settings"
    page.evaluate("document.querySelector('main form [name=name]').removeAttribute('maxlength')")
    page.evaluate("document.querySelector('main form [name=name]').value = 'x'.repeat(11 * 1024 * 1024)")
    page.click("main form button")
    page.get_by_text("That is more than we take at once").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_part(page: Page, stack: Stack, scheme: str) -> None:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{stack.url}/-/components", wait_until="networkidle")
    assert page.locator("#media .broken").count() == 1  # the one that shows it
    assert troubles(page) == []
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_where_money_is_looked_after(page: Page, stack: Stack, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    wrong = {}
    for address in MONEY:
        page.goto(stack.url + address)
        wrong[address] = troubles(page)
    assert {address: found for address, found in wrong.items() if found} == {}


def test_staff_goes_from_one_place_of_the_console_to_each_other(page: Page, stack: Stack) -> None:
    page.click("[popovertarget=who]")
    page.click("#who a:has-text('Console')")
    places = page.locator("nav[aria-label=Console] a")
    names = places.all_inner_texts()
    assert names == ["Engines", "Books", "Refunds", "Payouts", "Stripe’s sandbox", "Mails", "Components"]
    for name in names[:-1]:
        page.click(f"nav[aria-label=Console] a:has-text('{name}')")
        assert page.locator("nav[aria-label=Console] [aria-current=page]").inner_text() == name
        assert page.locator("nav[aria-label=Console] a").all_inner_texts() == names


def test_places_of_publishers_are_shown_to_publishers(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.url}/dashboard/usage")
    assert page.locator("nav.side h2").all_inner_texts()[1:] == [
        "Money",
        "Publishing",
        "Building",
        "Workspace",
    ]
    assert "Invoices" in page.locator("nav.side a").all_inner_texts()
    assert page.locator("nav.side a:has-text('Start publishing')").count() == 1
    assert page.locator("nav.side a:has-text('Payouts')").count() == 0


def test_nothing_scrolls_sideways_on_the_narrowest_screen(browser: Browser, page: Page, stack: Stack) -> None:
    page.set_viewport_size({"width": 320, "height": 700})
    wrong = {}
    page.goto(f"{stack.url}/dashboard/history")
    for address in ADDRESSES:
        page.goto(stack.url + address)
        wrong[address] = page.evaluate(SIDEWAYS)
    visitor = browser.new_context(viewport={"width": 320, "height": 700}).new_page()
    for address in ("/", MODEL, "/accounts/login", "/accounts/signup", "/accounts/password/reset"):
        visitor.goto(stack.url + address)
        wrong[f"visitor {address}"] = visitor.evaluate(SIDEWAYS)
    visitor.context.close()
    assert {address: found for address, found in wrong.items() if found} == {}
