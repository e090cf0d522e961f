"""Ada's workspace, a vase to run, and a server of hers. Imports are in the fixtures: Django is not set up yet."""

from __future__ import annotations

import pytest


@pytest.fixture
def receiver(settings):
    from tests.webhooks.receiver import running

    settings.OUTBOUND_PRIVATE = "loopback"
    with running() as one:
        yield one


@pytest.fixture
def ada(db):
    from tests.predictions import cast

    cast.shelve()
    return cast.payer(name="ada")
