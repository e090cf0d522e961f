"""Earnings, statements and payouts as publishers see them, and what staff does by hand."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from billing import ledger, payouts
from billing.models.payouts import Payout
from marketplace.ids import encode
from marketplace.models import Publisher, User, Workspace
from tests.pages.test_access import INLINE
from tests.pages.world import person
from tests.predictions import cast

EARNINGS, PAYOUTS = "/publish/earnings", "/publish/payouts"
USD = 1_000_000
LATER = timedelta(days=8)


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def rows_of(answer) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.getvalue().decode())))


@pytest.fixture
def pia(db, settings):
    """A publisher that is paid by hand, and its owner's browser."""
    settings.PAYOUT_METHODS = ["manual"]
    publisher = cast.publisher("pia")
    publisher.browser = person(publisher.workspace, "pia@example.test")
    return publisher


def earn(publisher, micros=100 * USD, *, model="pia/vase", ago=LATER, granted=False, own=False):
    payer = publisher.workspace if own else cast.payer(credit=0)
    ledger.credit(payer.pk, micros, source="granted" if granted else "bought", key=f"x:{uuid4()}")
    reference = uuid4()
    ledger.hold(workspace_id=payer.pk, reference=reference, amount_micros=micros)
    lines = [{"unit": "image", "quantity": "2", "unit_price": "1", "amount_micros": micros}]
    usage = ledger.Usage(
        model=model,
        status="succeeded",
        quote={"lines": lines, "amount_micros": micros},
        units={"image": "2"},
        user_id=None,
    )
    ledger.capture(
        reference=reference,
        amount_micros=micros,
        share=ledger.Share(publisher.pk, Decimal("0.8"), own_workspace=own),
        usage=usage,
        now=timezone.now() - ago,
    )
    return reference


def test_a_newcomer_sees_what_to_do(pia):
    page = text_of(pia.browser.get(PAYOUTS))
    assert "Before your first payout 0 of 4" in page
    assert "Nothing was paid out yet" in page
    assert "Nothing earned in this range" in text_of(pia.browser.get(EARNINGS))
    assert not payouts.account_of(pia).pk  # looking writes nothing


def test_who_publishes_nothing_is_told_so(world):
    for path in (EARNINGS, PAYOUTS):
        answer = world.ada.get(path)
        assert answer.status_code == 200
        assert "publishes nothing yet" in text_of(answer)
    assert world.ada.get(f"{EARNINGS}.csv").status_code == 404
    assert world.ada.post(f"{PAYOUTS}/request").status_code == 404


def test_earnings_by_model_and_unit_with_the_same_total(pia):
    earn(pia)
    earn(pia, 10 * USD, model="pia/jug", ago=timedelta())
    earn(pia, 5 * USD, granted=True, ago=timedelta())
    for group, name in (("model", "pia/jug"), ("unit", "Image")):
        answer = pia.browser.get(EARNINGS, {"by": group})
        page = text_of(answer)
        assert name in page
        assert "$92.0000" in page
        assert "$4.0000 here" in page  # from granted credit
        assert not INLINE.search(answer.content.decode())
        rows = rows_of(pia.browser.get(f"{EARNINGS}.csv", {"by": group}))
        assert sum(Decimal(row[5]) for row in rows[1:]) == 92
        assert sum(Decimal(row[6]) for row in rows[1:]) == 88
    wrong = {"from": "2027-02-01", "to": "2027-01-01"}
    assert "must not be after" in text_of(pia.browser.get(EARNINGS, wrong))
    file = pia.browser.get(f"{EARNINGS}.csv", wrong)
    assert (file.status_code, text_of(file).strip()) == (400, "The first day must not be after the last day.")


def test_the_statement_has_every_run_and_adds_up(pia, world):
    references = [earn(pia, 3 * USD + n, ago=timedelta()) for n in range(3)]
    month = f"{timezone.now():%Y-%m}"
    ledger.refund(
        references[0], USD, key="r", reason=ledger.RefundReason.BAD_OUTPUT, side=ledger.RefundSide.OPERATOR
    )
    answer = pia.browser.get(f"/publish/statements/{month}")
    page = text_of(answer)
    assert f'href="/publish/runs/{encode(references[0], "p")}"' in answer.content.decode()
    assert "Run" in page
    assert "the output was not what was asked for" in page
    assert "+ $7.2000" in page
    assert "2 images" in page
    rows = rows_of(pia.browser.get(f"/publish/statements/{month}.csv"))[1:]
    found = ledger.publisher_balance(pia.pk)
    assert sum(int(row[-1]) for row in rows) == found.pending_micros + found.payable_micros
    assert [row[1] for row in rows].count("capture") == 3
    books = pia.browser.get(f"{EARNINGS}/books.jsonl", {"publisher": "pia"}).getvalue().decode()
    proven = ledger.check(books.splitlines()).balances
    assert proven["publisher_pending"] == found.pending_micros
    assert world.mal.get(f"{EARNINGS}/books.jsonl").status_code == 404
    for wrong in ("2019-01", "2026-13", "20260-1", "x", "2099-01"):
        for end in ("", ".csv"):
            assert pia.browser.get(f"/publish/statements/{wrong}{end}").status_code == 404


def test_another_workspace_sees_nothing_of_it(pia, world):
    earn(pia, ago=timedelta())
    month = f"{timezone.now():%Y-%m}"
    for path in (
        EARNINGS,
        f"{EARNINGS}.csv",
        PAYOUTS,
        f"/publish/statements/{month}",
        f"/publish/statements/{month}.csv",
    ):
        assert world.mal.get(path, {"publisher": "pia"}).status_code == 404, path
    for act in ("request", "settings", "method", "connect", "stripe"):
        assert world.mal.post(f"{PAYOUTS}/{act}", {"publisher": "pia"}).status_code == 404, act
    assert not Payout.objects.exists()


def test_a_payout_is_asked_for_made_and_shown(pia):
    earn(pia)
    assert "Say first how you want to be paid" in text_of(pia.browser.post(f"{PAYOUTS}/request"))
    bad = pia.browser.post(f"{PAYOUTS}/method", {"method": "manual", "details": " "})
    assert bad.status_code == 422
    assert "Write where the money is to go" in text_of(bad)
    details = {"method": "manual", "details": "Pia <b>Pub</b>\nIBAN DE00"}
    assert pia.browser.post(f"{PAYOUTS}/method", details).status_code == 302
    payouts.run()
    row = Payout.objects.get()  # the month's, which was due
    page = text_of(pia.browser.get(PAYOUTS))
    assert "On its way" in page
    assert "A payout is under way" in page
    assert "Before your first payout" not in page  # all that it lists is done
    assert pia.browser.post(f"{PAYOUTS}/request").status_code == 409
    boss = staff()
    console = boss.get("/-/payouts").content.decode()
    assert "Pia &lt;b&gt;Pub&lt;/b&gt;" in console
    assert not INLINE.search(console)
    assert boss.post("/-/payouts/act", {"act": "failed", "payout": row.uid, "text": ""}).status_code == 422
    boss.post("/-/payouts/act", {"act": "paid", "payout": row.uid, "text": "TX 1"})
    again = boss.post("/-/payouts/act", {"act": "paid", "payout": row.uid, "text": "TX 2"}, follow=True)
    assert "had been closed before" in text_of(again)
    row.refresh_from_db()
    assert (row.status, row.transfer_id) == ("paid", "TX 1")
    assert row.closed_by.email == "boss@example.test"
    page = text_of(pia.browser.get(PAYOUTS))
    assert "Before your first payout" not in page
    assert "TX 1" in page
    assert ledger.verify() == []


def test_null_characters_in_the_console_are_left_out(pia):
    boss = staff()
    given = {"act": "hold\0", "publisher": "p\0ia", "text": "Asked \0the bank"}
    assert boss.post("/-/payouts/act", given).status_code == 302
    assert payouts.account_of(pia).hold_reason == "Asked the bank"
    assert boss.post("/-/payouts/act", {"act": "paid", "payout": "po_\0", "text": "\0"}).status_code == 404


def test_staff_see_what_became_of_payouts_that_nobody_is_left_to_be_told_of(pia):
    at, boss = timezone.now(), staff()
    made = {"book": "test", "method": "manual", "kind": "requested", "destination": "IBAN", "settled_at": at}
    row = Payout.objects.create(
        publisher=pia, status="failed", amount_micros=25 * USD, failure="No <b>such</b> account", **made
    )
    assert row.uid not in text_of(boss.get("/-/payouts"))
    Workspace.objects.filter(pk=pia.workspace_id).update(closed_at=at)
    page = boss.get("/-/payouts")
    assert "Failed: No &lt;b&gt;such&lt;/b&gt; account" in page.content.decode()
    assert "nobody is left to tell" in text_of(page)
    assert not INLINE.search(page.content.decode())
    Payout.objects.create(publisher=pia, status="paid", amount_micros=25 * USD, **made)
    assert row.uid not in text_of(boss.get("/-/payouts"))


def test_the_next_payout_is_today_only_where_one_can_be(pia):
    following = (timezone.now().date().replace(day=1) + timedelta(days=32)).replace(day=1)
    assert "Next payout –" in text_of(pia.browser.get(EARNINGS))
    pia.browser.post(f"{PAYOUTS}/method", {"method": "manual", "details": "IBAN DE00"})
    for path in (EARNINGS, PAYOUTS):
        assert f"Next payout {following:%-d %b} of what has matured by then" in text_of(pia.browser.get(path))
    earn(pia)
    for path in (EARNINGS, PAYOUTS):
        assert "Next payout Today within the hour" in text_of(pia.browser.get(path))
    payouts.run()
    assert f"Next payout {following:%-d %b}" in text_of(pia.browser.get(PAYOUTS))


def test_wishes_are_kept_and_checked(pia, settings):
    settings.PAYOUT_LEAST_MICROS = 20 * USD
    assert pia.browser.post(f"{PAYOUTS}/settings", {"least": "50"}).status_code == 302
    account = payouts.account_of(pia)
    assert (account.is_automatic, account.least_micros) == (False, 50 * USD)
    for wrong in ("19.99", "-1", "1e99", "abc", "NaN", "\0"):
        answer = pia.browser.post(f"{PAYOUTS}/settings", {"least": wrong, "automatic": "1"})
        assert answer.status_code == 422, wrong
    assert payouts.account_of(pia).least_micros == 50 * USD


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 200), ("admin", 200), ("billing", 200), ("developer", 403)]
)
def test_who_may_be_paid(pia, role, status):
    pia.workspace.memberships.update(role=role)
    assert pia.browser.get(PAYOUTS).status_code == status
    assert pia.browser.get(EARNINGS).status_code == 200
    posted = pia.browser.post(f"{PAYOUTS}/method", {"method": "manual", "details": "Mal"})
    assert posted.status_code == (302 if status == 200 else 403)


def test_a_hold_is_shown_with_its_reason_and_lifted(pia):
    boss = staff()
    wrong = boss.post("/-/payouts/act", {"act": "hold", "publisher": "nobody", "text": "why"})
    assert wrong.status_code == 422
    assert wrong.content.decode().count('value="why"') == 1  # where it was typed
    boss.post("/-/payouts/act", {"act": "hold", "publisher": "pia", "text": "A claim <i>is</i> open."})
    for path in (EARNINGS, PAYOUTS):
        assert "A claim &lt;i&gt;is&lt;/i&gt; open." in pia.browser.get(path).content.decode()
    assert "A claim" in text_of(boss.get("/-/payouts"))
    boss.post("/-/payouts/act", {"act": "lift", "publisher": "pia"})
    assert "holds your payouts back" not in text_of(pia.browser.get(PAYOUTS))
    assert boss.post("/-/payouts/act", {"act": "dance", "publisher": "pia"}).status_code == 404
    assert boss.post("/-/payouts/act", {"act": "paid", "payout": "po_x"}).status_code == 404


def test_several_publishers_of_a_workspace_each_have_their_own(pia):
    Publisher.objects.create(workspace=pia.workspace, name="pia-two")
    earn(pia)
    assert "pia-two" in text_of(pia.browser.get(EARNINGS))
    assert "$80.0000" in text_of(pia.browser.get(EARNINGS, {"publisher": "pia"}))
    assert "$80.0000" not in text_of(pia.browser.get(EARNINGS, {"publisher": "pia-two"}))


def test_to_stripe_and_back(stripe_sandbox, settings):
    settings.PAYOUT_METHODS = ["stripe"]
    publisher = cast.publisher("pia")
    browser = person(publisher.workspace, "pia@example.test")
    assert "Connect" in text_of(browser.get(PAYOUTS))
    assert browser.post(f"{PAYOUTS}/connect", {"country": "XX"}).status_code == 409
    answer = browser.post(f"{PAYOUTS}/connect", {"country": "US"})
    assert answer["Location"].startswith(f"{stripe_sandbox.url}/-/stripe/onboarding/")
    back = browser.get(f"{PAYOUTS}/return", follow=True)
    assert "Stripe still needs" in text_of(back)
    again = browser.get(f"{PAYOUTS}/again", {"publisher": "pia"})
    assert again["Location"].startswith(f"{stripe_sandbox.url}/-/stripe/onboarding/")
    account = payouts.account_of(publisher)
    stripe_sandbox.onboard(account.account_id)
    done = text_of(browser.get(f"{PAYOUTS}/return", {"publisher": "pia"}, follow=True))  # before any webhook
    assert "You are set up to be paid" in done
    assert "Stripe, ready" in done
    assert "/-/stripe/express/" in browser.post(f"{PAYOUTS}/stripe")["Location"]
    stripe_sandbox.fault("busy", "post", "/v1/accounts/{account}/login_links", times=3)
    assert browser.post(f"{PAYOUTS}/stripe").status_code == 503


def staff() -> Client:
    User.objects.update(is_staff=False)
    user = User.objects.create_user("boss@example.test", "a long password")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    browser = Client()
    browser.force_login(user)
    return browser
