"""Ada, Mal and a vase, as the tests of `/api/v1` have them."""

from __future__ import annotations

from tests.api.conftest import key_with, world  # noqa: F401 - fixtures
