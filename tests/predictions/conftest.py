"""Who pays. Imports are in the fixture: this file is read before Django is set up."""

from __future__ import annotations

import pytest


@pytest.fixture
def payer(db):
    """A workspace with credit, and a vase on the shelf; at the end the books add up."""
    from tests.predictions import cast

    cast.shelve()
    yield cast.payer(credit=cast.CREDIT)
    cast.money_is_right()
