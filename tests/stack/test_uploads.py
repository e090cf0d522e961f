"""Files in the playground, as a person gives them: chosen, dropped, pasted, over a connection that breaks."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.conftest import Stack
from tests.examiner import files
from tests.screenshots import sign_in
from tests.stack.api import Api

MANIFEST = """
name = "retouch"
tagline = "Redraws a picture."
task = "image-to-image"
license = "Apache-2.0"
lane = "cpu"
recipe = { family = "testcard", weights = "" }
prices = [{ unit = "request", unit_price = "0.0040" }]
[endpoint]
max_seconds = 60
start_within_seconds = 600
output = { type = "object" }
[endpoint.input]
type = "object"
required = ["picture"]
[endpoint.input.properties]
picture = { type = "string", title = "Picture", x-media = ["image/png", "image/jpeg"] }
mask = { type = "string", title = "Mask", x-media = ["image/png"] }
num_inference_steps = { type = "integer", default = 4, minimum = 1, maximum = 9 }
seed = { type = "integer", minimum = 0, x-control = "seed" }
"""
CONTROL = "#f-picture-file"
DROP = """
([selector, text, event]) => {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));
  const target = document.querySelector(selector);
  const named = {dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true};
  target.dispatchEvent(event === 'paste' ? new ClipboardEvent(event, named) : new DragEvent(event, named));
}
"""


@pytest.fixture(scope="module")
def model(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("manifest") / "retouch.toml"
    path.write_text(MANIFEST)
    stack.manage("publish", str(path), "--publisher", "vitrine")
    return "/m/vitrine/retouch"


@pytest.fixture
def form(context: BrowserContext, stack: Stack, model: str) -> Page:
    page = context.new_page()
    page.goto(stack.url + model)
    return page


def write(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_a_chosen_file_is_shown_run_and_stays_after_a_refusal(
    form: Page, stack: Stack, tmp_path: Path
) -> None:
    form.set_input_files("#f-picture", write(tmp_path, "cat.png", files.picture()))
    expect(form.locator(f"{CONTROL} [data-facts]")).to_have_text(re.compile(r"PNG · 640 × 400 · \d+ kB"))
    value = form.input_value("[name=picture]")
    assert value.startswith("a_")
    expect(form.locator(f"{CONTROL} [data-said]")).to_have_text("cat.png is there.")
    form.fill("[name=num_inference_steps]", "400")
    form.keyboard.press("Control+Enter")
    expect(form.locator("#input [aria-invalid=true]")).to_have_count(1)
    assert form.input_value("[name=picture]") == value
    expect(form.locator(f"{CONTROL} [data-name]")).to_have_text("cat.png")
    form.fill("[name=num_inference_steps]", "2")
    form.keyboard.press("Control+Enter")
    expect(form.locator("#result [data-status=succeeded]").first).to_be_visible(timeout=60_000)
    api = Api(stack.url, stack.key)
    ran = api.http.get("/predictions", params={"limit": 1}).json()["results"][0]
    assert ran["input"]["picture"] == value


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_file_is_dropped_or_pasted(form: Page, event: str) -> None:
    text = base64.b64encode(files.picture()).decode()
    if event == "drop":
        form.evaluate(DROP, [f"{CONTROL} [data-drop]", text, "dragover"])
        expect(form.locator(f"{CONTROL} [data-over]")).to_be_visible()
    form.evaluate(DROP, [f"{CONTROL} [data-drop]" if event == "drop" else "body", text, event])
    expect(form.locator(f"{CONTROL} [data-name]")).to_have_text("dropped.png")
    expect(form.locator(f"{CONTROL} [data-filled]")).to_be_visible()
    form.locator(f"{CONTROL} [data-remove-file]").press("Enter")
    assert form.input_value("[name=picture]") == ""
    expect(form.locator("#f-picture")).to_be_focused()
    expect(form.locator(f"{CONTROL} [data-said]")).to_have_text("Removed.")


def test_what_cannot_be_used_is_said_beside_it(form: Page, tmp_path: Path) -> None:
    trouble = form.locator(f"{CONTROL} [data-trouble]")
    for name, data, word in (
        ("cut.png", files.picture()[:-100], "cut off"),
        ("page.png", b"<svg/>", "SVG"),
        ("empty.png", b"", "empty"),
        ("film.webm", files.webm(), "This field takes"),
    ):
        form.set_input_files("#f-picture", write(tmp_path, name, data))
        expect(trouble).to_contain_text(f"{name}: ")
        expect(trouble).to_contain_text(word)
    assert form.input_value("[name=picture]") == ""
    form.fill("[name=picture]", "http://10.0.0.1/a.png")
    form.locator("[name=picture]").blur()
    expect(trouble).to_contain_text("no public address")


def test_a_large_file_goes_on_after_the_connection_was_away(form: Page, tmp_path: Path) -> None:
    sent: list[str] = []
    broken: list[str] = []

    def interrupt(route: Route) -> None:
        number = route.request.url.rpartition("/")[2]
        if number == "2" and len(broken) < 3:
            broken.append(number)
            route.abort("connectionreset")
        else:
            sent.append(number)
            route.continue_()

    form.route("**/parts/*", interrupt)
    data = files.picture(size=(2800, 2700))
    assert len(data) > 16 * 2**20
    form.set_input_files("#f-picture", write(tmp_path, "large.png", data))
    expect(form.locator(f"{CONTROL} [data-facts]")).to_contain_text("Trying again", timeout=20_000)
    form.keyboard.press("Control+Enter")  # it runs when the file is there
    expect(form.locator("#result [data-status=succeeded]").first).to_be_visible(timeout=60_000)
    assert broken == ["2", "2", "2"]
    assert sent == ["1", "2", "3"]


def test_the_control_is_accessible_empty_filled_and_wrong(form: Page, tmp_path: Path) -> None:
    def serious() -> list[str]:
        found = Axe().run(form, context=".file").response["violations"]
        return [one["id"] for one in found if one["impact"] in {"serious", "critical"}]

    assert serious() == []
    form.set_input_files("#f-picture", write(tmp_path, "cat.png", files.picture()))
    form.set_input_files("#f-mask", write(tmp_path, "cut.png", files.picture()[:-100]))
    expect(form.locator(f"{CONTROL} [data-filled]")).to_be_visible()
    expect(form.locator("#f-mask-file [data-trouble]")).to_be_visible()
    assert serious() == []


def test_an_upload_can_be_cancelled(form: Page, tmp_path: Path) -> None:
    form.route("**/parts/*", lambda route: None)  # never answered
    form.set_input_files("#f-picture", write(tmp_path, "large.png", files.picture(size=(2800, 2700))))
    form.locator(f"{CONTROL} [data-cancel-upload]").click()
    expect(form.locator(f"{CONTROL} [data-name]")).to_have_text("Drop a file, choose or paste one")
    assert form.input_value("[name=picture]") == ""


def test_a_file_is_given_without_javascript(
    browser: Browser, stack: Stack, model: str, tmp_path: Path
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, url=stack.url, email=stack.email, password=stack.password)
    page.goto(stack.url + model)
    page.set_input_files("#f-picture", write(tmp_path, "plain.png", files.picture()))
    page.click("#input .run [data-kind=primary]")
    page.wait_for_url("**/p/p_*")
    context.close()


def test_control_fetches_what_is_at_an_address_and_says_what_it_cannot(stack: Stack, model: str) -> None:
    api = Api(stack.url, stack.key)
    body = {"model": "vitrine/retouch", "input": {"picture": "http://nowhere.invalid/a.png"}}
    answer = api.http.post("/predictions", json=body)
    assert answer.status_code == 201, answer.text
    ended = api.wait(answer.json()["id"], seconds=60)
    assert (ended["status"], ended["error"]["code"], ended["cost_micros"]) == ("failed", "unusable_input", 0)
    assert "nowhere.invalid" in ended["error"]["message"]
