"""The snippets, executed as pasted: first against a server that writes down what it is sent, then against Vitrine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from playground.pages.key_snippets import check_snippets
from playground.snippets import snippets
from tests.predictions.cast import SHELVE_CARD

KEY = "vt_" + "a1b2c3d4e5f6" + "_" + "0123456789abcdef0123456789abcdef"
HOSTILE = {
    "quotes": 'it\'s "quoted" and `ticked`',
    "shell": "$(touch pwned) ${HOME} `touch pwned` !! \\ $KEY ; touch pwned #",
    "lines": "one\ntwo\r\nthree\ttab",
    "html": "</script><script>alert(1)</script> <!-- & &amp;",
    "unicode": "vase émaillé 陶器 \U0001f3fa \u2028 \u2029 \u00a0",
    "braces": "{key} {{body}} %s %(x)s ${KEY} {0}",
    "python": "''' + __import__('os').system('touch pwned') + \"\"\" \\N{BULLET} \\x41 \\",
}
LANGUAGES = ("curl", "python", "javascript")


class _Recorder(ThreadingHTTPServer):
    """A server that keeps what it is asked and answers with a prediction: first running, then succeeded."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.output: object = None  # of the prediction; None is one picture
        self.answers_at_once = False
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


def medium(server: _Recorder, name: str, content_type: str) -> dict[str, object]:
    """A file of an output, as the API shows it."""
    url = f"{server.url}/media/{name}"
    return {
        "id": f"a_{name}",
        "url": url,
        "thumbnail_url": f"{server.url}/media/small-{name}",
        "content_type": content_type,
    }


class _Handler(BaseHTTPRequestHandler):
    server: _Recorder

    def _answer(self, body: bytes, content_type: str = "application/json", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _prediction(self, status: str) -> bytes:
        done = status == "succeeded"
        output = self.server.output or {"images": [medium(self.server, "x.png", "image/png")], "seed": 7}
        return json.dumps(
            {
                "id": "p_1",
                "status": status,
                "urls": {"get": f"{self.server.url}/api/v1/predictions/p_1"},
                "output": output if done else None,
                "cost_micros": 4000 if done else None,
                "error": None,
            }
        ).encode()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), body))
        self._answer(self._prediction("succeeded" if self.server.answers_at_once else "running"), status=201)

    def do_GET(self) -> None:
        if self.path.startswith("/media/"):
            self._answer(self.path.encode(), "application/octet-stream")
        else:
            self._answer(self._prediction("succeeded"))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def recorder():
    with _Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _program(language: str) -> list[str]:
    wanted = {"curl": "bash", "python": sys.executable, "javascript": "node"}[language]
    if shutil.which(wanted) is None or (language == "curl" and shutil.which("curl") is None):
        if os.environ.get("CI") == "true":
            pytest.fail(f"{wanted} is not there")
        pytest.skip(f"{wanted} is not there")
    return {"curl": ["bash"], "python": [sys.executable, "-I"], "javascript": ["node"]}[language]


def _execute(language: str, code: str, folder, env: dict[str, str]) -> str:
    """What the code prints that is run as a file of its language."""
    done = _run(language, code, folder, env)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def _run(language: str, code: str, folder, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    suffix = {"curl": "sh", "python": "py", "javascript": "js"}[language]
    file = folder / f"snippet.{suffix}"
    file.write_text(code, encoding="ascii")
    return subprocess.run(
        [*_program(language), str(file)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def _code(language: str, *args: object, **named: object) -> str:
    return next(one["code"] for one in snippets(*args, **named) if one["language"] == language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_prompt_arrives_as_it_is(language, name, recorder, tmp_path):
    given = {
        "prompt": HOSTILE[name],
        "steps": 20,
        "scale": 3.5,
        "flag": True,
        "list": [1, {"a": None, "b": HOSTILE[name]}, []],
        "empty": {},
        "seed": None,
    }
    code = _code(language, recorder.url, "vitrine/daylight", given)
    _execute(language, code, tmp_path, {"VITRINE_API_KEY": KEY})
    ((path, headers, body),) = recorder.asked
    assert path == "/api/v1/predictions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert headers["Prefer"] == "wait=60"
    expected = {name: value for name, value in given.items() if value is not None}
    assert json.loads(body) == {"model": "vitrine/daylight", "input": expected}
    assert not (tmp_path / "pwned").exists()


def _saved(folder) -> list[str]:
    """What the programs left in the folder, as the server sent it."""
    ours = {"snippet.sh", "snippet.py", "snippet.js", "prediction.json"}
    return sorted(file.read_bytes().decode() for file in folder.iterdir() if file.name not in ours)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_it_waits_saves_the_picture_and_prints_the_cost(language, recorder, tmp_path):
    code = _code(language, recorder.url, "vitrine/daylight", {"prompt": "a vase"}, KEY)
    said = _execute(language, code, tmp_path, {})
    assert (tmp_path / "p_1-1.png").read_bytes() == b"/media/x.png"
    assert f"{recorder.url}/media/x.png" in said
    assert "cost: $0.004000" in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_file_of_the_output_is_saved_whatever_it_is_and_wherever_it_lies(language, recorder, tmp_path):
    recorder.answers_at_once = True
    recorder.output = {
        "video": medium(recorder, "film.mp4", "video/mp4"),
        "tracks": [[medium(recorder, "a.wav", "audio/wav")], medium(recorder, "b.mp3", "audio/mpeg")],
        "mesh": {"preview": None, "file": medium(recorder, "chair.glb", "model/gltf-binary")},
        "source": {"url": "not ours"},
        "seed": 7,
    }
    given = {"prompt": '"url": "http://127.0.0.1:1/media/no.png"', "again": [{"url": "a_1"}]}
    said = _execute(language, _code(language, recorder.url, "a/b", given, KEY), tmp_path, {})
    assert _saved(tmp_path) == ["/media/a.wav", "/media/b.mp3", "/media/chair.glb", "/media/film.mp4"]
    assert {file.suffix for file in tmp_path.iterdir()} >= {".wav", ".mp3", ".glb", ".mp4"}
    assert "film.mp4" in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_output_without_a_file_is_printed(language, recorder, tmp_path):
    recorder.answers_at_once = True
    recorder.output = {"text": "a caption, not a file", "scores": [0.5]}
    said = _execute(language, _code(language, recorder.url, "a/b", {}, KEY), tmp_path, {})
    assert "a caption, not a file" in said
    assert _saved(tmp_path) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_whole_key_is_written_in_and_a_hint_is_not(language, recorder, tmp_path):
    assert KEY in _code(language, recorder.url, "a/b", {}, KEY)
    for hint in ("", "vt_a1b2c3d4e5f6…", "$(touch pwned)\nrm"):
        code = _code(language, recorder.url, "a/b", {}, hint)
        assert "VITRINE_API_KEY" in code
        assert "touch" not in code
        _execute(language, code, tmp_path, {"VITRINE_API_KEY": KEY})
    assert [headers["Authorization"] for _, headers, _ in recorder.asked] == [f"Bearer {KEY}"] * 3
    assert "MY_KEY" in _code(language, recorder.url, "a/b", {}, key="$MY_KEY")


NOWHERE = "http://127.0.0.1:1"  # where nothing answers, in other words than those asked for


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("made", [snippets(NOWHERE, "a/b", {}), check_snippets(NOWHERE)], ids=["run", "key"])
def test_without_a_key_each_program_says_what_to_set_and_nothing_else(language, made, tmp_path):
    code = next(one["code"] for one in made if one["language"] == language)
    done = _run(language, code, tmp_path, {"VITRINE_API_KEY": ""})
    assert done.stdout == ""
    if language == "curl":
        assert re.fullmatch(r"\S+: line \d+: VITRINE_API_KEY: Set it to your API key first\.\n", done.stderr)
    else:
        assert (done.stderr, done.returncode) == ("Set VITRINE_API_KEY to your API key first.\n", 1)


@pytest.fixture(scope="module")
def ask(stack):
    """GET from the stack as the demo user's program."""

    def get(path: str):
        request = urllib.request.Request(stack.url + path, headers={"Authorization": f"Bearer {stack.key}"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    return get


@pytest.fixture(scope="module")
def model(stack, ask) -> str:
    """What is run: the model that is shipped, or a test card where its weights are not there."""
    if any(one["id"] == "vitrine/daylight" for one in ask("/api/v1/models")["results"]):
        return "vitrine/daylight"
    stack.manage("shell", "--no-imports", "-c", SHELVE_CARD)
    return "vitrine/card"


@pytest.mark.parametrize("language", LANGUAGES)
def test_against_vitrine(language, stack, ask, model, tmp_path):
    """The pasted snippet makes a picture, and the balance is lower by exactly its cost."""
    before = ask("/api/v1/balance")
    values = ask(f"/api/v1/models/{model}")["example_input"]
    code = _code(language, stack.url, model, values)
    said = _execute(language, code, tmp_path, {"VITRINE_API_KEY": stack.key})
    run = ask("/api/v1/predictions?limit=1")["results"][0]
    assert run["status"] == "succeeded", run
    url = run["output"]["images"][0]["url"]
    if language == "curl":
        assert json.loads(said)["output"]["images"][0]["sha256"] == run["output"]["images"][0]["sha256"]
    else:
        assert re.search(r"http\S+/media/\S+", said)
        assert f"cost: ${run['cost_micros'] / 1e6:.6f}" in said
    (saved,) = [file for file in tmp_path.iterdir() if file.suffix == ".png"]
    assert saved.stat().st_size == run["output"]["images"][0]["size"]
    with contextlib.closing(urllib.request.urlopen(url)) as picture:
        assert picture.headers["Content-Type"] == "image/png"
    after = ask("/api/v1/balance")
    assert before["balance_micros"] - after["balance_micros"] == run["cost_micros"] > 0
    assert after["held_micros"] == 0
