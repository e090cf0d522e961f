"""Charges that are given back: by whom, how much, who is told, and what everybody sees of it afterwards."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from billing import ledger, receipts, usage
from marketplace.ids import encode, uuid7
from marketplace.models import Membership, Outbox, Publisher, User
from playground import refunds, webhooks
from playground.models import Delivery, Prediction
from playground.predictions import delete as deletion
from playground.webhooks import events
from tests.at_once import at_once
from tests.pages.test_access import INLINE
from tests.predictions import cast

PRICE = 4_000


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def client(user: User) -> Client:
    made = Client()
    made.force_login(user)
    return made


@pytest.fixture
def boss(world):
    user = User.objects.create_user("boss@example.test", "a long password")
    User.objects.update(is_staff=False)
    User.objects.filter(pk=user.pk).update(is_staff=True)
    return User.objects.get(pk=user.pk)


@pytest.fixture
def kiln(world):
    return Publisher.objects.get(name="kiln")


@pytest.fixture
def pia(kiln):
    """Who owns the workspace of the publisher."""
    user = User.objects.create_user("pia@example.test", "a long password")
    Membership.objects.create(workspace=kiln.workspace, user=user, role="owner")
    return user


def give(row, amount, *, by, reason="bad_output", **more):
    return refunds.give_back(row.public_id, amount, reason=reason, by=by, **{"once": uuid4(), **more})


def form(**changes):
    return {"amount": "0.001", "reason": "bad_output", "note": "sorry", "once": uuid4().hex} | changes


def mails() -> list[dict]:
    rows = Outbox.objects.filter(task="marketplace.send_mail").order_by("pk")
    return [row.payload for row in rows]


def tell() -> list[dict]:
    """What the webhooks of the outbox were told."""
    for row in Outbox.objects.filter(task=refunds.REFUNDED_TASK).order_by("pk"):
        events.refunded(message_id=row.pk)
    return [
        json.loads(row.body) for row in Delivery.objects.filter(event="prediction.refunded").order_by("pk")
    ]


def test_the_operator_gives_a_part_back_and_everybody_sees_it(world, boss):
    row = world.made(num_images=2)
    webhooks.make(world.workspace, url="https://example.test/hook", events=["prediction.refunded"])
    webhooks.make(world.workspace, url="https://example.test/other", events=["prediction.failed"])
    before = ledger.balance(world.workspace.pk).available_micros
    at = f"/-/refunds/{row.uid}"
    assert 'value="0.008"' in client(boss).get(at).content.decode()
    answer = client(boss).post(at, form(note="=<b>sorry</b>"))
    assert answer.status_code == 302
    assert answer["Location"] == at
    assert ledger.balance(world.workspace.pk).available_micros == before + 1_000
    said = text_of(client(boss).get(at))
    assert "Given back $0.0010" in said
    assert "$0.0070 is left" in said
    assert row.uid in client(boss).get("/-/refunds").content.decode()
    paper = world.ada.get(f"/p/{row.uid}/receipt")
    assert "Given back −$0.0010 Paid after all $0.0070" in text_of(paper)
    assert "by whoever runs this site: the output was not what was asked for." in text_of(paper)
    assert "=&lt;b&gt;sorry&lt;/b&gt;" in paper.content.decode()
    assert INLINE.search(paper.content.decode()) is None
    assert "−$0.0010 back" in text_of(world.ada.get("/dashboard/history"))
    drawer = world.ada.get(f"/p/{row.uid}", headers={"HX-Request": "true", "HX-Target": "drawer"})
    assert "Charged $0.0080 Given back −$0.0010" in text_of(drawer)
    assert "Given back $0.0010" in text_of(world.ada.get("/dashboard/usage"))
    file = world.ada.get("/dashboard/usage.csv").getvalue().decode().splitlines()
    assert file[1].endswith("0.008000,8000,0.001000,1000")
    (mail,) = mails()
    assert mail["to"] == "ada@example.test"
    assert "$0.0010" in mail["subject"]
    assert "sorry" not in mail["body"]
    assert f"/p/{row.uid}/receipt" in mail["body"]
    (told,) = tell()
    assert told["type"] == "prediction.refunded"
    assert told["data"]["refund"]["amount_micros"] == told["data"]["refunded_micros"] == 1_000
    assert told["data"]["refunds"] == [told["data"]["refund"]]
    assert told["data"]["refund"]["by"] == "operator"
    assert len(tell()) == 1
    cast.money_is_right()


def test_a_second_click_gives_nothing_more(world, boss):
    row, same = world.made(), form()
    page = client(boss)
    for _ in range(3):
        assert page.post(f"/-/refunds/{row.uid}", same).status_code == 302
    assert usage.refunds(world.workspace.pk, [row.public_id]) == {row.public_id: 1_000}
    assert len(mails()) == 1
    assert Outbox.objects.filter(task=refunds.REFUNDED_TASK).count() == 1
    other = page.post(f"/-/refunds/{row.uid}", same | {"amount": "0.002"})
    assert other.status_code == 422
    assert "sent before with another amount" in text_of(other)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "0"},
        {"amount": "-1"},
        {"amount": "0.0041"},
        {"amount": "1e3000"},
        {"amount": ""},
        {"reason": "because"},
        {"reason": ""},
        {"once": "x"},
        {"once": ""},
        {"note": "x" * 501},
    ],
)
def test_forms_that_are_none(world, boss, wrong):
    row = world.made()
    answer = client(boss).post(f"/-/refunds/{row.uid}", form(**wrong))
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode() or 'class="error"' in answer.content.decode()
    assert usage.refunds(world.workspace.pk, [row.public_id]) == {}


def test_what_cost_nothing_cannot_be_given_back(world, boss):
    failed, waiting = world.failed(), world.run()
    for row in (failed, waiting):
        with pytest.raises(refunds.NotCharged):
            give(row, 1, by=boss)
    with pytest.raises(refunds.NotCharged):
        refunds.give_back(uuid7(), 1, reason="goodwill", once=uuid4(), by=boss)
    assert "Nothing was charged" in text_of(client(boss).get(f"/-/refunds/{failed.uid}"))
    for uid in (waiting.uid, encode(uuid7(), "p"), "nothing", "p_" + "x" * 300):
        assert client(boss).get(f"/-/refunds/{uid}").status_code == 404
        assert client(boss).get("/-/refunds", {"run": uid}).status_code == 404
    assert (
        client(boss).get("/-/refunds", {"run": f" {failed.uid} "})["Location"] == f"/-/refunds/{failed.uid}"
    )


def test_a_publisher_sees_what_it_earned_and_nothing_of_the_buyer(world, pia):
    row = world.made(prompt="a secret plan", title="for nobody")
    answer = client(pia).get(f"/publish/runs/{row.uid}")
    said = text_of(answer)
    assert "Charged $0.0040" in said
    assert "Your share $0.0032" in said
    for secret in ("secret plan", "for nobody", world.workspace.name + " ", "ada@example.test", "/media/"):
        assert secret not in said
        assert secret not in answer.content.decode()
    assert world.ada.get(f"/publish/runs/{row.uid}").status_code == 404
    assert world.mal.get(f"/publish/runs/{row.uid}").status_code == 404
    assert world.mal.post(f"/publish/runs/{row.uid}/refund", form()).status_code == 404
    open_run = world.run()
    assert "It is open" in text_of(client(pia).get(f"/publish/runs/{open_run.uid}"))
    assert INLINE.search(answer.content.decode()) is None


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 302), ("admin", 302), ("billing", 302), ("developer", 403)]
)
def test_a_publisher_gives_back_out_of_its_earnings(world, kiln, pia, role, status):
    row = world.made()
    Membership.objects.filter(user=pia).update(role=role)
    assert client(pia).post(f"/publish/runs/{row.uid}/refund", form()).status_code == status
    assert ("Give back" in text_of(client(pia).get(f"/publish/runs/{row.uid}"))) == (status == 302)
    pending = ledger.publisher_balance(kiln.pk).pending_micros
    assert pending == (2_400 if status == 302 else 3_200)
    if status == 302:
        assert "by the model's publisher" in text_of(world.ada.get(f"/p/{row.uid}"))
    cast.money_is_right()


def test_what_was_paid_out_is_not_given_back_by_its_publisher(world, kiln, pia, boss):
    """Else a publisher and a buyer that are one would turn a payout into credit that nobody paid for."""
    row = world.made()
    ledger.mature(kiln.pk, delay=cast.later())
    payout = uuid4()
    ledger.payout_started(payout, kiln.pk, 3_200)
    answer = client(pia).post(f"/publish/runs/{row.uid}/refund", form())
    assert answer.status_code == 422
    assert "do not cover it" in text_of(answer)
    assert usage.refunds(world.workspace.pk, [row.public_id]) == {}
    assert mails() == []
    give(row, 4_000, by=boss)  # the operator may: the next earnings make up for it
    assert ledger.publisher_balance(kiln.pk).payable_micros == -3_200
    later = world.made()
    with pytest.raises(refunds.CannotRefund, match="cover"):
        give(later, 4_000, by=pia, publisher=kiln)
    cast.money_is_right()


def test_own_runs_and_more_than_a_day_may_have_are_the_operators(world, kiln, pia, settings):
    ledger.credit(kiln.workspace_id, 10_000, source="bought", key="topup:kiln")
    own = cast.submit(kiln.workspace)
    cast.succeed(cast.claim()[0])
    with pytest.raises(refunds.CannotRefund, match="own workspace"):
        give(own, 1_000, by=pia, publisher=kiln)
    assert "A run of your own workspace" in text_of(client(pia).get(f"/publish/runs/{own.uid}"))
    settings.PUBLISHER_REFUNDS_MICROS = 5_000
    first, second = world.made(), world.made()
    give(first, 4_000, by=pia, publisher=kiln)
    with pytest.raises(refunds.CannotRefund, match=r"\$0\.0050 is the most a day"):
        give(second, 1_001, by=pia, publisher=kiln)
    give(second, 1_000, by=pia, publisher=kiln)
    cast.money_is_right()


def test_a_publisher_has_reasons_of_its_own(world, kiln, pia):
    row, theirs = world.made(), {rule.reason for rule in refunds.RULES if rule.publishers}
    assert [rule.reason for rule in refunds.RULES] == list(ledger.RefundReason.values)
    body = client(pia).get(f"/publish/runs/{row.uid}").content.decode()
    assert set(re.findall(r'<option value="(\w+)"', body)) == theirs
    for reason in set(ledger.RefundReason.values) - theirs:
        with pytest.raises(refunds.CannotRefund, match="Only the operator"):
            give(row, 10, by=pia, publisher=kiln, reason=reason)
    for reason in theirs:
        give(row, 10, by=pia, publisher=kiln, reason=reason)


def test_nobody_gives_back_for_another_publisher(world, pia, boss):
    row = world.made()
    stranger = cast.publisher("other")
    with pytest.raises(refunds.NotCharged):
        give(row, 1_000, by=pia, publisher=stranger)


def test_many_parts_and_many_mails(world, boss):
    row = world.made()
    for _ in range(refunds.MOST):
        give(row, 10, by=boss)
    with pytest.raises(refunds.CannotRefund, match="parts"):
        give(row, 10, by=boss)
    assert len(mails()) == refunds.MAILS_AN_HOUR
    assert "Further ones are not mailed" in mails()[-1]["body"]
    assert len(receipts.given_back(world.workspace.pk, [row.public_id])[row.public_id]) == refunds.MOST


def test_a_deleted_run_is_given_back_too(world, boss, pia):
    row = world.made()
    webhooks.make(world.workspace, url="https://example.test/hook", events=["prediction.refunded"])
    deletion.delete(world.workspace, [row.public_id], by=None)
    give(row, 1_000, by=boss)
    assert "prompt" not in json.dumps(tell())
    paper = text_of(world.ada.get(f"/p/{row.uid}/receipt"))
    assert "The run was deleted; its receipt stays." in paper
    assert "Given back −$0.0010" in paper
    assert world.mal.get(f"/p/{row.uid}/receipt").status_code == 404
    Prediction.objects.all().delete()
    give(row, 1_000, by=boss)
    assert "Given back −$0.0010" in text_of(world.ada.get(f"/p/{row.uid}/receipt"))
    assert "Given back $0.0020" in text_of(client(pia).get(f"/publish/runs/{row.uid}"))
    assert len(tell()) == 1  # the delivery of the first went with the run


@pytest.mark.django_db(transaction=True)
def test_who_gives_back_at_once_gives_no_more_than_there_was(world, boss):
    row = world.made()

    def click() -> str:
        try:
            give(row, 1_500, by=boss)
        except refunds.CannotRefund as error:
            return str(error)
        return "done"

    said = at_once(*[click] * 6)
    assert said.count("done") == 2
    assert len([one for one in said if "only $0.0010 of the charge is left" in one]) == 4
    assert usage.refunds(world.workspace.pk, [row.public_id]) == {row.public_id: 3_000}
    cast.money_is_right()


@pytest.mark.django_db(transaction=True)
def test_a_payout_and_a_refund_at_once_do_not_take_the_same_earnings(world, kiln, pia):
    row = world.made()
    ledger.mature(kiln.pk, delay=cast.later())

    def take(number: int) -> str:
        try:
            if number % 2:
                give(row, 1_500, by=pia, publisher=kiln)
            else:
                ledger.payout_started(uuid4(), kiln.pk, 2_000)
        except (refunds.CannotRefund, ledger.InsufficientEarnings):
            return "refused"
        return "done"

    said = at_once(*[partial(take, number) for number in range(6)])
    assert set(said) <= {"done", "refused"}
    assert said.count("done") in {1, 2}  # 3,200 are a payout and one refund of 1,200, or two refunds
    assert ledger.publisher_balance(kiln.pk).payable_micros >= 0
    assert len(mails()) == Outbox.objects.filter(task=refunds.REFUNDED_TASK).count()
    cast.money_is_right()


def test_a_share_of_nothing(world, kiln, boss):
    """A publisher that shares nothing has no part in the charge; the fee alone is undone."""
    Publisher.objects.filter(pk=kiln.pk).update(share_percent=Decimal(0))
    row = world.made()
    give(row, PRICE, by=boss)
    assert ledger.publisher_balance(kiln.pk).pending_micros == 0
    assert "All of it was given back" in text_of(client(boss).get(f"/-/refunds/{row.uid}"))
    cast.money_is_right()


def test_what_is_given_back_of_a_disputed_payment_makes_good_for_it(world, boss, kiln):
    row, there = world.made(), ledger.balance(world.workspace.pk).available_micros
    long_ago = timezone.now() - timedelta(days=1)
    ledger.dispute_withdrawn("dp_1", world.workspace.pk, there + PRICE, paid_at=long_ago)
    assert give(row, 3_000, by=boss).made_good_micros == 3_000
    (mail,) = mails()
    assert "$0.0030 of it made good for a payment that is disputed with the card's bank.\n" in mail["body"]
    assert ledger.dispute_owed("dp_1") == 1_000
    found = ledger.publisher_balance(kiln.pk)
    assert found.pending_micros + found.payable_micros == 0
    cast.money_is_right()
