"""The cast at the pages: Ada runs, Mal is an outsider, nobody is signed in, and there is a model with every control.

Imports are in the fixtures: this file is read before Django is set up.
"""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def plain_static_files(settings):
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture(autouse=True)
def forgetful_cache():
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def world(db):
    from tests.pages import world

    return world.build()
