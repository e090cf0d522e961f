"""The cast at the API: Ada buys, Mal is an outsider, and there is a vase to be had.

Imports are in the fixtures: this file is read before Django is set up.
"""

from __future__ import annotations

import datetime as dt

import pytest


@pytest.fixture
def world(db):
    from marketplace import keys
    from tests.api.programs import Caller, World
    from tests.predictions import cast

    workspace, other = cast.payer(name="ada"), cast.payer(name="mal")
    _, ada = keys.make(workspace, name="Ada's")
    _, mal = keys.make(other, name="Mal's")
    return World(
        workspace=workspace,
        other=other,
        ada=Caller(ada),
        mal=Caller(mal),
        nobody=Caller(),
        model=cast.shelve(),
    )


@pytest.fixture
def key_with(world):
    """Make a key of Ada's workspace: `key_with(scopes=[...])`, `expired=True`, `revoked=True`."""
    from django.utils import timezone

    from marketplace import keys
    from tests.api.programs import Caller

    def make(*, scopes=None, expired: bool = False, revoked: bool = False) -> Caller:
        ends = timezone.now() - dt.timedelta(seconds=1) if expired else None
        row, text = keys.make(
            world.workspace, name="special", scopes=keys.SCOPES if scopes is None else scopes, expires_at=ends
        )
        if revoked:
            row.revoked_at = timezone.now()
            row.save()
        return Caller(text)

    return make
