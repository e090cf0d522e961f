"""People of a workspace, and their mails. Imports are in the fixtures: this file is read before Django is set up."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def plain_static_files(settings):
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture(autouse=True)
def forgetful_counters():
    from marketplace.dispatch import redis_client

    redis_client().flushdb()
    yield
    redis_client().flushdb()


@pytest.fixture
def team(db):
    from tests.people import cast

    return cast.team()
