"""Closing a workspace and deleting an account: all or nothing, against runs, workers and people at the same time."""

from __future__ import annotations

import functools
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from django.template.loader import render_to_string
from django.utils import timezone

from billing import ledger, payouts
from marketplace import keys, people
from marketplace.models import ApiKey, Invitation, Listing, Membership, Publisher, User, Workspace
from playground import arrivals, assets, departures, keyring, predictions, webhooks
from playground.models import Asset, Prediction, Webhook
from playground.predictions.share import opened, share
from tests.at_once import at_once
from tests.billing.cast import USAGE, new_workspace
from tests.people import cast
from tests.predictions import cast as runs


@pytest.fixture
def shelf(team):
    runs.shelve()
    yield
    runs.money_is_right()


def close(team, by="owner"):
    departures.close_workspace(team.workspace, by=team.users[by])


def made(workspace):
    row = runs.submit(workspace)
    (job,) = runs.claim()
    assert runs.succeed(job)
    return runs.again(row)


def test_everything_ends_and_the_books_stay(team, shelf):
    done = made(team.workspace)
    waiting = runs.submit(team.workspace)
    running = runs.submit(team.workspace)
    (job,) = runs.claim()
    runs.step(job, 2)
    _, text = keys.make(team.workspace, name="test")
    token = cast.invite(team, "bob@example.test")
    said = departures.preview(team.workspace)
    assert (said.open_runs, said.keys, said.media, said.members, said.listings) == (2, 1, 1, 4, [])
    assert said.balance.held_micros == 2 * runs.PRICE_MICROS
    close(team)
    assert {runs.again(row).status for row in (waiting, running)} == {"canceled"}
    assert {runs.again(row).cost_micros for row in (waiting, running)} == {0}
    assert not runs.succeed(job)
    balance = ledger.balance(team.workspace.pk)
    assert (balance.held_micros, balance.available_micros) == (0, runs.CREDIT - runs.PRICE_MICROS)
    assert runs.again(done).cost_micros == runs.PRICE_MICROS
    keys.forget()
    with pytest.raises(keys.InvalidKey):
        keys.resolve(text)
    with pytest.raises(people.NoSuchInvitation):
        people.find_invitation(token)
    assert [people.membership_of(user) for role, user in team.users.items() if role != "outsider"] == [
        None
    ] * 4
    assert assets.purge_expired() == 1
    predictions.tidy_daily()
    assert all(row.input == {} for row in Prediction.objects.of(team.workspace))


def test_what_is_earned_is_said_before_and_goes_on_to_be_paid(team, settings):
    settings.PAYOUT_METHODS = ["manual"]
    publisher = Publisher.objects.create(workspace=team.workspace, name="kiln")
    assert departures.preview(team.workspace).earned_micros == 0
    reference, buyer = uuid4(), new_workspace(bought=50_000_000)
    ledger.hold(workspace_id=buyer.pk, reference=reference, amount_micros=50_000_000)
    ledger.capture(
        reference=reference,
        amount_micros=50_000_000,
        share=ledger.Share(publisher.pk, Decimal("0.8")),
        usage=USAGE,
    )
    said = departures.preview(team.workspace)
    assert (said.earned_micros, said.pays_by_itself) == (40_000_000, False)
    assert "will not be by itself" in render_to_string("account/_leaving.html", {"leaving": said})
    payouts.set_method(publisher, "manual", bank_details="Kiln, IBAN 1", by=team.users["owner"])
    said = departures.preview(team.workspace)
    assert (said.earned_micros, said.pays_by_itself) == (40_000_000, True)
    assert "goes on to be paid" in render_to_string("account/_leaving.html", {"leaving": said})
    close(team)
    _, (payout,) = payouts.run(now=timezone.now() + timedelta(days=70))
    assert (payout.publisher, payout.amount_micros) == (publisher, 40_000_000)
    assert ledger.verify() == []


def test_a_closed_workspace_takes_no_run_and_no_key(team, shelf):
    close(team)
    with pytest.raises(predictions.WorkspaceClosed, match="deleted"):
        runs.submit(team.workspace)
    assert ledger.balance(team.workspace.pk).held_micros == 0
    _, text = keys.make(team.workspace, name="late")
    with pytest.raises(keys.InvalidKey, match="deleted"):
        keys.resolve(text)


def test_media_that_come_late_go_too(team, shelf):
    made(team.workspace)
    close(team)
    late = Asset.objects.get()
    late.expires_at = late.created_at + runs.later(days=9)
    late.save()
    predictions.tidy_daily()
    assert assets.purge_expired() == 1


def test_its_name_is_free_again(team):
    slug = team.workspace.slug
    close(team)
    assert people.make_workspace(slug).slug == slug


@pytest.mark.parametrize("by", ["admin", "developer", "billing", "outsider"])
def test_only_owners_close(team, by):
    with pytest.raises(people.Refused):
        close(team, by)
    assert not Workspace.objects.get(pk=team.workspace.pk).is_closed


def test_public_listings_forbid_it_and_nothing_has_happened(team):
    Publisher.objects.create(workspace=team.workspace, name="kiln")
    runs.shelve()
    _, text = keys.make(team.workspace, name="test")
    assert departures.preview(team.workspace).listings == ["kiln/vase"]
    with pytest.raises(departures.CannotGo, match="kiln/vase"):
        close(team)
    assert keys.resolve(text).workspace_id == team.workspace.pk
    assert team.workspace.memberships.count() == 4
    Listing.objects.update(visibility="private")
    close(team)


def test_an_account_goes_with_what_is_its_alone(team, shelf):
    admin = team.users["admin"]
    EmailAddress.objects.create(user=admin, email=admin.email, verified=True, primary=True)
    own = people.found_workspace(admin, name="Mine")
    row = runs.submit(team.workspace)
    Prediction.objects.update(created_by=admin)
    key, _ = keys.make(team.workspace, name="of the admin", by=admin)
    said = departures.preview_account(admin)
    assert ([one.workspace for one in said.closes], said.leaves, said.needs_owner) == (
        [own],
        [team.workspace],
        [],
    )
    departures.delete_account(admin)
    gone = User.objects.get(pk=admin.pk)
    assert gone.email == f"deleted-{gone.email[8:34]}@deleted.invalid"
    assert (gone.name, gone.is_active, gone.has_usable_password(), gone.closed_at is None) == (
        "",
        False,
        False,
        False,
    )
    assert not EmailAddress.objects.filter(user=gone).exists()
    assert Workspace.objects.get(pk=own.pk).is_closed
    assert not Workspace.objects.get(pk=team.workspace.pk).is_closed
    assert team.role_of("admin") is None
    assert runs.again(row).created_by_id == admin.pk
    assert ApiKey.objects.get(pk=key.pk).revoked_at is None
    assert User.objects.create_user("admin@example.test", cast.PASSWORD).pk != admin.pk


def test_the_only_owner_of_others_stays_until_there_is_another(team):
    owner = team.users["owner"]
    assert departures.preview_account(owner).needs_owner == [team.workspace]
    with pytest.raises(departures.CannotGo, match="Northlight"):
        departures.delete_account(owner)
    assert User.objects.get(pk=owner.pk).is_active
    people.change_role(team.workspace, team.users["admin"].public_id, "owner", by=owner)
    departures.delete_account(owner)
    assert team.workspace.memberships.count() == 3


def test_invitations_to_who_left_are_forgotten(team):
    bob = User.objects.create_user("bob@example.test", cast.PASSWORD)
    cast.invite(team, bob.email)
    departures.delete_account(bob)
    assert not Invitation.objects.filter(email="bob@example.test").exists()


def test_starter_credit_comes_once_to_a_person_and_to_an_address(db, settings):
    settings.STARTER_CREDIT_MICROS = 700
    bob = User.objects.create_user("bob@example.test", cast.PASSWORD, name="Bob")
    workspace, granted = arrivals.welcome(bob)
    assert (workspace.name, granted, ledger.balance(workspace.pk).granted_micros) == ("Bob", 700, 700)
    assert arrivals.welcome(bob) == (None, 0)
    departures.close_workspace(workspace, by=bob)
    again, granted = arrivals.welcome(User.objects.get(pk=bob.pk))
    assert (granted, ledger.balance(again.pk).available_micros) == (0, 0)
    departures.delete_account(User.objects.get(pk=bob.pk))
    newcomer = User.objects.create_user("Bob@example.test", cast.PASSWORD)
    assert arrivals.welcome(newcomer)[1] == 0
    assert ledger.verify() == []


@pytest.fixture
def crowd(transactional_db):
    team = cast.team()
    runs.shelve()
    yield team
    runs.money_is_right()


def test_closed_twice_at_once_it_closes_once(crowd):
    for _ in range(5):
        runs.submit(crowd.workspace)
    results = at_once(*[functools.partial(close, crowd) for _ in range(4)])
    assert sum(one is None for one in results) == 1
    assert {type(one) for one in results if one is not None} <= {people.NoSuchMember, people.Refused}
    assert not Prediction.objects.open().exists()


def test_runs_that_are_submitted_meanwhile_are_refused_or_canceled(crowd):
    def submit_some():
        taken = 0
        for _ in range(20):
            try:
                runs.submit(crowd.workspace)
            except predictions.CannotRun:
                continue
            taken += 1
        return taken

    results = at_once(*[submit_some] * 4, functools.partial(close, crowd))
    assert not [one for one in results if isinstance(one, Exception)]
    assert Prediction.objects.count() == sum(results[:4])
    assert not Prediction.objects.open().exists()


def test_runs_that_are_settled_meanwhile_settle_once(crowd):
    for _ in range(12):
        runs.submit(crowd.workspace)
    jobs = runs.claim(limit=4) + runs.claim(limit=4) + runs.claim(limit=4)

    def settle(some):
        return sum(runs.succeed(job) for job in some)

    halves = [functools.partial(settle, jobs[n::3]) for n in range(3)]
    results = at_once(*halves, functools.partial(close, crowd))
    assert not [one for one in results if isinstance(one, Exception)]
    done = Prediction.objects.filter(status="succeeded").count()
    assert done == sum(results[:3])
    assert Prediction.objects.filter(status="canceled").count() == len(jobs) - done
    assert ledger.balance(crowd.workspace.pk).available_micros == runs.CREDIT - done * runs.PRICE_MICROS


def test_who_leaves_and_who_joins_at_once_end_consistent(crowd):
    bob = User.objects.create_user("bob@example.test", cast.PASSWORD)
    token = cast.invite(crowd, bob.email)
    accept = functools.partial(people.accept, token, bob, addresses={bob.email})
    results = at_once(accept, functools.partial(departures.delete_account, bob))
    failed = {type(one) for one in results if isinstance(one, Exception)}
    assert failed <= {people.NoSuchInvitation, departures.CannotGo}
    if not User.objects.get(pk=bob.pk).is_active:
        assert not Membership.objects.filter(user=bob).exists()


def test_two_owners_who_delete_their_accounts_at_once_do_not_leave_a_ruin(crowd):
    crowd.workspace.memberships.filter(user=crowd.users["admin"]).update(role="owner")
    acts = [functools.partial(departures.delete_account, crowd.users[one]) for one in ("owner", "admin")]
    results = at_once(*acts)
    assert sum(isinstance(one, departures.CannotGo) for one in results) == 1
    assert crowd.workspace.memberships.filter(role="owner").count() == 1


def test_its_links_and_webhooks_end_with_it(team, shelf):
    row = made(team.workspace)
    link = share(row, by=None)
    webhooks.make(team.workspace, url="https://example.test/hook")
    assert opened(link.token) is not None
    close(team)
    assert opened(link.token) is None
    for make in (
        functools.partial(webhooks.make, url="https://example.test/late"),
        functools.partial(
            keyring.make, wish=keyring.Wish(name="late"), rights=keyring.rights_of(role="owner")
        ),
    ):  # by a request that came in before
        with pytest.raises((webhooks.WorkspaceClosed, keyring.NotAllowed), match="was deleted"):
            make(team.workspace)
    assert not Webhook.objects.filter(workspace=team.workspace).exists()
