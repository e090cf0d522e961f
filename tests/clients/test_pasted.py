"""The programs of the API tab, taken from the page and run as they are with the unmodified clients."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import sys
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from tests.clients import running
from tests.conftest import Stack
from tests.predictions import cast

HERE = Path(__file__).resolve().parent
PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"
PICTURE = f"data:image/png;base64,{base64.b64encode(cast.png(40)).decode()}"


@dataclass(frozen=True)
class Case:
    """One form, as an address fills it, and who can run it."""

    model: str
    values: dict[str, Any]
    houses: tuple[str, ...] = ("fal", "replicate", "openai", "huggingface")


CASES = {
    "picture": Case(
        "daylight",
        {"prompt": PROMPT, "seed": 7, "num_images": 2, "width": 128, "height": 128, "num_inference_steps": 5},
    ),
    "edit": Case("repaint", {"prompt": "leave it", "seed": 7, "output_format": "webp"}),
    "edit-sent": Case(
        "repaint", {"prompt": "leave it", "seed": 8, "image": PICTURE}, ("openai", "huggingface")
    ),
    "film": Case(
        "reel",
        {"prompt": "a still", "seed": 7, "num_frames": 8, "width": 128, "height": 72, "image": PICTURE},
        ("fal", "replicate", "openai"),
    ),
    "speech": Case("voice", {"prompt": "hello", "seed": 7, "voice": "bass", "duration": 1}),
}
LANGUAGES = {"python": "call.py", "javascript": "call.mjs"}
PACKAGES = {  # what the tab says to install, and where `make clients` has put it
    "pip install fal-client": "python/fal_client",
    'pip install "replicate<2"': "replicate-1/replicate",
    "pip install openai": "python/openai",
    "pip install huggingface_hub Pillow": "python/huggingface_hub",
    "npm install @fal-ai/client": "node/node_modules/@fal-ai/client",
    "npm install replicate": "node/node_modules/replicate",
    "npm install openai": "node/node_modules/openai",
    "npm install @huggingface/inference": "node/node_modules/@huggingface/inference",
}
# Replicate's first client cannot be imported by a newer Python, as its note on the tab says.
NOT_HERE = {("replicate", "python")} if sys.version_info >= (3, 14) else set()
EVERY = [
    pytest.param(case, house, language, id=f"{case}-{house}-{language}")
    for case, one in CASES.items()
    for house in one.houses
    for language in LANGUAGES
    if (house, language) not in NOT_HERE
]


@pytest.fixture(scope="module")
def key(called: Stack) -> str:
    """Of a workspace in which nobody else runs anything."""
    return called.manage("create_key", "pasted", "--credit", "5").splitlines()[-1]


def shown(stack: Stack, case: Case, house: str, language: str) -> tuple[str, str]:
    """What the tab says to install, and the program."""
    query = urlencode({**case.values, "c": house, "l": language})
    with urllib.request.urlopen(f"{stack.url}/m/vitrine/{case.model}/api?{query}") as answer:
        page = answer.read().decode()
    install, code = (
        html.unescape(
            re.sub(r"<[^>]*>", "", re.search(rf'<code id="{one}">(.*?)</code>', page, re.DOTALL)[1])
        )
        for one in ("install", "snippet")
    )
    return install, code


@pytest.fixture(scope="module")
def pasted(
    called: Stack, key: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[Path, str]:
    """What every program printed, by the folder that it was pasted into, where it finds `image.png`."""
    root = tmp_path_factory.mktemp("pasted")
    node = running.CLIENTS / "node" / "node_modules"
    if node.exists():
        (root / "node_modules").symlink_to(node)  # as `npm install` would have put it there
    runs: dict[str, list[Path]] = defaultdict(list)
    for param in EVERY:
        case, house, language = param.values
        install, code = shown(called, CASES[case], house, language)
        place = root / str(param.id)
        place.mkdir()
        shutil.copy(folder / "picture.png", place / "image.png")
        (place / LANGUAGES[language]).write_text(code, encoding="ascii")
        runs[PACKAGES[install].partition("/")[0]].append(place)
    settings = {"VITRINE_API_KEY": key}

    def run(clients: str) -> dict[str, str]:
        if clients == "node":
            return running.javascript(HERE / "as_pasted.mjs", settings, *runs[clients])
        return running.python(HERE / "as_pasted.py", settings, *runs[clients], clients=clients)

    with ThreadPoolExecutor() as at_once:
        return {Path(place): said for found in at_once.map(run, runs) for place, said in found.items()}


def opened(place: Path, said: str) -> list[bytes]:
    """The files that a program made: at the addresses that it printed, or in its folder."""
    files = [(place / name).read_bytes() for name in re.findall(r"^saved as (\S+)$", said, re.MULTILINE)]
    for address in re.findall(r"^http\S+/media/\S+$", said, re.MULTILINE):
        with urllib.request.urlopen(address) as answer:
            files.append(answer.read())
    assert files, said
    return files


@pytest.mark.parametrize(("case", "house", "language"), EVERY)
def test_it_runs_as_pasted(case, house, language, pasted):
    place = next(one for one in pasted if one.name == f"{case}-{house}-{language}")
    files = opened(place, pasted[place])
    assert len(files) == (2 if case == "picture" and house != "huggingface" else 1)
    for number, data in enumerate(files):
        if case == "speech":
            assert data[:4] == b"RIFF"
        elif case == "film":
            assert data[4:8] == b"ftyp"
        else:
            (place / str(number)).write_bytes(data)
            with Image.open(place / str(number)) as picture:
                assert picture.size == {"picture": (128, 128), "edit": (64, 48), "edit-sent": (8, 8)}[case]


@pytest.mark.parametrize("case", CASES)
def test_each_made_the_run_of_the_form(case, called, key, pasted):
    """Whatever words it was asked for in, the input is what the form had, and the client was that of its house."""
    wanted = CASES[case]
    request = urllib.request.Request(
        f"{called.url}/api/v1/predictions?limit=100&model=vitrine/{wanted.model}",
        headers={"Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request) as answer:
        runs = [one for one in json.load(answer)["results"] if one["input"]["seed"] == wanted.values["seed"]]
    houses = [param.values[1] for param in EVERY if param.values[0] == case]
    assert sorted(one["via"] for one in runs) == sorted(houses)
    for run in runs:
        given = {name: value for name, value in wanted.values.items() if name != "image"}
        if run["via"] == "huggingface" and case == "picture":
            given["num_images"] = 1
        assert run["input"].items() >= given.items()
        assert run["status"] == "succeeded"
