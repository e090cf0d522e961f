"""Codes and gifts: once to each, as often as they may, and until they end."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from billing import ledger, topups
from billing.models.credit import CouponUse
from billing.topups import coupons
from tests.billing.buyers import (
    USD,
    available,
    clean_books,
    in_parallel,
)
from tests.billing.cast import new_workspace


def test_a_code_gives_credit_once_to_each(stripe_sandbox, ada):
    row = coupons.make(5 * USD, source="Launch", code="launch-2027", most=2, credit_days=30)
    eve, mal = new_workspace(), new_workspace()
    assert coupons.use(ada, " launch-2027 ", by=None) == 5 * USD
    with pytest.raises(topups.Refused, match="has used"):
        coupons.use(ada, "LAUNCH-2027", by=None)
    assert coupons.use(eve, "LAUNCH-2027", by=None) == 5 * USD
    with pytest.raises(topups.Refused, match="no such code"):
        coupons.use(mal, "LAUNCH-2027", by=None)
    assert (available(ada), available(eve), available(mal)) == (5 * USD, 5 * USD, 0)
    assert ledger.balance(ada.pk).granted_micros == 5 * USD
    later = timezone.now() + timedelta(days=31)
    assert ledger.expire_grants(now=later) == 10 * USD
    row.refresh_from_db()
    assert row.used == 2
    clean_books()


def test_a_person_uses_a_code_in_one_of_their_workspaces(stripe_sandbox, ada):
    coupons.make(5 * USD, source="Launch", code="LAUNCH-2027", most=100)
    person, second = ada.memberships.get().user, new_workspace()
    assert coupons.use(ada, "LAUNCH-2027", by=person) == 5 * USD
    with pytest.raises(topups.Refused, match="another workspace"):
        coupons.use(second, "LAUNCH-2027", by=person)
    assert available(second) == 0
    clean_books()


def test_the_last_use_of_a_code_is_one(stripe_sandbox):
    coupons.make(5 * USD, source="Launch", code="ONLY-ONE")
    rooms = [new_workspace() for _ in range(5)]

    def use(room):
        with contextlib.suppress(topups.Refused):
            coupons.use(room, "ONLY-ONE", by=None)

    in_parallel([lambda room=room: use(room) for room in rooms])
    assert CouponUse.objects.count() == 1
    assert sum(available(room) for room in rooms) == 5 * USD


@pytest.mark.django_db
@pytest.mark.parametrize("code", ["", "NOBODY-KNOWS", "\0", "x" * 500, "' OR 1=1 --", "ＬＡＵＮＣＨ"])
def test_codes_that_are_none(code):
    coupons.make(5 * USD, source="Launch", code="OVER-NOW", until=timezone.now() - timedelta(seconds=1))
    assert coupons.make(5 * USD, source="Launch", code="CLOSED-1")
    assert coupons.close("closed-1")
    room = new_workspace()
    for one in (code, "OVER-NOW", "CLOSED-1"):
        with pytest.raises(topups.Refused):
            coupons.use(room, one, by=None)


@pytest.mark.django_db
def test_coupons_that_cannot_be():
    for wrong in (
        {"amount_micros": 0},
        {"amount_micros": -1},
        {"amount_micros": 10**15},
        {"code": "short"},
        {"code": "has spaces in it"},
        {"most": 0},
        {"source": " "},
        {"credit_days": 0},
    ):
        given = {"amount_micros": USD, "source": "x", "code": "GOOD-CODE", **wrong}
        with pytest.raises(topups.Refused):
            coupons.make(given.pop("amount_micros"), **given)
    made = {coupons.make(USD, source="x" * 81).code for _ in range(20)}
    assert len(made) == 20
    assert all(coupons.CODE.fullmatch(one) and len(one) == 19 for one in made)


@pytest.mark.django_db
def test_a_gift_is_given_once():
    room, key = new_workspace(), uuid4()
    assert coupons.grant(room, 5 * USD, source="conference", key=key, days=3)
    assert not coupons.grant(room, 5 * USD, source="conference", key=key, days=3)
    assert available(room) == 5 * USD
