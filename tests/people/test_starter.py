"""Starter credit: to so many newcomers a day, in all and of one network; later ones get theirs another day."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F

from billing import ledger
from marketplace.models import User
from playground import arrivals

pytestmark = pytest.mark.django_db


def newcomer(name: str, address: str = "") -> tuple[User, int]:
    user = User.objects.create_user(f"{name}@example.test", "a long password")
    made, granted = arrivals.welcome(user, address=address)
    assert made is not None
    return user, granted


def a_day_passes() -> None:
    User.objects.exclude(starter_at=None).update(starter_at=F("starter_at") - timedelta(days=1))


def test_so_many_of_one_network(settings):
    settings.STARTER_CREDITS_PER_NETWORK = 2
    for number in range(4):
        user, granted = newcomer(f"near-{number}", "203.0.113.7")
        assert (granted > 0) == (number < 2)
        assert arrivals.is_waiting(user) == (number >= 2)
    assert newcomer("other", "203.0.113.8")[1] > 0
    assert newcomer("mapped", "::ffff:203.0.113.7")[1] == 0
    for number in range(3):
        assert (newcomer(f"six-{number}", f"2001:db8:1:2::{number + 1}")[1] > 0) == (number < 2)
    assert newcomer("six-else", "2001:db8:1:3::1")[1] > 0
    assert all(newcomer(f"here-{number}")[1] > 0 for number in range(3))
    assert "203.0.113" not in "".join(User.objects.values_list("starter_from", flat=True))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("a socket", "a socket"),
        ("", ""),
    ],
)
def test_what_one_household_has_to_itself(address, network):
    assert arrivals.network_of(address) == network


def test_who_waits_gets_it_once_at_a_later_sign_in(settings):
    settings.STARTER_CREDITS_PER_DAY = 1
    newcomer("first")
    user, granted = newcomer("second", "203.0.113.7")
    assert granted == 0
    workspace = user.workspaces.get()
    assert arrivals.welcome(user, address="203.0.113.7") == (None, 0)
    a_day_passes()
    assert arrivals.welcome(User.objects.get(pk=user.pk), address="203.0.113.9") == (
        None,
        settings.STARTER_CREDIT_MICROS,
    )
    again = User.objects.get(pk=user.pk)
    assert arrivals.welcome(again) == (None, 0)
    assert ledger.balance(workspace.pk).granted_micros == settings.STARTER_CREDIT_MICROS
    assert ledger.verify() == []


def test_no_limits_where_none_are_set(settings):
    settings.STARTER_CREDITS_PER_DAY = settings.STARTER_CREDITS_PER_NETWORK = 0
    assert all(newcomer(f"many-{number}", "203.0.113.7")[1] > 0 for number in range(7))


def test_nobody_waits_for_credit_that_is_not_given(settings):
    settings.STARTER_CREDIT_MICROS = 0
    user, granted = newcomer("late", "203.0.113.7")
    assert granted == 0
    assert not arrivals.is_waiting(user)
