"""Screenshots of the running product: every page, wide and at phone width, light and dark.

`python -m tests.screenshots FOLDER --url URL --email EMAIL --password PASSWORD` against a running Vitrine; `make
screenshots` starts one of its own and writes those that the README shows, and all of them on sheets.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
LONGEST = 8000  # pixels; of a page that goes on for longer, the first window says enough
SIZES = {"1440": (1440, 1000), "390": (390, 844)}
TILES = {"1440": (5, 400, 280), "390": (9, 220, 476)}  # of a sheet: how many in a row, their width and height
GAP, GROUND = 12, (128, 128, 128)
MODEL = "/m/vitrine/daylight"
PROMPTS = (
    "a glossy teal vase on a white plinth, light from the left, ivory wall",
    "a banded cobalt bottle on a wooden plinth, light from the right, warm grey wall",
    "a speckled cream teapot on a black plinth, light from the left, dusty rose wall",
    "misty mountains over a lake at dawn, sun on the right",
    "a matte terracotta bowl on a grey plinth, light from the left, pale blue wall",
)


def sign_in(page: Page, *, url: str, email: str, password: str) -> None:
    """As a person does, on the sign-in page."""
    page.goto(f"{url}/accounts/login")
    page.fill("input[name=login]", email)
    page.fill("input[name=password]", password)
    page.click("main form button[data-kind=primary]")
    page.wait_for_load_state("networkidle")


def run(page: Page, prompt: str) -> None:
    """Run the model from its page and wait for the picture."""
    page.fill("textarea[name=prompt]", prompt)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-status=running], [data-status=queued]", timeout=60_000)
    page.wait_for_selector("[data-status=succeeded]", timeout=120_000)
    page.wait_for_timeout(900)  # the picture fades in


def trade(page: Page, url: str) -> None:
    """Buy credit with a card that is saved, let a part of it go back, set a limit, and give a part of a charge back: so
    that the pages of money have something to show. With play money only."""
    page.goto(f"{url}/dashboard/billing")
    if not page.get_by_text("this is play money").count():
        return
    page.check("input[name=save]")
    page.click("button:has-text('Add credit')")
    page.wait_for_url("**/-/stripe/checkout/**")
    if page.locator("input[type=email]").count():
        page.fill("input[type=email]", "ada@example.com")
    page.check("input[name=card][value=visa]", force=True)
    page.click("button:has-text('Pay')")
    page.click("a:has-text('Refund unspent credit')")
    page.fill("#r-amount", "7.50")
    page.click("main button:has-text('Refund')")
    page.wait_for_url("**/dashboard/billing/topups/*")
    page.goto(f"{url}/dashboard/billing")
    page.click("summary:has-text('Set it up')")
    page.click("button:has-text('Turn it on')")
    page.wait_for_load_state("networkidle")
    page.goto(f"{url}/dashboard/limits")
    page.fill("#n-amount", "20")
    page.click("button:has-text('Set limit')")
    page.wait_for_load_state("networkidle")
    page.goto(f"{url}/dashboard/history")
    charged = page.locator("a[href^='/p/p_']").last.get_attribute("href")
    page.goto(f"{url}/-/refunds/{str(charged).removeprefix('/p/').partition('?')[0]}")
    page.fill("#amount", "0.001")
    page.select_option("#reason", index=1)
    page.click("button:has-text('Give back')")
    page.wait_for_load_state("networkidle")


def first(page: Page, address: str, link: str) -> str:
    """Where the first such link of a page leads; empty where there is none."""
    page.goto(address)
    found = page.locator(link)
    return str(found.first.get_attribute("href")) if found.count() else ""


def pages(page: Page, url: str) -> Iterator[tuple[str, str]]:
    """Name and address of every page, once there is something to see on each."""
    page.goto(url + "/dashboard/history")
    latest = page.locator("a[href^='/p/p_']").first.get_attribute("href")
    page.goto(f"{url}{latest}")
    if page.get_by_role("button", name="Make a link").count():
        page.get_by_role("button", name="Make a link").click()
    shared = page.locator("#link").input_value().removeprefix(url)
    month = f"{datetime.now(UTC):%Y-%m}"
    addresses = {
        "gallery": "/",
        "gallery-none": "/?q=nothing-of-the-kind",
        "model": MODEL,
        "api": f"{MODEL}/api",
        "api-client": f"{MODEL}/api?c=openai&l=javascript&num_images=2&width=256&height=192",
        "readme": f"{MODEL}/readme",
        "examples": f"{MODEL}/examples",
        "versions": f"{MODEL}/versions",
        "history": "/dashboard/history",
        "history-more": "/dashboard/history?from=26.11.2026&to=2026-11-26&cost=9",
        "history-all": "/dashboard/history/all",
        "prediction": str(latest),
        "receipt": f"{latest}/receipt",
        "shared": shared,
        "usage": "/dashboard/usage",
        "credit": "/dashboard/billing",
        "payment": first(page, f"{url}/dashboard/billing", "td a.go"),
        "limits": "/dashboard/limits",
        "invoices": "/dashboard/invoices",
        "invoice": f"/dashboard/invoices/{month}",
        "publish": "/publish",
        "keys": "/dashboard/keys",
        "key": first(page, f"{url}/dashboard/keys", "a.go"),
        "key-new": "/dashboard/keys/new",
        "webhooks": "/dashboard/webhooks",
        "members": "/dashboard/members",
        "settings": "/dashboard/settings",
        "workspaces": "/dashboard/workspaces",
        "workspace-delete": "/dashboard/settings/delete",
        "profile": "/accounts/profile",
        "email": "/accounts/email",
        "password": "/accounts/password",
        "two-factor": "/accounts/two-factor/app",
        "sessions": "/accounts/sessions",
        "docs": "/docs",
        "engines": "/-/engines",
        "books": "/-/books",
        "refunds": "/-/refunds",
        "refund": first(page, f"{url}/-/refunds", "td a"),
        "payouts-console": "/-/payouts",
        "sandbox": "/-/stripe",
        "mails": "/-/mail",
        "components": "/-/components",
        "missing": "/nothing-here",
        "act": "/dashboard/history/delete",
    }
    yield from ((name, address) for name, address in addresses.items() if address)


EARNED = "from tests import earned; earned.earn()"  # for `manage.py shell -c`
HOUSE = "Vitrine"  # the workspace of what is shipped, where the demo user sells
SELLING = {
    "publisher": "/publish",
    "publisher-model": f"/publish/models/{MODEL.removeprefix('/m/')}",
    "publisher-settings": "/publish/settings",
    "publisher-close": "/publish/close",
    "prices": "/publish/prices",
    "price": f"/publish/{MODEL.removeprefix('/m/')}/prices",
    "earnings": "/publish/earnings",
    "statement": f"/publish/statements/{datetime.now(UTC):%Y-%m}",
    "payouts": "/publish/payouts",
}


def work_in(page: Page, url: str, workspace: str) -> None:
    """Switch to another of one's workspaces."""
    page.goto(f"{url}/dashboard/workspaces")
    page.click(f"button[aria-label='Work in {workspace}']")
    page.wait_for_load_state("networkidle")


README = {
    f"{name}-1440-{scheme}"
    for name in ("gallery", "prediction", "history", "api", "usage", "credit", "invoice", "keys", "docs")
    for scheme in ("light", "dark")
} | {"model-1440-light", "model-1440-dark", "model-390-light", "model-390-dark"}


def shoot(browser: Browser, *, url: str, email: str, password: str, folder: Path) -> list[Path]:
    """All pages in all sizes and both schemes; the sign-in page as a visitor sees it."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    sign_in(page, url=url, email=email, password=password)
    page.goto(url + MODEL)
    for prompt in PROMPTS:
        run(page, prompt)
    trade(page, url)
    addresses = dict(pages(page, url))
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for name, address in addresses.items():
                page.goto(url + address)
                if name == "model":
                    run(page, PROMPTS[0])
                made.append(_save(page, folder / f"{name}-{size}-{scheme}.png"))
            work_in(page, url, HOUSE)
            for name, address in SELLING.items():
                page.goto(url + address)
                made.append(_save(page, folder / f"{name}-{size}-{scheme}.png"))
            work_in(page, url, "Demo")
    visitor = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    for size, (width, height) in SIZES.items():
        visitor.set_viewport_size({"width": width, "height": height})
        for name, address in {"signin": "/accounts/login", "signup": "/accounts/signup"}.items():
            visitor.goto(url + address)
            made.append(_save(visitor, folder / f"{name}-{size}-light.png"))
    return made


def _save(page: Page, path: Path) -> Path:
    """The whole page; the playground on a wide screen as it is seen, with its foot at the bottom of the window."""
    page.wait_for_load_state("networkidle")
    is_playground = page.locator(".run").count() > 0
    is_wide = (page.viewport_size or {"width": 0})["width"] > 1000
    if (
        is_playground and not is_wide
    ):  # where the foot sticks to is the end of the window, which a whole page has not
        page.evaluate("document.querySelector('.run').style.position = 'static'")
    page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
    is_long = page.evaluate("document.documentElement.scrollHeight") > LONGEST
    page.screenshot(path=path, full_page=not (is_playground and is_wide) and not is_long)
    return path


def sheet(pictures: list[Path], *, size: str, to: Path) -> None:
    """The upper part of each page, small, all of them on one picture."""
    columns, width, height = TILES[size]
    rows = -(-len(pictures) // columns)
    whole = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), GROUND)
    for place, path in enumerate(pictures):
        with Image.open(path) as picture:
            tall = round(picture.width * height / width)
            tile = picture.convert("RGB").crop((0, 0, picture.width, tall)).resize((width, height))
        row, column = divmod(place, columns)
        whole.paste(tile, (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    whole.save(to, quality=80, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--readme", action="store_true", help="keep only the pictures that the README shows")
    parser.add_argument("--url")
    parser.add_argument("--email")
    parser.add_argument("--password")
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        if asked.url:
            made = shoot(
                browser, url=asked.url, email=asked.email, password=asked.password, folder=asked.folder
            )
        else:
            from tests.conftest import run_stack

            of_both = {"PAYOUT_METHODS": "stripe,manual"}
            with tempfile.TemporaryDirectory() as data, run_stack(Path(data) / "data", **of_both) as stack:
                stack.manage("shell", "-v", "0", "-c", EARNED)
                made = shoot(
                    browser, url=stack.url, email=stack.email, password=stack.password, folder=asked.folder
                )
    if asked.readme:
        for size in SIZES:
            for scheme in ("light", "dark"):
                of = [path for path in made if path.stem.endswith(f"-{size}-{scheme}")]
                sheet(of, size=size, to=asked.folder / f"pages-{size}-{scheme}.webp")
    for path in made:
        if asked.readme and path.stem not in README:
            path.unlink()
        else:
            print(path)


if __name__ == "__main__":
    main()
