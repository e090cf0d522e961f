"""What the edge turns away: a browser that looks at a page is told by a page, a program by a problem."""

from __future__ import annotations

import json

import pytest

from tests.edge.asgi import begin, run

pytestmark = pytest.mark.django_db(transaction=True)
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "X-Request-Id": "a-request-of-mine"}


@pytest.fixture(autouse=True)
def small(settings):
    settings.MAX_BODY_BYTES = 10_000
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


def turned_away(path: str, headers: dict[str, str], length: int = 10_001):
    async def story():
        exchange = begin("POST", path, headers={**headers, "Content-Length": str(length)}, body=None)
        status, answered = await exchange.start()
        return status, answered, (await exchange.body()).decode()

    return run(story())


@pytest.mark.parametrize(
    ("path", "length", "status", "said"),
    [
        ("/dashboard/keys/new", 10_001, 413, "That is more than we take at once"),
        ("/nothing-here", 5, 404, "There is nothing here"),
    ],
)
def test_a_browser_gets_a_page(world, path, length, status, said):
    answered, headers, body = turned_away(path, BROWSER, length)
    assert answered == status
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert said in body
    assert "a-request-of-mine" in body


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/dashboard/keys/new", {"Accept": "*/*"}),
        ("/dashboard/keys/new", {}),
        ("/api/v1/predictions", BROWSER),
    ],
)
def test_a_program_gets_a_problem(world, path, headers):
    status, answered, body = turned_away(path, headers)
    assert status == 413
    assert answered["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "body_too_large"
