"""First light, as a person sees it: sign in, type a caption, watch the picture form, see what it cost."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute

from playground.snippets import snippets
from tests.conftest import Stack
from tests.screenshots import MODEL, PROMPTS, sign_in
from tests.stack.api import Api

PRICE_MICROS = 4_000

# Remembers every picture the stage ever showed while the run was open.
WATCH = """
() => {
  window.seen = [];
  const look = () => {
    const image = document.querySelector('[data-status=running] img.seen');
    if (image && !window.seen.includes(image.src)) window.seen.push(image.src);
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}
"""

PREVIEW = re.compile(r"data:image/webp;base64,[A-Za-z0-9+/=]+")


def run(page: Page, prompt: str) -> None:
    page.fill("textarea[name=prompt]", prompt)
    page.keyboard.press("Control+Enter")


def test_a_caption_becomes_a_picture_step_by_step_and_costs_its_price(page: Page, stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    before = api.balance()["available_micros"]
    received: set[str] = set()

    def hear(payload: str | bytes) -> None:
        received.update(PREVIEW.findall(payload if isinstance(payload, str) else payload.decode()))

    page.on("websocket", lambda socket: socket.on("framereceived", hear))
    page.evaluate(WATCH)
    page.fill(
        "input[name=num_inference_steps]:not([type=range])", "40"
    )  # long enough to be watched on a busy machine
    known_by = page.input_value("#form-once")
    run(page, PROMPTS[0])
    page.wait_for_selector("[data-status=running]", timeout=60_000)  # an earlier run may be shown until then
    page.wait_for_selector("[data-status=succeeded] .made img", timeout=120_000)
    assert page.input_value("#form-once") != known_by  # whoever presses Run now wants another one
    painted = page.evaluate("window.seen")
    assert len(received) >= 5, f"{len(received)} different previews over the socket"
    assert len(painted) >= 3, f"{len(painted)} of them painted"  # a busy browser skips some
    card = page.locator("article[data-status=succeeded]")
    assert "$0.0040 charged" in card.inner_text()
    width = card.locator(".made img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == 192
    assert api.balance()["available_micros"] == before - PRICE_MICROS
    assert api.balance()["held_micros"] == 0


def test_a_late_viewer_sees_the_present_state(page: Page, stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    made = api.submit(num_inference_steps=40, num_images=4)  # which takes longer than a page to open
    api.until(made["id"], lambda found: found["status"] == "running" and found["step"] >= 3)
    page.goto(f"{stack.url}/p/{made['id']}")
    assert page.locator("article[data-status=running]").count() == 1
    page.wait_for_selector("article[data-status=succeeded]", timeout=120_000)


def test_without_sockets_the_card_is_polled(context: BrowserContext, stack: Stack) -> None:
    page = context.new_page()

    def refuse(socket: WebSocketRoute) -> None:
        socket.close()

    page.route_web_socket("**/ws/**", refuse)
    page.goto(stack.url + MODEL)
    run(page, PROMPTS[1])
    page.wait_for_selector("[data-status=succeeded] .made img", timeout=120_000)


def test_without_javascript_too(browser: Browser, stack: Stack) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, url=stack.url, email=stack.email, password=stack.password)
    page.goto(stack.url + MODEL)
    page.fill("textarea[name=prompt]", PROMPTS[2])
    page.click("form button[data-kind=primary]")
    for _ in range(60):
        if page.locator("article[data-status=succeeded]").count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    assert page.locator("article[data-status=succeeded] .made img").count() == 1
    context.close()


def test_cancel_from_the_page(page: Page, stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    before = api.balance()["available_micros"]
    page.fill("input[name=num_inference_steps]:not([type=range])", "40")
    run(page, PROMPTS[3])
    page.click("article button:has-text('Cancel')", timeout=60_000)
    page.wait_for_selector("article[data-status=canceled]", timeout=30_000)
    assert "Nothing charged" in page.locator("article[data-status=canceled]").inner_text()
    assert api.balance()["available_micros"] == before


@pytest.mark.parametrize("language", ["curl", "python", "javascript"])
def test_the_pasted_snippet_runs(
    language: str, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp(language)
    api = Api(stack.url, stack.key)
    before = api.balance()["available_micros"]
    found = {
        snippet["language"]: snippet["code"]
        for snippet in snippets(base_url=stack.url, model_id="vitrine/daylight", input={"prompt": PROMPTS[4]})
    }
    program = {"curl": ["bash"], "python": [sys.executable], "javascript": ["node", "--input-type=module"]}
    done = subprocess.run(
        program[language],
        input=found[language],
        env={**stack.env, "VITRINE_API_KEY": stack.key},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert api.balance()["available_micros"] == before - PRICE_MICROS
