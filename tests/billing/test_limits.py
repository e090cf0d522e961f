"""Limits as people see them: on what, told when and once."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction

from billing import ledger, limits
from billing.ledger.limits import window_start
from billing.models import SpendLimit, SpendWindow
from marketplace import keys
from marketplace.ids import encode
from marketplace.models import Membership, Outbox, User
from tests.billing.cast import new_workspace
from tests.predictions import cast

NOW = datetime(2026, 5, 14, 12, tzinfo=UTC)


def spend(workspace, amount: int, *scopes: ledger.SpendScope, at: datetime = NOW) -> None:
    own = ledger.SpendScope("workspace", str(workspace.pk))
    ledger.hold(
        workspace_id=workspace.pk, reference=uuid4(), amount_micros=amount, limits=[own, *scopes], now=at
    )


def told() -> list[tuple[int, bool]]:
    """What was posted since the last look: the part of the limit, and whether it refuses."""
    rows = Outbox.objects.filter(task=limits.TELL_TASK).order_by("pk")
    found = [(row.payload["percent"], row.payload["is_refusing"]) for row in rows]
    assert Outbox.objects.filter(task=limits.EVENT_TASK).count() == len(found)
    Outbox.objects.all().delete()
    return found


def member(workspace, role: str) -> User:
    user = User.objects.create_user(
        f"{role}-{uuid4().hex[:6]}@example.test", "a long password", name=role.title()
    )
    Membership.objects.create(workspace=workspace, user=user, role=role)
    return user


@pytest.mark.django_db
def test_a_limit_is_told_once_at_each_of_its_parts():
    workspace = new_workspace(bought=10**6)
    limits.put(workspace, kind="workspace", period="day", limit_micros=1000)
    for amount, expected in (
        (499, []),
        (1, [(50, False)]),
        (0, []),
        (299, []),
        (1, [(80, False)]),
        (200, [(100, True)]),
    ):
        if amount:
            spend(workspace, amount)
        limits.find_alerts(now=NOW)
        assert told() == expected, amount
    assert limits.find_alerts(now=NOW) == 0


@pytest.mark.django_db
def test_a_jump_is_told_as_its_highest_part_and_a_new_period_anew():
    workspace = new_workspace(bought=10**6)
    limits.put(workspace, kind="workspace", period="day", limit_micros=1000, alert_at=[10, 90])
    spend(workspace, 950)
    limits.find_alerts(now=NOW)
    assert told() == [(90, False)]
    tomorrow = NOW + timedelta(days=1)
    assert limits.find_alerts(now=tomorrow) == 0
    spend(workspace, 100, at=tomorrow)
    limits.find_alerts(now=tomorrow)
    assert told() == [(10, False)]


@pytest.mark.django_db
def test_a_limit_that_refuses_the_first_run_of_all_is_told():
    workspace = new_workspace(bought=10**6)
    limits.put(workspace, kind="workspace", period="lifetime", limit_micros=1000)
    with pytest.raises(ledger.LimitReached) as caught, transaction.atomic():
        spend(workspace, 1001)
    assert caught.value.window is not None
    assert not SpendWindow.objects.exists()  # it went with the refused run
    ledger.note_refusal(caught.value.window, now=NOW)
    limits.find_alerts(now=NOW)
    assert told() == [(100, True)]
    assert ledger.verify() == []


@pytest.mark.django_db
def test_a_limit_that_refuses_is_told_though_it_is_not_full():
    workspace = new_workspace(bought=10**6)
    limits.put(workspace, kind="workspace", period="lifetime", limit_micros=1000)
    spend(workspace, 600)
    with pytest.raises(ledger.LimitReached) as caught, transaction.atomic():
        spend(workspace, 500)
    assert caught.value.window is not None
    ledger.note_refusal(caught.value.window, now=NOW)
    first = SpendWindow.objects.get().refused_at
    ledger.note_refusal(caught.value.window)
    assert SpendWindow.objects.get().refused_at == first
    limits.find_alerts(now=NOW)
    assert told() == [(100, True)]
    [one] = limits.of(workspace, now=NOW)
    assert one.is_reached
    assert one.share == 0.6
    scope = ledger.limits_of(workspace.pk, "workspace", [str(workspace.pk)], now=NOW)
    assert {limit.share for limit in scope.values()} == {0.6}
    limits.change(workspace, one.uid, limit_micros=10_000)
    [one] = limits.of(workspace, now=NOW)
    assert not one.is_reached
    limits.change(workspace, one.uid, limit_micros=0)
    [one] = limits.of(workspace, now=NOW)
    (nothing,) = ledger.limits_of(workspace.pk, "workspace", [str(workspace.pk)], now=NOW).values()
    assert (one.share, nothing.share, one.is_reached) == (1.0, 1.0, True)
    limits.change(workspace, one.uid, limit_micros=10_000)
    assert limits.find_alerts(now=NOW) == 0


@pytest.mark.django_db
def test_no_alerts_where_none_are_wished_and_none_of_another_book():
    workspace = new_workspace(bought=10**6)
    limits.put(workspace, kind="workspace", period="day", limit_micros=100, alert_at=[])
    spend(workspace, 100)
    assert limits.find_alerts(now=NOW) == 0
    SpendLimit.objects.update(alert_at=[50])
    assert limits.find_alerts(book="live", now=NOW) == 0
    assert limits.find_alerts(now=NOW) == 1


@pytest.mark.django_db
def test_those_are_mailed_who_look_after_the_credit_and_whose_limit_it_is():
    workspace = new_workspace(bought=10**6)
    billing, developer = member(workspace, "billing"), member(workspace, "developer")
    keys.make(workspace, name="exporter", by=member(workspace, "developer"))
    key, _ = keys.make(workspace, name="importer", by=developer)
    limits.put(workspace, kind="key", target=key.uid, period="month", limit_micros=1000)
    spend(workspace, 850, ledger.SpendScope("key", str(key.pk)))
    limits.find_alerts(now=NOW)
    for row in list(Outbox.objects.filter(task=limits.TELL_TASK)):
        limits.tell(row.pk)
        limits.tell(row.pk)
    letters = [row.payload for row in Outbox.objects.filter(task="marketplace.send_mail")]
    assert sorted(one["to"] for one in letters) == sorted([billing.email, developer.email])
    for letter in letters:
        assert "80 % of the monthly limit of the key “importer”" in letter["subject"]
        assert "is $0.001. Of it $0.00085 is spent" in letter["body"]
        assert "/dashboard/limits" in letter["body"]


@pytest.mark.django_db
def test_what_is_on_whom():
    cast.shelve()
    workspace, other = new_workspace(), new_workspace()
    user, stranger = member(workspace, "developer"), member(other, "owner")
    key, _ = keys.make(workspace, name="ours")
    foreign, _ = keys.make(other, name="theirs")
    uid = encode(user.public_id, "u")
    for kind, target, name in (
        ("workspace", "", workspace.name),
        ("workspace", workspace.slug, workspace.name),
        ("model", "kiln/vase", "kiln/vase"),
        ("key", key.uid, "ours"),
        ("member", uid, "Developer"),
    ):
        made = limits.put(workspace, kind=kind, target=target, period="week", limit_micros=5)
        assert (made.scope.kind, made.target.name) == (kind, name)
    assert [one.scope.kind for one in limits.of(workspace)] == ["workspace", "model", "member", "key"]
    for kind, target in (
        ("workspace", other.slug), ("model", "kiln/none"), ("model", "\0"), ("key", foreign.uid), ("key", ""),
        ("key", uid), ("member", encode(stranger.public_id, "u")), ("member", key.uid), ("wish", ""),
    ):  # fmt: skip
        with pytest.raises(limits.Invalid):
            limits.put(workspace, kind=kind, target=target, period="week", limit_micros=5)
    assert limits.of(other) == []
    [mine, *_] = limits.of(workspace)
    for uid in (mine.uid, "l_nothing", ""):
        with pytest.raises(limits.NotFound):
            limits.find(other, uid)
        with pytest.raises(limits.NotFound):
            limits.remove(other, uid)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wrong", "field", "code"),
    [
        ({"kind": "planet"}, "scope", "not_allowed"),
        ({"target": "nobody"}, "target", "not_found"),
        ({"period": "hour"}, "period", "not_allowed"),
        ({"limit_micros": -1}, "limit_micros", "too_large"),
        ({"limit_micros": 10**13 + 1}, "limit_micros", "too_large"),
        ({"alert_at": [0]}, "alert_at", "too_large"),
        ({"alert_at": [101]}, "alert_at", "too_large"),
        ({"alert_at": [1, 2, 3, 4, 5, 6]}, "alert_at", "too_many"),
    ],
)
def test_what_is_no_limit(wrong, field, code):
    workspace = new_workspace()
    with pytest.raises(limits.Invalid) as caught:
        limits.put(workspace, **{"kind": "workspace", "period": "day", "limit_micros": 1, **wrong})
    assert [(error.field, error.code) for error in caught.value.errors] == [(field, code)]
    assert limits.of(workspace) == []
    edge = limits.put(
        workspace, kind="workspace", period="day", limit_micros=10**13, alert_at=[1, 2, 3, 99, 100]
    )
    assert edge.alert_at == (1, 2, 3, 99, 100)


@pytest.mark.django_db
def test_who_changes_a_limit_changes_no_other():
    mine, other = new_workspace(bought=10**6), new_workspace(bought=10**6)
    for workspace in (mine, other):
        for period in ("day", "week"):
            limits.put(workspace, kind="workspace", period=period, limit_micros=1000)
        spend(workspace, 600)
    assert limits.find_alerts(now=NOW) == 4
    ledger.set_limit(
        workspace_id=mine.pk,
        scope=ledger.SpendScope("workspace", str(mine.pk)),
        period="day",
        limit_micros=900,
        now=NOW,
    )
    windows = SpendWindow.objects.order_by("workspace_id", "period")
    assert list(windows.values_list("limit_micros", "told_percent")) == [
        (900, 0), (1000, 50), (1000, 50), (1000, 50)
    ]  # fmt: skip


@pytest.mark.django_db
def test_a_key_never_lifts_what_binds_it():
    workspace = new_workspace()
    key, _ = keys.make(workspace, name="program")
    other, _ = keys.make(workspace, name="other")
    for kind, target in (("workspace", ""), ("key", key.uid)):
        row = limits.put(workspace, kind=kind, target=target, period="day", limit_micros=100)
        assert limits.change(workspace, row.uid, limit_micros=90, key=key).limit_micros == 90
        for attempt in (
            lambda row=row: limits.change(workspace, row.uid, limit_micros=91, key=key),
            lambda row=row: limits.remove(workspace, row.uid, key=key),
            lambda kind=kind, target=target: limits.put(
                workspace, kind=kind, target=target, period="day", limit_micros=91, key=key
            ),
        ):
            with pytest.raises(limits.NotAllowed):
                attempt()
        assert limits.find(workspace, row.uid).limit_micros == 90
    row = limits.put(workspace, kind="key", target=other.uid, period="day", limit_micros=100)
    assert limits.change(workspace, row.uid, limit_micros=200, key=key).limit_micros == 200
    limits.remove(workspace, row.uid, key=key)


@pytest.mark.django_db
def test_limits_are_read_in_a_few_statements(django_assert_max_num_queries):
    workspace = new_workspace(bought=10**6)
    for name in ("a", "b", "c"):
        key, _ = keys.make(workspace, name=name)
        for period in limits.PERIODS:
            limits.put(workspace, kind="key", target=key.uid, period=period, limit_micros=1000)
    with django_assert_max_num_queries(5):
        assert len(limits.of(workspace)) == 12


def lived(
    workspace, held: int, charged: int | None = None, *, key=None, user=None, model="kiln/vase", at=NOW
):
    """A run of a member by a key, as the room above has it; it stays open where nothing is said of its charge."""
    scopes = [ledger.SpendScope("workspace", str(workspace.pk)), ledger.SpendScope("model", model)]
    scopes += [ledger.SpendScope("key", str(one)) for one in (*key.ancestor_ids, key.pk)] if key else []
    scopes += [ledger.SpendScope("member", str(user.pk))] if user else []
    reference = uuid4()
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=held, limits=scopes, now=at)
    if charged is not None:
        usage = ledger.Usage(
            model, "succeeded", key_id=key and key.pk, user_id=user and user.pk, occurred_at=at
        )
        ledger.capture(reference=reference, amount_micros=charged, share=None, usage=usage, now=at)
    return reference


def standings(workspace) -> dict[tuple[str, str], int]:
    return {(one.scope.kind, one.period): one.spent_micros for one in limits.of(workspace, now=NOW)}


@pytest.mark.django_db
def test_a_limit_that_is_set_later_begins_with_what_was_spent():
    workspace, stranger = new_workspace(bought=10**6), new_workspace(bought=10**6)
    user, other = member(workspace, "developer"), member(workspace, "developer")
    maker, _ = keys.make(workspace, name="maker")
    made, _ = keys.make(workspace, name="made", maker=maker)
    lived(stranger, 5000, 5000)
    lived(workspace, 3000, 2000, key=maker, user=user)
    lived(workspace, 300, 200, key=made, user=user, model="kiln/bowl")
    lived(workspace, 30, 20, user=other)
    lived(workspace, 70_000, 60_000, key=made, user=user, at=NOW - timedelta(days=2))  # in the same week
    lived(workspace, 800_000, 700_000, key=made, user=user, at=NOW - timedelta(days=40))
    open_, released = lived(workspace, 8, key=made, user=user), lived(workspace, 1, user=other)
    lived(workspace, 4, key=made, user=user, at=NOW - timedelta(days=2))  # open for two days
    lived(workspace, 0)
    expected = {
        ("workspace", str(workspace.pk)): (2229, 62_233, 762_233),
        ("key", str(maker.pk)): (2208, 62_212, 762_212),
        ("key", str(made.pk)): (208, 60_212, 760_212),
        ("member", str(other.pk)): (21, 21, 21),
        ("model", "kiln/bowl"): (200, 200, 200),
        ("model", "kiln/none"): (0, 0, 0),
    }
    for (kind, one), amounts in expected.items():
        scope = ledger.SpendScope(kind, one)
        for period in ("day", "week", "lifetime"):
            ledger.set_limit(
                workspace_id=workspace.pk, scope=scope, period=period, limit_micros=10**9, now=NOW
            )
        found = ledger.limits_of(workspace.pk, kind, [one], now=NOW)
        assert tuple(found[one, period].spent_micros for period in ("day", "week", "lifetime")) == amounts
    assert ledger.verify() == []
    usage = ledger.Usage("kiln/vase", "succeeded", key_id=made.pk, user_id=user.pk, occurred_at=NOW)
    ledger.capture(reference=open_, amount_micros=3, share=None, usage=usage, now=NOW)
    ledger.release(reference=released, now=NOW)
    assert standings(workspace)["workspace", "day"] == 2229 - 5 - 1
    assert (
        ledger.limits_of(workspace.pk, "key", [str(maker.pk)], now=NOW)[str(maker.pk), "day"].spent_micros
        == 2203
    )
    assert ledger.verify() == []


@pytest.mark.django_db
def test_a_limit_that_is_lifted_and_set_again_counts_what_was_between():
    workspace = new_workspace(bought=10**6)
    scope = ledger.SpendScope("workspace", str(workspace.pk))

    def limit(micros: int | None) -> None:
        ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="day", limit_micros=micros, now=NOW)

    limit(1000)
    assert not SpendWindow.objects.exists()
    lived(workspace, 100, 90)
    first = lived(workspace, 10)
    limit(None)
    lived(workspace, 400, 300)
    second = lived(workspace, 20)
    limit(1000)
    assert standings(workspace) == {("workspace", "day"): 90 + 10 + 300 + 20}
    assert SpendWindow.objects.get().before_micros == 300
    limit(500)  # a change counts nothing twice
    assert standings(workspace) == {("workspace", "day"): 420}
    limits.find_alerts(now=NOW)
    assert told() == [(80, False)]
    with pytest.raises(ledger.LimitReached), transaction.atomic():
        lived(workspace, 81)
    for reference in (first, second):
        ledger.release(reference=reference, now=NOW)
    assert standings(workspace) == {("workspace", "day"): 390}
    assert ledger.verify() == []


@pytest.mark.django_db(transaction=True)
def test_two_ticks_at_once_tell_once():
    workspace = new_workspace(bought=10**6)
    limits.put(workspace, kind="workspace", period="lifetime", limit_micros=1000)
    spend(workspace, 900)
    assert SpendWindow.objects.get().starts_at == window_start("lifetime", NOW)

    def tick() -> None:
        try:
            limits.find_alerts()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=tick) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told() == [(80, False)]


@pytest.mark.django_db(transaction=True)
def test_a_key_does_not_raise_what_is_lowered_at_this_moment():
    workspace = new_workspace()
    key, _ = keys.make(workspace, name="program")
    row = limits.put(workspace, kind="workspace", period="day", limit_micros=100)
    refused: list[str] = []

    def lower_less() -> None:
        try:
            limits.change(workspace, row.uid, limit_micros=90, key=key)
        except limits.NotAllowed as error:
            refused.append(str(error))
        finally:
            connections.close_all()

    program = threading.Thread(target=lower_less)
    with transaction.atomic():
        limits.change(workspace, row.uid, limit_micros=50)
        program.start()
        deadline = time.monotonic() + 30
        with connection.cursor() as cursor:
            is_waiting = False
            while not is_waiting and time.monotonic() < deadline:
                cursor.execute("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
                (is_waiting,) = cursor.fetchone()
    program.join()
    assert len(refused) == 1
    assert limits.find(workspace, row.uid).limit_micros == 50
