"""The whole loop in a browser, as two people and the operator: from a buyer's card to a publisher's bank, and back in
part. Each page on the way is looked at as it is then, with rows in its tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.conftest import PROJECT, Stack
from tests.screenshots import sign_in
from tests.stack.test_credit import micros, pay
from tests.stack.test_pages import troubles
from tests.stack.test_sights import SIDEWAYS
from tests.until import until

PASSWORD = "only good enough for a test"
PEOPLE = f"""
from billing import ledger
from marketplace import people
from marketplace.models import User
for name in ("lind", "marsh"):
    user = User.objects.create_user(f"{{name}}@example.test", "{PASSWORD}", name=name.title())
    house = people.make_workspace(name, name=f"{{name.title()}} Studio", owner=user)
    ledger.open_workspace(house.pk)
"""
ALERTS = "from billing import limits; limits.find_alerts()"
MODEL = "/m/marsh/dusk"
PROMPT = "a glossy teal vase on a white plinth"


class Seen:
    """What was wrong with the pages on the way."""

    def __init__(self) -> None:
        self.wrong: dict[str, list[str]] = {}

    def look(self, page: Page, name: str) -> None:
        """By axe, as wide as a desk; and that nothing sticks out, as narrow as a phone can be."""
        found = troubles(page)
        usual = page.viewport_size
        page.set_viewport_size({"width": 320, "height": 700})
        found += [f"sideways: {one}" for one in page.evaluate(SIDEWAYS)]
        assert usual is not None
        page.set_viewport_size(usual)
        if found:
            self.wrong[name] = found


@pytest.fixture(scope="module")
def people(browser: Browser, stack: Stack) -> Iterator[dict[str, Page]]:
    """Lind, who buys, and Marsh, who publishes, each in a window of their own; and the model that is sold."""
    stack.manage("shell", "-v", "0", "-c", PEOPLE)
    shipped = PROJECT / "marketplace" / "catalog" / "manifests" / "daylight.toml"
    manifest = Path(stack.data.parent / "dusk.toml")
    changes = ('name = "daylight"', 'name = "dusk"'), ("featured = 100", "featured = 0"), ("0.0040", "1")
    text = shipped.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    manifest.write_text(text)
    windows = {}
    for name in ("lind", "marsh"):
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
        windows[name] = context.new_page()
        sign_in(windows[name], url=stack.url, email=f"{name}@example.test", password=PASSWORD)
    start_publishing(windows["marsh"], stack)
    stack.manage("publish", str(manifest), "--publisher", "marsh")
    yield windows
    for page in windows.values():
        page.context.close()


def start_publishing(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.url}/dashboard/usage")
    page.click("nav.side a:has-text('Start publishing')")
    page.fill("#p-name", "marsh")
    page.fill("#p-title", "Marsh")
    page.check("[name=terms]")
    page.click("main button:has-text('Start publishing')")
    expect(page.locator("h1")).to_have_text("Marsh")
    expect(page.locator("main")).to_contain_text("--publisher marsh")


def give_back(page: Page, usd: str) -> None:
    page.fill("#amount", usd)
    page.select_option("#reason", index=1)
    page.click("button:has-text('Give back')")
    expect(page.locator("main")).to_contain_text("was given back. The buyer is told.")


def look_at_what_is_sold(marsh: Page, stack: Stack, seen: Seen) -> None:
    """What is sold is described by who sells it."""
    for address in ("/publish", "/publish/models/marsh/dusk", "/publish/settings", "/publish/close"):
        marsh.goto(stack.url + address)
        seen.look(marsh, address)


def set_price(marsh: Page, stack: Stack, seen: Seen) -> None:
    """The price is set while one sees what it means."""
    marsh.goto(f"{stack.url}/publish/prices")
    marsh.click("a:has-text('marsh/dusk')")
    marsh.fill("#l0-price", "16")
    expect(marsh.locator("#meaning")).to_contain_text("$12.8000 for a typical run")
    seen.look(marsh, "the price")
    marsh.click("footer button:has-text('Set price')")
    expect(marsh.locator("tr:has-text('Current')")).to_contain_text("$16.0000 / image")


def buy_and_run(lind: Page, stack: Stack, seen: Seen) -> None:
    """Without credit the run is refused, and the way to some comes back to the form."""
    lind.goto(stack.url + MODEL)
    lind.fill("[name=prompt]", PROMPT)
    lind.keyboard.press("Control+Enter")
    lind.click("main [role=alert] a:has-text('Add credit')")
    seen.look(lind, "the credit that is missing")
    lind.click("button:has-text('Add credit')")
    lind.wait_for_url("**/-/stripe/checkout/**")
    seen.look(lind, "the hosted page")
    pay(lind, stack)
    lind.wait_for_url(f"**{MODEL}?**")
    expect(lind.locator("[name=prompt]")).to_have_value(PROMPT)
    assert micros(lind) == 25_000_000
    lind.keyboard.press("Control+Enter")
    lind.wait_for_selector("[data-status=succeeded]", timeout=120_000)


def read_what_it_cost(lind: Page, stack: Stack, seen: Seen) -> str:
    """What it cost stands on the receipt, the usage page and the invoice. The run's id."""
    lind.click("a:has-text('Receipt and recipe')")
    uid = lind.url.split("/p/")[1].split("/")[0].split("?")[0]
    lind.goto(f"{stack.url}/p/{uid}/receipt")
    expect(lind.locator("main")).to_contain_text("from bought credit")
    seen.look(lind, "the receipt")
    lind.goto(f"{stack.url}/dashboard/usage")
    expect(lind.locator("tfoot")).to_contain_text("$16.0000")
    seen.look(lind, "the usage")
    lind.click("nav.side a:has-text('Invoices')")
    lind.locator("a.go").first.click()
    expect(lind.locator("main")).to_contain_text("Credit now")
    seen.look(lind, "the invoice")
    assert lind.request.get(f"{lind.url}/pdf").body().startswith(b"%PDF")
    return uid


def reach_a_limit(lind: Page, staff: Page, stack: Stack, seen: Seen) -> None:
    """A limit is set, told of by mail, and refuses what would pass it."""
    lind.goto(f"{stack.url}/dashboard/limits")
    lind.fill("#n-amount", "10")
    lind.click("button:has-text('Set limit')")
    expect(lind.locator(".limit-list")).to_contain_text("$16.0000 of $10 a month")
    seen.look(lind, "the limits")
    lind.goto(f"{stack.url}{MODEL}?prompt=a+teal+jug")
    lind.keyboard.press("Control+Enter")
    expect(lind.locator("main [role=alert]")).to_contain_text(
        "The monthly limit of this workspace is $10.0000"
    )
    expect(lind.locator("main [role=alert] a")).to_have_attribute("href", "/dashboard/limits")
    stack.manage("shell", "-v", "0", "-c", ALERTS)

    def is_told() -> bool:
        staff.goto(f"{stack.url}/-/mail")
        return "the monthly limit of the whole workspace is reached" in staff.inner_text("main")

    until(is_told)


def give_some_back(lind: Page, marsh: Page, staff: Page, uid: str, stack: Stack, seen: Seen) -> None:
    """The publisher sees the earning, from its statement the run, and gives a part of it back; so does the operator."""
    marsh.goto(f"{stack.url}/publish/earnings")
    expect(marsh.locator("dl.figures")).to_contain_text("$12.8000")
    seen.look(marsh, "the earnings")
    marsh.locator("a.go").first.click()
    seen.look(marsh, "the statement")
    marsh.click(f"main a:has-text('{uid}')")
    give_back(marsh, "1")
    seen.look(marsh, "the run as its publisher sees it")
    staff.goto(f"{stack.url}/-/refunds")
    staff.fill("#run", uid)
    staff.click("button:has-text('Find the run')")
    give_back(staff, "1")
    seen.look(staff, "the run as the operator sees it")
    staff.goto(f"{stack.url}/-/refunds")
    seen.look(staff, "the refunds")
    lind.goto(f"{stack.url}/p/{uid}/receipt")
    expect(lind.locator("dt:has-text('Paid after all') + dd")).to_have_text("$14.0000")
    assert micros(lind) == 11_000_000


def be_paid(marsh: Page, stack: Stack, seen: Seen) -> None:
    """Connected, matured, and paid."""
    marsh.goto(f"{stack.url}/publish/payouts")
    marsh.click("button:has-text('Connect')")
    marsh.wait_for_url("**/-/stripe/onboarding/**")
    seen.look(marsh, "the onboarding")
    marsh.fill("[name=name]", "Marsh")
    marsh.check("[name=terms]")
    marsh.click("button:has-text('Finish') >> nth=0")
    marsh.wait_for_url("**/publish/payouts**")
    expect(marsh.locator("main")).to_contain_text("Stripe, ready")
    later = datetime.now(UTC) + timedelta(days=8)
    stack.manage("payouts", "run", "--at", f"{later:%Y-%m-%d}")

    def is_paid() -> bool:
        marsh.goto(f"{stack.url}/publish/payouts")
        return marsh.locator("section:has(#rows) .pill:has-text('Paid')").count() == 1

    until(is_paid)
    expect(marsh.locator("section:has(#rows)")).to_contain_text("$11.20")
    seen.look(marsh, "the payouts")
    marsh.click("button:has-text('Open Stripe')")
    expect(marsh.locator("main")).to_contain_text("$11.20")
    seen.look(marsh, "the publisher's Stripe")
    marsh.click("a:has-text('Back to Vitrine')")
    marsh.wait_for_url("**/publish/payouts")


def test_from_the_buyers_card_to_the_publishers_bank(
    people: dict[str, Page], browser: Browser, signed_in: StorageState, stack: Stack
) -> None:
    lind, marsh, seen = people["lind"], people["marsh"], Seen()
    staff = browser.new_context(storage_state=signed_in).new_page()
    look_at_what_is_sold(marsh, stack, seen)
    set_price(marsh, stack, seen)
    buy_and_run(lind, stack, seen)
    uid = read_what_it_cost(lind, stack, seen)
    reach_a_limit(lind, staff, stack, seen)
    give_some_back(lind, marsh, staff, uid, stack, seen)
    be_paid(marsh, stack, seen)
    staff.context.close()
    assert seen.wrong == {}
    stack.manage("ledger", "verify")
