"""Roles, removing, leaving: who may, what is refused, and that a workspace always has an owner."""

from __future__ import annotations

import functools

import pytest

from marketplace import people
from marketplace.models import Membership, User, Workspace
from tests.at_once import at_once
from tests.people import cast


def test_an_owner_gives_every_role(team):
    for role in ("admin", "billing", "owner"):
        people.change_role(team.workspace, team.users["developer"].public_id, role, by=team.users["owner"])
        assert team.role_of("developer") == role


@pytest.mark.parametrize("by", ["developer", "billing", "outsider"])
def test_who_may_not_changes_nobody(team, by):
    member = team.users["admin"].public_id
    with pytest.raises(people.Refused):
        people.change_role(team.workspace, member, "billing", by=team.users[by])
    with pytest.raises(people.Refused):
        people.remove(team.workspace, member, by=team.users[by])
    assert team.role_of("admin") == "admin"


def test_an_admin_makes_no_owner_and_unmakes_none(team):
    admin = team.users["admin"]
    with pytest.raises(people.Refused):
        people.change_role(team.workspace, admin.public_id, "owner", by=admin)
    with pytest.raises(people.Refused):
        people.change_role(team.workspace, team.users["owner"].public_id, "billing", by=admin)
    with pytest.raises(people.Refused):
        people.remove(team.workspace, team.users["owner"].public_id, by=admin)
    people.remove(team.workspace, team.users["billing"].public_id, by=admin)
    assert (team.role_of("owner"), team.role_of("admin"), team.role_of("billing")) == ("owner", "admin", None)


def test_the_last_owner_stays_one(team):
    owner = team.users["owner"]
    with pytest.raises(people.Refused):
        people.leave(team.workspace, owner)
    with pytest.raises(people.Refused):
        people.change_role(team.workspace, owner.public_id, "admin", by=owner)
    with pytest.raises(people.Refused):
        people.remove(team.workspace, owner.public_id, by=owner)
    people.change_role(team.workspace, team.users["admin"].public_id, "owner", by=owner)
    people.leave(team.workspace, owner)
    assert (team.role_of("owner"), team.role_of("admin")) == (None, "owner")


def test_members_of_other_workspaces_are_nobody_here(team):
    stranger = team.users["outsider"].public_id
    with pytest.raises(people.NoSuchMember):
        people.change_role(team.workspace, stranger, "admin", by=team.users["owner"])
    with pytest.raises(people.NoSuchMember):
        people.remove(team.workspace, stranger, by=team.users["owner"])
    with pytest.raises(people.NoSuchMember):
        people.leave(team.workspace, team.users["outsider"])


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_demote_each_other_leave_one():
    team = cast.team()
    team.workspace.memberships.filter(user=team.users["admin"]).update(role="owner")
    pair = [("owner", "admin"), ("admin", "owner")]
    acts = [
        functools.partial(
            people.change_role, team.workspace, team.users[other].public_id, "developer", by=team.users[by]
        )
        for by, other in pair
    ]
    results = at_once(*acts)
    assert sorted(type(one) for one in results if isinstance(one, Exception)) == [people.Refused]
    assert team.workspace.memberships.filter(role="owner").count() == 1


@pytest.mark.django_db(transaction=True)
def test_all_owners_who_leave_at_once_leave_one():
    team = cast.team()
    team.workspace.memberships.update(role="owner")
    results = at_once(
        *[functools.partial(people.leave, team.workspace, team.users[one]) for one in cast.ROLES]
    )
    assert sum(isinstance(one, people.Refused) for one in results) == 1
    assert team.workspace.memberships.count() == 1


def test_names_become_free_slugs(db):
    owner = User.objects.create_user("ada@example.test", cast.PASSWORD)
    made = [people.found_workspace(owner, name="Ada & Söhne") for _ in range(3)]
    assert made[0].slug == "ada-sohne"
    assert len({one.slug for one in made}) == 3
    assert all(one.name == "Ada & Söhne" for one in made)
    assert people.found_workspace(owner, name="API").slug.startswith("api-")
    assert people.found_workspace(owner, name="日本").slug.startswith("workspace-")
    assert len(people.found_workspace(owner, name="x" * 80).slug) <= 39


@pytest.mark.parametrize("name", ["", "   ", "\u202e\u200b", "\u3164\u2800", "\ufe0f\u0301", "x" * 81])
def test_names_that_say_nothing_are_refused(db, name):
    owner = User.objects.create_user("ada@example.test", cast.PASSWORD)
    with pytest.raises(people.InvalidName):
        people.found_workspace(owner, name=name)


@pytest.mark.parametrize("slug", ["api", "accounts", "w", "A", "a b", "-a", "a" * 40])
def test_slugs_that_the_site_needs_are_refused(db, slug):
    with pytest.raises(people.InvalidName):
        people.make_workspace(slug)


@pytest.mark.django_db(transaction=True)
def test_the_same_name_at_once_gets_two_slugs_and_nobody_owns_too_many():
    owner = User.objects.create_user("ada@example.test", cast.PASSWORD)
    results = at_once(*[functools.partial(people.found_workspace, owner, name="Kiln") for _ in range(8)])
    assert len({one.slug for one in results}) == 8
    for number in range(20 - 8):
        people.found_workspace(owner, name=f"More {number}")
    with pytest.raises(people.TooMany):
        people.found_workspace(owner, name="One more")
    assert Membership.objects.filter(user=owner).count() == Workspace.objects.count() == 20


@pytest.mark.django_db(transaction=True)
def test_of_two_who_come_first_one_is_staff():
    made = at_once(
        *[functools.partial(User.objects.create_user, f"{n}@example.test", hashed="!") for n in range(6)]
    )
    assert sum(user.is_staff for user in made) == 1
