"""Downloads from a hub: a server on this machine that speaks its protocol, and breaks off, lies and refuses."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from marketplace.catalog import InvalidManifest
from workers.installing import hub
from workers.installing.entries import Source

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "model_index.json": json.dumps(
        {"_class_name": "ShapEPipeline", "prior": ["diffusers", "PriorTransformer"], "unet": [None, None]}
    ).encode(),
    "prior/config.json": b'{"a": 1}',
    "prior/diffusion_pytorch_model.safetensors": b"whole" * 100_000,
    "prior/diffusion_pytorch_model.fp16.safetensors": b"half" * 100_000,
    "prior/chat_template.jinja": b"{{ messages }}",
    "prior/pytorch_model.bin": b"a pickle",
    "prior/handler.py": b"import os",
    "unet/diffusion_pytorch_model.safetensors": b"unused",
    "big_checkpoint.safetensors": b"in one file",
    "README.md": b"# Hello",
}
WEIGHTS = "prior/diffusion_pytorch_model.safetensors"


@dataclass
class Hub:
    """What the server has, how it misbehaves, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    served: dict[str, bytes] = field(default_factory=dict)
    breaks_after: list[int] = field(default_factory=list)
    falls_silent: bool = False  # where it would break off
    is_over: threading.Event = field(default_factory=threading.Event)
    refuses: tuple[int, str] | None = None
    says: str = ""  # of what it refuses
    asked: list[tuple[str, str]] = field(default_factory=list)


def _handler(state: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Range", "")))
            if state.refuses is not None:
                code, reason = state.refuses
                self.send_response(code)
                if reason:
                    self.send_header("X-Error-Code", reason)
                if state.says:
                    self.send_header("X-Error-Message", state.says)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif self.path.startswith("/api/models/kiln/tiny"):
                self._send(200, json.dumps(_described(state.files)).encode())
            else:
                name = self.path.partition("?")[0].partition(f"/resolve/{COMMIT}/")[2]
                data = state.served.get(name, state.files[name])
                begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
                self._send(206 if begin else 200, data[begin:], part=(begin, len(data)))

        def _send(self, code: int, data: bytes, part: tuple[int, int] | None = None) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            if code == 206 and part is not None:
                self.send_header("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{part[1]}")
            self.end_headers()
            if part is not None and len(data) > 10_000 and state.breaks_after:
                self.wfile.write(data[: state.breaks_after.pop(0)])
                if state.falls_silent:
                    state.is_over.wait(60)
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(data)

    return Handler


def _described(files: dict[str, bytes]) -> dict[str, object]:
    siblings = []
    for name, data in files.items():
        one: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": _blob(data)}
        if name.endswith(".safetensors"):
            sha256 = hashlib.sha256(data).hexdigest()
            one |= {"blobId": "0" * 40, "lfs": {"sha256": sha256, "size": len(data), "pointerSize": 134}}
        siblings.append(one)
    return {"id": "kiln/tiny", "sha": COMMIT, "siblings": siblings, "cardData": {"license": "mit"}}


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants

    monkeypatch.setattr(
        huggingface_hub.constants, "HF_HUB_OFFLINE", False
    )  # which the engine sets for itself
    state = Hub()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state)) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        state.url = f"http://127.0.0.1:{made.server_address[1]}"
        yield state
        state.is_over.set()
        made.shutdown()


def source(**changes: str) -> Source:
    return Source(**{"hub": "kiln/tiny", "revision": "", "variant": "", "gated": False, **changes})  # type: ignore[arg-type]


def bring(server: Hub, folder: Path, **changes: str) -> dict[str, str]:
    wanted = hub.look_up(source(**changes), endpoint=server.url)
    return hub.fetch(wanted, folder, say=lambda line: None, endpoint=server.url)


def names(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_only_the_data_of_named_parts_comes_and_is_hashed(server: Hub, tmp_path: Path) -> None:
    wanted = hub.look_up(source(), endpoint=server.url)
    assert (wanted.revision, wanted.license) == (COMMIT, "mit")
    hashes = hub.fetch(wanted, tmp_path, say=lambda line: None, endpoint=server.url)
    assert (
        names(tmp_path)
        == set(hashes)
        == {"model_index.json", "prior/config.json", "prior/chat_template.jinja", WEIGHTS}
    )
    assert hashes[WEIGHTS] == hashlib.sha256(FILES[WEIGHTS]).hexdigest()
    asked = len(server.asked)
    bring(server, tmp_path)
    assert len(server.asked) == asked + 1  # what is there is verified and not fetched again


def test_it_says_how_far_it_is(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TOLD_BYTES", 200_000)
    said: list[str] = []
    wanted = hub.look_up(source(), endpoint=server.url)
    hub.fetch(wanted, tmp_path, say=said.append, endpoint=server.url)
    assert said[0] == "0 kB of 500 kB  prior/config.json"
    assert said[-1] == "500 kB of 500 kB  verified"
    assert len([line for line in said if line.endswith(WEIGHTS)]) == 3


def test_a_variant_comes_instead_of_the_whole_precision(server: Hub, tmp_path: Path) -> None:
    hashes = bring(server, tmp_path, variant="fp16")
    assert WEIGHTS.replace(".safetensors", ".fp16.safetensors") in hashes
    assert WEIGHTS not in hashes


def test_a_pinned_revision_is_asked_for(server: Hub, tmp_path: Path) -> None:
    bring(server, tmp_path, revision=COMMIT)
    assert server.asked[0][0].startswith(f"/api/models/kiln/tiny/revision/{COMMIT}")
    with pytest.raises(InvalidManifest, match="gave the revision"):
        hub.look_up(source(revision="f" * 40), endpoint=server.url)


def test_a_connection_that_breaks_is_made_again_where_it_was(server: Hub, tmp_path: Path) -> None:
    server.breaks_after = [200_000, 100_000]
    bring(server, tmp_path)
    ranges = [part for path, part in server.asked if path.endswith("model.safetensors")]
    assert ranges[0] == ""
    assert len(ranges) == 3
    assert (tmp_path / WEIGHTS).read_bytes() == FILES[WEIGHTS]


def test_a_connection_that_falls_silent_is_made_again(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "STALL_SECONDS", 0.5)
    server.breaks_after, server.falls_silent = [200_000], True
    bring(server, tmp_path)
    assert (tmp_path / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert not server.is_over.is_set()


def test_an_attempt_that_failed_is_gone_on_with_later(server: Hub, tmp_path: Path) -> None:
    server.breaks_after = [200_000, 0]
    with pytest.raises(InvalidManifest, match="broke off after 200 kB; run it again"):
        bring(server, tmp_path)
    assert not (tmp_path / WEIGHTS).exists()
    files = hub.look_up(source(), endpoint=server.url).files
    there = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert hub.still_to_come(files, tmp_path) == sum(file.size for file in files) - there
    server.breaks_after = []
    bring(server, tmp_path)
    assert [part for path, part in server.asked if path.endswith(WEIGHTS)][-1] == "bytes=200000-"
    assert (tmp_path / WEIGHTS).read_bytes() == FILES[WEIGHTS]


@pytest.mark.parametrize("name", [WEIGHTS, "prior/config.json"])
def test_a_file_that_is_another_is_refused_and_deleted(server: Hub, tmp_path: Path, name: str) -> None:
    server.served[name] = FILES[name][::-1]
    with pytest.raises(InvalidManifest, match="is not the file that the hub says"):
        bring(server, tmp_path)
    assert name not in names(tmp_path)
    del server.served[name]
    assert name in bring(server, tmp_path)


@pytest.mark.parametrize(
    ("code", "reason", "says"),
    [
        (401, "GatedRepo", "accept its licence"),
        (403, "GatedRepo", "accept its licence"),
        (401, "RepoNotFound", "is not there, or not for everybody"),
        (401, "", "is not there, or not for everybody"),  # what a hub says of both to who has no token
        (404, "RepoNotFound", "is not there"),
        (403, "", "is not there, or not for everybody"),
        (429, "", "fewer requests"),
        (503, "", r"failed \(status 503\)"),
        (404, "RevisionNotFound", "has no revision"),
    ],
)
def test_a_refusal_says_what_to_do(
    server: Hub, monkeypatch: pytest.MonkeyPatch, code: int, reason: str, says: str
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    server.refuses = (code, reason)
    with pytest.raises(hub.Unreachable, match=says) as caught:
        hub.look_up(source(), endpoint=server.url)
    assert "--from FOLDER" in str(caught.value)


def test_a_token_that_is_none_or_has_accepted_nothing_is_said_to_be(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    server.refuses, server.says = (401, ""), "Invalid credentials in Authorization header"
    with pytest.raises(hub.Unreachable, match="does not know the token in HF_TOKEN"):
        hub.look_up(source(), endpoint=server.url)
    for (code, reason), says in (
        ((403, "GatedRepo"), "with the account of HF_TOKEN"),
        ((403, ""), "token in HF_TOKEN may not read kiln/tiny"),
        ((404, "RepoNotFound"), "not for the account of HF_TOKEN"),
    ):
        server.refuses, server.says = (code, reason), ""
        with pytest.raises(hub.Unreachable, match=says):
            hub.look_up(source(), endpoint=server.url)


def test_who_may_ask_no_hub_is_told_by_what(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(hub.Unreachable, match="HF_HUB_OFFLINE is set: unset it"):
        hub.look_up(source(), endpoint=server.url)


def test_a_hub_that_is_not_there_is_said_to_be(server: Hub) -> None:
    with pytest.raises(hub.Unreachable, match="cannot be reached"):
        hub.look_up(source(), endpoint="http://127.0.0.1:1")


def test_too_little_room_is_said_before_the_first_byte(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = hub.look_up(source(), endpoint=server.url)
    full = shutil.disk_usage(tmp_path)._replace(free=hub.SPARE_BYTES + 100_000)
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: full)
    with pytest.raises(InvalidManifest, match=r"free, and .* are still to come"):
        hub.fetch(wanted, tmp_path, say=lambda line: None, endpoint=server.url)
    assert names(tmp_path) == {"model_index.json"}


def test_a_repository_without_an_index_is_no_pipeline(server: Hub, tmp_path: Path) -> None:
    del server.files["model_index.json"]
    with pytest.raises(InvalidManifest, match="no pipeline"):
        bring(server, tmp_path)


def test_names_that_lead_out_of_the_folder_are_left_alone() -> None:
    files = [
        hub.File(name, 1, "", "")
        for name in ("../x.json", "a/../../x.json", "/x.json", "a/.x.json", "a/b.json")
    ]
    assert [file.name for file in hub.allowed(files)] == ["a/b.json"]
