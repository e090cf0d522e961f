"""The three unmodified clients over their whole surface, against a whole stack: each is a program as users write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import running
from tests.predictions import cast

PROGRAMS = Path(__file__).parent / "programs"
PNG = "89504e47"
PUBLISH = """
from tests.clients.replicate.test_clients import shelve_painter; shelve_painter()
"""


def shelve_painter() -> None:
    """A model that takes a picture, which a real engine runs without weights."""
    from marketplace import catalog
    from marketplace.models import Publisher

    card = cast.manifest(name="painter", lane="cpu", recipe={"family": "testcard", "weights": ""})
    card["endpoint"]["input"]["properties"]["image"] = {
        "type": "string",
        "x-media": ["image/*"],
        "x-order": 9,
    }
    catalog.publish(Publisher.objects.get(name="vitrine"), card)


@pytest.fixture(scope="module")
def painter(stack):
    stack.manage("shell", "-c", PUBLISH)
    return "vitrine/painter"


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    file = tmp_path_factory.mktemp("replicate") / "vase.png"
    file.write_bytes(cast.png(40, edge=64))
    return file


MODEL = "vitrine/daylight"
FILE = ["FileOutput", PNG]  # the client's own type, with a picture to be read from it


def test_version_1_for_python(stack, painter, picture):
    settings = {"REPLICATE_BASE_URL": stack.url, "REPLICATE_API_TOKEN": stack.key}
    seen = running.python(PROGRAMS / "first.py", settings, MODEL, painter, picture, clients="replicate-1")
    assert seen["run"] == [FILE, FILE]
    assert seen["run_version"][0][0] == "FileOutput"
    assert [seen["run_async"], seen["run_file"], seen["run_base64"]] == [1, 1, 1]
    assert seen["model_error"] == ["failed", True]

    assert seen["created"] == ["starting", 26, True, ["cancel", "get", "stream", "web"]]
    assert seen["waited"] == ["succeeded", 1.0, True]
    assert seen["outputs"] == ["/media/"]
    assert [seen["blocked"], seen["canceled"]] == ["succeeded", "canceled"]
    assert seen["listed"] == [True, True]
    assert seen["streamed"] == ["output", "done"]

    assert sorted(seen["told"]) == [[True, "processing"], [True, "succeeded"]]
    assert seen["forged"] == "InvalidSignatureError"

    assert seen["file"] == ["vase.png", "image/png", {"shelf": 3}, "", True]
    assert [seen["file_listed"], seen["file_read"], seen["file_deleted"]] == [True, True, [True, 404]]

    version = seen["version_id"]
    assert seen["model"][:3] == ["vitrine", "daylight", "public"]
    assert seen["input"] == ["adapters", "guidance_scale", "height"]
    assert [seen["models"], seen["found"], seen["version"]] == [True, [MODEL], version]
    assert version in seen["versions"]
    assert "text-to-image" in seen["collections"]
    assert [seen["collection"], seen["hardware"], seen["account"]] == [True, ["cpu"], ["organization", True]]
    assert [seen["deployments"], seen["trainings"]] == [0, 0]

    wrong = seen["errors"]
    assert wrong["key"][:2] == [401, "Unauthenticated"]
    assert wrong["version"][:2] == [422, "Invalid version or not permitted"]
    assert wrong["input"][:2] == [422, "Input validation failed"]
    assert "num_outputs" in wrong["input"][2]
    assert [wrong[name][0] for name in ("model", "deployment", "training")] == [404, 404, 501]


def test_version_2_for_python(stack, painter, picture):
    """Over TLS, where addresses of files are taken for files."""
    settings = {
        "REPLICATE_BASE_URL": f"https://localhost:{stack.tls_port}/v1",
        "REPLICATE_API_TOKEN": stack.key,
        "SSL_CERT_FILE": str(stack.data / "tls" / "ca.pem"),
    }
    seen = running.python(PROGRAMS / "second.py", settings, MODEL, painter, picture)
    assert seen["run"] == [FILE, FILE]
    assert seen["run_version"] == ["FileOutput"]
    assert seen["run_async"] == ["AsyncFileOutput", PNG]
    assert [seen["run_file"], seen["use"], seen["use_streaming"], seen["stream"]] == [1, [PNG], 1, 1]
    assert seen["model_error"] == "failed"

    assert seen["created"] == ["succeeded", True, True]
    assert seen["asked"] == ["starting", None]
    assert [seen["waited"], seen["canceled"]] == ["succeeded", "canceled"]
    assert [seen["listed"], seen["listed_before"]] == [[True, True], False]

    assert seen["file"] == ["image/png", {"shelf": "3"}, True]  # this client sends what it is told as text
    assert [seen["downloaded"], seen["file_listed"]] == [True, True]
    assert [seen["bad_signature"], seen["file_deleted"]] == [
        ["PermissionDeniedError", 403],
        ["NotFoundError", 404],
    ]

    assert [seen["models"], seen["found"], seen["searched"]] == [True, [MODEL], ["daylight"]]
    assert [seen["readme"], seen["examples"], seen["versions"], seen["version"]] == ["#", [], True, True]
    assert "text-to-image" in seen["collections"]
    assert [seen["collection"], seen["hardware"]] == ["text-to-image", ["cpu"]]
    assert [seen["deployments"], seen["trainings"]] == [0, 0]

    wrong = seen["errors"]
    assert wrong["key"][:2] == ["AuthenticationError", 401]
    assert wrong["input"][:2] == ["UnprocessableEntityError", 422]
    assert [wrong["model"][1], wrong["deployment"][1]] == [404, 404]
    assert [wrong["make"][:2], wrong["train"][:2]] == [["InternalServerError", 501]] * 2


def test_javascript(stack, painter, picture):
    settings = {"REPLICATE_API_TOKEN": stack.key}
    program = PROGRAMS / "browserless.mjs"
    seen = running.javascript(program, settings, f"{stack.url}/v1", MODEL, painter, picture)
    assert seen["run"] == [PNG, PNG]
    assert seen["states"] == ["succeeded", True]
    assert [seen["run_version"], seen["run_buffer"], seen["run_blob"]] == [1, 1, 1]
    assert seen["leaked"] == ["ApiError", 422]
    assert seen["failed"][0] == "Error"
    assert seen["failed"][1].startswith("Prediction failed: ")
    assert seen["streamed"] == ["output", "done"]
    assert seen["streamed_file"] == PNG

    assert seen["created"] == "starting"
    assert seen["waited"][0] == "succeeded"
    assert seen["waited"][1] == {"percentage": 1, "current": 4, "total": 4}
    assert [seen["canceled"], seen["read"]] == ["canceled", "canceled"]
    assert seen["listed"] == [True, True]
    assert seen["told"] == [[True, False, "succeeded"]]

    assert seen["file"] == ["vase.png", "image/png", {"shelf": 3}]
    assert [seen["file_listed"], seen["file_read"]] == [True, True]
    assert seen["file_deleted"] == [True, ["ApiError", 404]]

    assert [seen["models"], seen["found"], seen["version"]] == [True, [MODEL], True]
    assert True in seen["versions"]
    assert "text-to-image" in seen["collections"]
    assert [seen["collection"], seen["hardware"], seen["account"]] == [True, ["cpu"], "organization"]
    assert [seen["deployments"], seen["trainings"]] == [0, 0]
    statuses = {name: said[1] for name, said in seen["errors"].items()}
    assert statuses == {"key": 401, "model": 404, "input": 422, "deployment": 404, "deploy": 501}


REFUSED = {"models": [501, 404, 404], "trainings": [404, 404]}


def test_version_1_for_python_beside(stack, picture):
    """With the address that version 2 has to be given: both read it from one variable."""
    settings = {"REPLICATE_BASE_URL": f"{stack.url}/v1", "REPLICATE_API_TOKEN": stack.key}
    program = PROGRAMS / "first_beside.py"
    seen = running.python(program, settings, MODEL, picture, clients="replicate-1")
    assert seen["not_waited"] == "starting"
    assert [seen["objects"], seen["async_objects"], seen["reloaded"]] == [[1, 1], 1, "daylight"]
    assert [seen["addresses"], seen["polled"], seen["blocked"]] == [["str"], 1, "succeeded"]
    assert [seen["iterated"], seen["streamed"]] == [1, "done"]

    assert seen["async_streamed"] == ["output", "done"]
    assert [seen["async_iterated"], seen["async_followed"]] == [1, "done"]
    assert seen["async_ends"] == ["succeeded", "canceled", "succeeded"]
    assert seen["async_listed"] is True
    assert seen["async_file"] == ["vase.png", {"shelf": 3}, True, True]
    assert seen["async_models"] == ["daylight", True, True, True, [MODEL]]
    assert seen["async_around"] == [True, ["cpu"], "organization", "whsec_", 0, 0]
    assert seen["async_refused"] == {**REFUSED, "deployments": [404, 404, 404]}
    assert seen["refused"] == {**REFUSED, "deployments": [501, 404, 404, 404]}

    states = [status for status, _ in seen["told"]]
    assert states[-1] == "succeeded"
    assert set(states[:-1]) == {"processing"}
    lines = [count for _, count in seen["told"]]
    assert lines[-1] == 40
    assert any(count > 0 for count in lines[:-1])  # told while it went on


def test_version_2_for_python_beside(stack, painter, picture):
    """With the address that version 1 has to be given."""
    settings = {"REPLICATE_BASE_URL": stack.url, "REPLICATE_API_TOKEN": stack.key}
    seen = running.python(PROGRAMS / "second_beside.py", settings, MODEL, painter, picture)
    assert [seen["polled"], seen["addresses"], seen["base64"]] == [["str"], ["str"], 1]
    assert [seen["use"], seen["use_version"]] == [[1, 4], 1]
    assert [seen["raw"], seen["streaming_response"]] == [[201, "wait=30", True], "succeeded"]
    assert [seen["blocked"], seen["page"]] == [["succeeded", 1, False], True]
    assert seen["async"] == ["succeeded", "succeeded", True]
    assert [seen["async_use"], seen["async_file"]] == [1, True]
    around = [
        "organization",
        "daylight",
        ["daylight"],
        ["daylight"],
        seen["async_around"][4],
        ["cpu"],
        "whsec_",
    ]
    assert seen["async_around"] == around
    assert seen["async_around"][4]
    assert seen["refused"] == {
        **REFUSED,
        "models": [501, 404, 404, 404],
        "deployments": [404, 404, 404],
        "collections": [404],
    }


def test_javascript_beside(stack):
    seen = running.javascript(PROGRAMS / "beside.mjs", {"REPLICATE_API_TOKEN": stack.key}, stack.url, MODEL)
    assert [seen["addresses"], seen["blocked"]] == [["string"], ["succeeded", 1, False]]
    assert [seen["aborted"], seen["streamed"]] == ["canceled", ["output", "done"]]
    assert [seen["asked"], seen["shelf"]] == [True, True]
    assert seen["refused"] == {
        "models": [501],
        "deployments": [501, 404, 404, 404],
        "trainings": [501, 404, 404],
        "collections": [404],
    }
