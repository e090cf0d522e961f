"""Ada, Mal and a vase, in committed rows: the edge looks at them from threads and processes of its own.

Imports are in the fixtures: this file is read before Django is set up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class World:
    ada: Any
    mal: Any
    ada_key: str
    mal_key: str
    model: str

    def headers(self, key: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key or self.ada_key}"}


@pytest.fixture
def world(transactional_db):
    from marketplace import keys
    from marketplace.dispatch import redis_client
    from tests.predictions import cast

    redis_client().flushdb()
    ada, mal = cast.payer(name="ada", credit=100_000_000), cast.payer(name="mal")
    _, ada_key = keys.make(ada, name="Ada's")
    _, mal_key = keys.make(mal, name="Mal's")
    yield World(ada, mal, ada_key, mal_key, cast.shelve())
    redis_client().flushdb()


@pytest.fixture
def web(world):
    """A web process of the test's own, on its database: for who measures it, ends it, or asks what it remembers."""
    from tests.edge.web import serving

    with serving() as running:
        yield running


@pytest.fixture(scope="package")
def shared_web(django_db_setup):
    """One for the tests to which it is all the same what others asked it before."""
    from tests.edge.web import serving

    with serving() as running:
        yield running


@pytest.fixture
def folder(settings, tmp_path):
    """A media folder of the test's own, to see that nothing is left in it."""
    settings.MEDIA_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path},
        },
    }
    return tmp_path
