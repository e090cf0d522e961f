"""The plain protocol beside the real ones."""

from __future__ import annotations

import pytest

from tests.edge.conftest import world  # noqa: F401 - Ada, Mal and a vase


@pytest.fixture
def plain(settings, monkeypatch):
    from playground.edge import gate
    from playground.facades import dialects
    from tests.facades.plain.dialect import DIALECT

    real = dialects.dialects()
    monkeypatch.setattr(
        dialects, "dialects", lambda: (DIALECT, *(one for one in real if one.name != DIALECT.name))
    )
    settings.ROOT_URLCONF = "tests.facades.urls"
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "plain.test"]
    gate.view_at.cache_clear()
    yield DIALECT
    gate.view_at.cache_clear()
