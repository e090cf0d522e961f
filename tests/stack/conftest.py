"""A browser, and a page of it that is signed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect, sync_playwright

from tests.conftest import Stack
from tests.screenshots import ARGUMENTS, CHROMIUM, MODEL, sign_in

expect.set_options(timeout=30_000)  # its own 5 s are not enough where everything has to share two cores


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def signed_in(browser: Browser, stack: Stack) -> StorageState:
    """The cookies of one who signed in as a person does. One session for all: who ends it signs in for itself."""
    context = browser.new_context()
    sign_in(context.new_page(), url=stack.url, email=stack.email, password=stack.password)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(browser: Browser, signed_in: StorageState) -> Iterator[BrowserContext]:
    """As a window of its own: nothing is kept but the sign-in."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, storage_state=signed_in)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, stack: Stack) -> Page:
    page = context.new_page()
    page.goto(stack.url + MODEL)
    return page
