"""How many runs of a workspace may be open at once, free ones among them."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from billing import ledger
from billing.models import LedgerAccount
from tests.billing.cast import USAGE, new_workspace


def hold(workspace, amount: int, **more) -> None:
    with transaction.atomic():
        ledger.hold(workspace_id=workspace.pk, reference=uuid4(), amount_micros=amount, **more)


@pytest.mark.django_db
def test_no_more_runs_are_open_at_once_than_may_be():
    workspace, reference = new_workspace(bought=1000), uuid4()
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=1, most_open=2)
    hold(workspace, 0, most_open=2)
    for amount in (0, 1):
        with pytest.raises(ledger.TooManyOpen) as caught:
            hold(workspace, amount, most_open=2)
        assert caught.value.most == 2
    with pytest.raises(ledger.AlreadyHeld):
        ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=1, most_open=2)
    hold(new_workspace(bought=10), 1, most_open=2)
    hold(workspace, 1, most_open=0)
    ledger.capture(reference=reference, amount_micros=1, share=None, usage=USAGE)
    with pytest.raises(ledger.TooManyOpen):
        hold(workspace, 1, most_open=2)
    assert ledger.verify() == []


@pytest.mark.django_db
def test_what_has_ended_makes_room_however_many_there_were():
    workspace = new_workspace(granted=50, bought=10**6)
    held = [uuid4() for _ in range(30)]
    for place, reference in enumerate(held):
        ledger.hold(
            workspace_id=workspace.pk, reference=reference, amount_micros=10 * (place % 3), most_open=4
        )
        if place >= 3:
            ledger.release(reference=held[place - 3])
    hold(workspace, 10, most_open=4)
    with pytest.raises(ledger.TooManyOpen):
        hold(workspace, 10, most_open=4)
    bounds = LedgerAccount.objects.filter(workspace=workspace).values_list("open_bound", flat=True)
    assert sum(bounds) == 4
    hold(workspace, 10, most_open=5)
    nobody = new_workspace()
    for _ in range(2):  # without an account, as nobody ever gave it credit
        hold(nobody, 0, most_open=2)
    with pytest.raises(ledger.TooManyOpen):
        hold(nobody, 0, most_open=2)
    ledger.credit(nobody.pk, 10, key="promo:late")
    for amount in (0, 1):
        with pytest.raises(ledger.TooManyOpen):
            hold(nobody, amount, most_open=2)
    assert ledger.verify() == []


@pytest.mark.django_db
def test_free_runs_count_although_nothing_bounded_how_many_when_they_began():
    workspace = new_workspace(bought=10)
    hold(workspace, 1, most_open=5)  # from here on it is known how many there are
    for _ in range(2):
        hold(workspace, 0)
    for amount in (0, 1):
        with pytest.raises(ledger.TooManyOpen):
            hold(workspace, amount, most_open=3)
    assert ledger.verify() == []


@pytest.mark.django_db
def test_the_function_of_older_deployments_holds_and_counts_as_the_present_one_does():
    workspace, reference = new_workspace(bought=10), uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT outcome FROM ledger_hold(%s::bigint, 'test', %s::uuid, 4::bigint, now(), '{}'::text[],"
            " '{}'::text[], '{}'::text[], '{}'::timestamptz[])",
            [workspace.pk, reference],
        )
        assert cursor.fetchone() == ("held",)
    assert ledger.balance(workspace.pk).held_micros == 4
    with pytest.raises(ledger.TooManyOpen):
        hold(workspace, 1, most_open=1)
    assert ledger.verify() == []


@pytest.mark.django_db
def test_fewer_while_there_is_only_granted_credit():
    poor, rich = new_workspace(granted=1000), new_workspace(granted=1000, bought=1)
    for workspace, most in ((poor, 1), (rich, 3)):
        for _ in range(most):
            hold(workspace, 10, most_open=3, most_open_granted=1)
        with pytest.raises(ledger.TooManyOpen):
            hold(workspace, 10, most_open=3, most_open_granted=1)
    with pytest.raises(ledger.TooManyOpen):
        hold(poor, 10, most_open_granted=1)


@pytest.mark.django_db
def test_the_operator_says_how_many_runs_a_workspace_may_have_open(settings, capsys):
    workspace = new_workspace()
    for number, own, said in ((None, None, "5,000 (as the"), ("7", 7, "7 (of its own)"), ("0", 0, "any number (of"),
                              ("default", None, "5,000 (as the")):  # fmt: skip
        call_command("open_runs", workspace.slug, *([number] if number else []))
        workspace.refresh_from_db()
        assert workspace.max_open_runs == own
        assert said in capsys.readouterr().out
    for wrong in (["nobody"], [workspace.slug, "-1"], [workspace.slug, "9" * 50], [workspace.slug, "many"]):
        with pytest.raises(CommandError):
            call_command("open_runs", "--", *wrong)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("amount", [0, 5])
def test_of_many_at_once_as_many_are_open_as_may_be(amount):
    workspace = new_workspace(bought=10**6)
    results: list[str] = []

    def work() -> None:
        try:
            for _ in range(5):
                try:
                    hold(workspace, amount, most_open=7)
                    results.append("held")
                except ledger.TooManyOpen:
                    results.append("busy")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results.count("held"), results.count("busy")) == (7, 33)
    assert ledger.verify() == []
