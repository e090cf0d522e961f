"""Heads that are too long: a browser that looks at a page is told by a page, a program by a problem."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from django.core.management import call_command
from django.test import override_settings

from playground.edge.overlong import REST_BYTES, Rest, path_of
from tests.edge.web import serving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def pages_web(django_db_setup):
    """A web process that can draw pages: their files are collected, if not compressed."""
    from django.conf import settings

    kept = {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}
    with override_settings(STORAGES={**settings.STORAGES, "staticfiles": kept}):
        call_command("collectstatic", interactive=False, verbosity=0)
    with serving() as running:
        yield running


BROWSER = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
COOKIES = b"Cookie: %s\r\n" % (b"x" * 9000) * 4
LONG = b"x" * 40_000


@pytest.mark.parametrize(
    ("pieces", "status", "said"),
    [
        (
            [b"GET /?q=" + LONG + b" HTTP/1.1\r\nHost: localhost\r\n" + BROWSER],
            414,
            b"That address is too long",
        ),
        (
            [b"GET /?q=" + LONG, LONG + b" HTTP/1.1\r\nHost: l", b"ocalhost\r\nAcc", BROWSER[3:]],
            414,
            b"address is too",
        ),
        ([b"GET / HTTP/1.1\r\n" + BROWSER + COOKIES], 431, b"Your browser sent too much along"),
        ([b"GET / HTTP/1.1\r\n" + COOKIES, b"Host: localhost\r\n" + BROWSER], 431, b"too much along"),
        ([b"GET / HTTP/1.1\r\n" + b"X-Many: 1\r\n" * 500 + BROWSER], 431, b"too much along"),
        (
            [b"GET / HTTP/1.1\r\n" + b"X-Many: 1\r\n" * 499 + BROWSER + b"X-Last: 1\r\n"],
            431,
            b"too much along",
        ),
        ([b"GET /?q=" + LONG + b" HTTP/1.1\r\nAccept: */*\r\n"], 414, None),
        ([b"GET /?q=" + LONG + b" HTTP/1.1\r\nHost: localhost\r\n"], 414, None),
        ([b"GET /%61pi/v1/models?q=" + LONG + b" HTTP/1.1\r\n" + BROWSER], 414, None),
        ([b"GET /api/v1/models HTTP/1.1\r\n" + COOKIES + BROWSER], 431, None),
        ([b"GET /?q=" + LONG * 10], 414, None),  # and no end of it
    ],
    ids=lambda value: "",
)
def test_a_head_beyond_measure_is_told_to_a_browser_by_a_page(pages_web, pieces, status, said):
    with pages_web.open() as line:
        answer = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for piece in [*pieces, b"\r\n"]:
                line.sendall(piece)
                time.sleep(0.02)  # so that they come one by one
        with contextlib.suppress(ConnectionResetError):
            while more := line.recv(4000):
                answer += more
    start, _, body = answer.partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 %d " % status)
    if said is None:
        assert json.loads(body)["status"] == status
    else:
        assert b"text/html; charset=utf-8" in start
        assert said in body


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([b"Host: a\r\nAccept: text/html\r\n"], True),
        ([b"acc", b"ept: text", b"/html", b"\r\n"], True),
        ([b"Accept: text/html"], None),  # it may go on
        ([b"Accept: */*\r\n"], False),
        ([b"X: " + b"x" * 5000, b"Accept: text/html\r\n"], None),  # within another
        ([b"X: " + b"x" * 5000, b"\r\nAccept: text/html\r\n"], True),
        ([b"Accept: text/html;q=" + b"0" * 5000 + b"\r\n"], True),
        ([b"Host: a\r\n\r\nAccept: text/html\r\n"], False),  # of the next request, or the body
        ([b"Host: a\n\n"], False),
        ([b"x" * REST_BYTES], None),
        ([b"x" * REST_BYTES, b"x"], False),
    ],
    ids=lambda value: "",
)
def test_the_rest_of_a_head_says_who_asks(pieces, wanted):
    rest = Rest()
    answers = [rest.asks_for_page(piece) for piece in pieces]
    assert answers == [None] * (len(pieces) - 1) + [wanted]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"GET /api/v1/models?q=x HTTP/1.1", "/api/v1/models"),
        (b"GET /%61pi/v1/x", "/api/v1/x"),
        (b"GET /" + b"x" * 5000, "/" + "x" * 1019),
        (b"nonsense", ""),
        (b"", ""),
    ],
)
def test_the_path_of_a_line_that_is_cut(line, path):
    assert path_of(line) == path
