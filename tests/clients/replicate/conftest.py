"""The cast of the API's own tests, with Replicate's words. Imports are in the fixtures: Django is not set up yet."""

from __future__ import annotations

import pytest

from tests.api.conftest import key_with

__all__ = ["key_with"]


@pytest.fixture
def world(db):
    from django.test import Client

    from marketplace import keys
    from tests.api.programs import Caller, World
    from tests.predictions import cast

    def caller(workspace=None):
        key = keys.make(workspace, name="theirs")[1] if workspace is not None else None
        return Caller(key, Client(headers={"host": "testserver"}))

    ada, mal = cast.payer(name="ada"), cast.payer(name="mal")
    return World(
        workspace=ada, other=mal, ada=caller(ada), mal=caller(mal), nobody=caller(), model=cast.shelve()
    )


@pytest.fixture
def receiver(settings):
    from tests.webhooks.receiver import running

    settings.OUTBOUND_PRIVATE = "loopback"
    with running() as one:
        yield one
