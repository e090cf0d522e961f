"""Invitations: one link, one week, one address, once."""

from __future__ import annotations

import datetime as dt
import functools

import pytest
from django.utils import timezone

from marketplace import people
from marketplace.models import Invitation, Membership, User
from tests.at_once import at_once
from tests.people import cast

BOB = "bob@example.test"


@pytest.fixture
def bob(db):
    return User.objects.create_user(BOB, cast.PASSWORD, name="Bob")


def accept(token, user):
    return people.accept(token, user, addresses=people.addresses_of(user))


def earlier(**span):
    past = timezone.now() - dt.timedelta(**span)
    Invitation.objects.update(sent_at=past, expires_at=past + dt.timedelta(days=7))


def test_the_mailed_link_lets_the_invited_in(team, bob):
    token = cast.invite(team, "Bob@Example.test", "billing")
    letter = cast.letters()[-1]
    assert (letter.to, letter.subject) == ([BOB], "owner invites you to Northlight on Vitrine")
    assert token in letter.body
    assert accept(token, bob).role == "billing"
    assert people.membership_of(bob).workspace == team.workspace
    with pytest.raises(people.NoSuchInvitation):
        accept(token, bob)


def test_the_token_is_not_kept(team):
    token = cast.invite(team, BOB)
    row = Invitation.objects.get()
    assert token not in str(row.__dict__)


def test_a_forwarded_link_lets_nobody_else_in(team):
    token = cast.invite(team, BOB)
    with pytest.raises(people.ForSomebodyElse):
        accept(token, team.users["outsider"])
    assert people.find_invitation(token).email == BOB


@pytest.mark.parametrize("token", ["", "nothing", "x" * 5000, "%00", "\x00"])
def test_tokens_that_open_nothing(team, token):
    cast.invite(team, BOB)
    with pytest.raises(people.NoSuchInvitation):
        people.find_invitation(token)


def test_it_ends_by_time_by_withdrawal_and_by_a_newer_one(team, bob):
    token = cast.invite(team, BOB)
    earlier(days=8)
    with pytest.raises(people.NoSuchInvitation):
        accept(token, bob)
    newer = cast.invite(team, BOB)
    with pytest.raises(people.NoSuchInvitation):
        accept(token, bob)
    people.revoke(team.workspace, Invitation.objects.get().public_id, by=team.users["admin"])
    with pytest.raises(people.NoSuchInvitation):
        accept(newer, bob)
    assert not Membership.objects.filter(user=bob).exists()


def test_who_is_a_member_keeps_their_role(team):
    developer = team.users["developer"]
    token = cast.invite(team, "dev@elsewhere.test", "billing")
    Invitation.objects.update(email=developer.email)
    assert accept(token, developer).role == "developer"


@pytest.mark.parametrize("by", ["developer", "billing", "outsider"])
def test_who_may_not_invites_nobody(team, by):
    with pytest.raises(people.Refused):
        cast.invite(team, BOB, by=by)
    cast.invite(team, BOB)
    row = Invitation.objects.get()
    with pytest.raises(people.Refused):
        people.revoke(team.workspace, row.public_id, by=team.users[by])


def test_owners_are_invited_by_owners(team):
    with pytest.raises(people.Refused):
        cast.invite(team, BOB, "owner", by="admin")
    cast.invite(team, BOB, "owner", by="owner")
    earlier(minutes=5)
    row = Invitation.objects.get()
    with pytest.raises(people.Refused):
        people.resend(team.workspace, row.public_id, by=team.users["admin"], link=str)


@pytest.mark.parametrize("email", ["", "nobody", "a b@c.d", "a@b\nBcc: x@y.z", f"{'a' * 300}@b.c"])
def test_what_is_no_address_is_refused(team, email):
    with pytest.raises(people.Refused):
        cast.invite(team, email)
    assert not Invitation.objects.exists()


def test_nobody_is_flooded(team):
    cast.invite(team, BOB)
    with pytest.raises(people.Refused, match="a minute"):
        cast.invite(team, BOB)
    Invitation.objects.update(sends=50)
    with pytest.raises(people.Refused, match="A workspace sends"):
        cast.invite(team, "carol@example.test")
    owner = team.users["owner"]
    second = people.found_workspace(owner, name="Second")
    with pytest.raises(people.Refused, match="A person sends"):
        people.invite(second, "carol@example.test", "developer", by=owner, link=str)
    earlier(days=2)
    cast.invite(team, "carol@example.test")


def test_another_workspaces_invitation_is_none(team):
    cast.invite(team, BOB)
    elsewhere = people.workspace_of(team.users["outsider"])
    with pytest.raises(people.NoSuchInvitation):
        people.revoke(elsewhere, Invitation.objects.get().public_id, by=team.users["outsider"])


@pytest.mark.django_db(transaction=True)
def test_accepted_many_times_at_once_it_counts_once():
    team = cast.team()
    bob = User.objects.create_user(BOB, cast.PASSWORD)
    token = cast.invite(team, BOB)
    results = at_once(*[functools.partial(accept, token, bob) for _ in range(6)])
    assert sum(isinstance(one, Membership) for one in results) == 1
    assert all(isinstance(one, (Membership, people.NoSuchInvitation)) for one in results)


@pytest.mark.django_db(transaction=True)
def test_asked_many_times_at_once_there_is_one_open_invitation():
    team = cast.team()
    results = at_once(*[functools.partial(cast.invite, team, BOB) for _ in range(6)])
    assert sum(isinstance(one, str) for one in results) == 1
    assert Invitation.objects.count() == 1
