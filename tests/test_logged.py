"""What of an answer in the five hundreds is written to the log."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.utils.log import log_response


@pytest.mark.parametrize(
    ("status", "level"),
    [(500, "ERROR"), (501, "INFO"), (502, "ERROR"), (503, "ERROR"), (504, None), (404, None)],
)
def test_what_is_answered_on_purpose_is_no_error(
    caplog: pytest.LogCaptureFixture, status: int, level: str | None
) -> None:
    log_response("%s: %s", "A reason", "/v1/x", response=HttpResponse(status=status))
    assert [one.levelname for one in caplog.records] == ([level] if level else [])
