"""Invoices: a month adds up to the micro-dollar, stays as it was written, and can be read in any script."""

from __future__ import annotations

import html
import io
import re
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from threading import Barrier, Thread
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from pypdf import PdfReader

from billing import invoices, ledger, topups
from billing.invoices import Recipient
from billing.models import Invoice, UsageDay
from marketplace import keys
from marketplace.ids import uuid7
from marketplace.models import Membership, Outbox, User, Workspace
from playground import invoices as papers
from playground.invoices import desk
from tests.billing.buyers import bought, charge_of
from tests.billing.cast import new_publisher, new_workspace
from tests.pages.test_access import INLINE

NOVEMBER, DECEMBER = date(2025, 11, 1), date(2025, 12, 1)
IN_NOVEMBER = datetime(2025, 11, 12, 9, tzinfo=UTC)
IN_DECEMBER = datetime(2025, 12, 3, 9, tzinfo=UTC)
AFTER = datetime(2026, 1, 1, 2, tzinfo=UTC)


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def words_of(pdf: bytes) -> str:
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages))


def charge(workspace, micros, *, at, unit="image", quantity="2", price="0.002", publisher=None, **more):
    """A run that was settled then."""
    reference = uuid7()
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=micros, now=at)
    line = {"unit": unit, "quantity": quantity, "unit_price": price, "amount_micros": micros}
    share = ledger.Share(publisher.pk, Fraction(4, 5)) if publisher else None
    usage = ledger.Usage(
        model="kiln/vase",
        status="succeeded",
        quote={"lines": [line], "amount_micros": micros, **more},
        occurred_at=at,
    )
    ledger.capture(reference=reference, amount_micros=micros, share=share, usage=usage, now=at)
    return reference


@pytest.fixture
def house(db):
    workspace = new_workspace()
    Workspace.objects.filter(pk=workspace.pk).update(created_at=IN_NOVEMBER - timedelta(days=3))
    workspace.refresh_from_db()
    return workspace


def mails() -> list[dict]:
    return [row.payload for row in Outbox.objects.filter(task="marketplace.send_mail").order_by("pk")]


def balances(shown) -> None:
    """What an invoice says agrees with itself."""
    moved = sum(one.amount_micros for one in shown.movements)
    assert shown.opening_micros + moved + shown.refunded_micros - shown.charged_micros == shown.closing_micros
    assert sum(line.amount_micros for line in shown.lines) == shown.charged_micros
    rows = papers.rows_of(shown)
    assert sum(row.amount_micros for row in rows[:-1]) == rows[-1].amount_micros == shown.closing_micros


def test_two_months_add_up_and_follow_each_other(house):
    maker = new_publisher()
    ledger.credit(house.pk, 10_000, key="promo:a", now=IN_NOVEMBER)
    ledger.credit(house.pk, 50_000, source="bought", key="topup:a", now=IN_NOVEMBER)
    first = charge(house, 4_001, at=IN_NOVEMBER, publisher=maker)
    charge(house, 4_001, at=IN_NOVEMBER, publisher=maker)
    charge(house, 333, at=IN_NOVEMBER, unit="compute_second", quantity="1.5", price="0.000222")
    charge(house, 1_000, at=IN_NOVEMBER, done_share="1/2")
    open_run = uuid7()
    ledger.hold(workspace_id=house.pk, reference=open_run, amount_micros=5_000, now=IN_NOVEMBER)
    ledger.refund(first, 1_500, key="r1", reason="goodwill", now=IN_NOVEMBER)
    ledger.refund(first, 2_000, key="r2", reason="fault", now=IN_DECEMBER)
    ledger.release(reference=open_run, now=IN_DECEMBER)
    ledger.topup_refund_started(uuid4(), house.pk, 7_000, now=IN_DECEMBER)
    charge(house, 6_000, at=datetime(2025, 12, 1, tzinfo=UTC))  # its first moment is December's alone
    november, december = (invoices.of(house, month, now=AFTER) for month in (NOVEMBER, DECEMBER))
    for shown in (november, december):
        balances(shown)
    assert (november.opening_micros, november.charged_micros, november.refunded_micros) == (0, 9_335, 1_500)
    assert november.closing_micros == december.opening_micros == 60_000 - 9_335 + 1_500
    assert december.closing_micros == ledger.balance(house.pk).balance_micros
    assert {one.kind: one.amount_micros for one in december.movements} == {"topup_refund": -7_000}
    found = [
        (line.unit, line.quantity, line.amount_micros, line.runs, line.is_part) for line in november.lines
    ]
    assert found == [
        ("image", "4", 8_002, 2, False),
        ("image", "2", 1_000, 1, True),
        ("compute_second", "1.5", 333, 1, False),
    ]
    assert [(line.unit, line.amount_micros) for line in december.lines] == [("image", 6_000)]
    assert [november.number, december.number] == ["TEST-2025-000001", "TEST-2025-000002"]
    assert ledger.verify() == []
    adds_up, is_true = "an invoice adds up", "an invoice is what the ledger says"
    one, both = {adds_up}, {adds_up, is_true}
    for deed, which, expected in (
        ("content = jsonb_set(content, '{lines,0,4}', '1')", november, one),
        ("content = jsonb_set(content, '{movements,0,2}', '1')", december, one),
        ("charged_micros = charged_micros + 1", november, both),
        ("refunded_micros = refunded_micros + 1", november, both),
        ("opening_micros = opening_micros + 1, closing_micros = closing_micros + 1", december, {is_true}),
        ("closing_micros = closing_micros + 1, opening_micros = opening_micros + 1", november, {is_true}),
    ):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE billing_invoice DISABLE TRIGGER invoice_append_only")
            cursor.execute(f"UPDATE billing_invoice SET {deed} WHERE number = %s", [which.number])
            found = {problem.check for problem in ledger.verify()}
            transaction.set_rollback(True)
        assert {check.split(",")[0] for check in found} == expected, deed


def test_a_month_that_nobody_wrote_down_is_in_what_the_next_one_opens_with(house):
    in_january, later = datetime(2026, 1, 9, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)
    ledger.credit(house.pk, 50_000, source="bought", key="topup:a", now=IN_NOVEMBER)
    reference = charge(house, 4_000, at=IN_NOVEMBER)
    november = invoices.of(house, NOVEMBER, now=IN_DECEMBER)
    ledger.credit(house.pk, 7_000, key="promo:a", now=IN_DECEMBER)
    ledger.refund(reference, 1_000, key="r", reason="fault", now=IN_DECEMBER)
    charge(house, 2_000, at=IN_DECEMBER)
    charge(house, 3_000, at=in_january)
    january = invoices.of(house, date(2026, 1, 1), now=later)
    assert january.opening_micros == november.closing_micros + 7_000 + 1_000 - 2_000 == 52_000
    december = invoices.of(house, DECEMBER, now=later)
    assert (december.opening_micros, december.closing_micros) == (46_000, 52_000)
    for shown in (december, january):
        balances(shown)
    assert ledger.verify() == []


def test_a_month_that_is_over_never_changes(house):
    ledger.credit(house.pk, 50_000, source="bought", key="topup:a", now=IN_NOVEMBER)
    reference = charge(house, 4_000, at=IN_NOVEMBER)
    written = invoices.of(house, NOVEMBER, now=IN_DECEMBER)
    ledger.refund(reference, 4_000, key="r", reason="fault", now=IN_DECEMBER)
    invoices.make_out_to(house, Recipient("Somebody else", "", ""))
    Workspace.objects.filter(pk=house.pk).update(name="Renamed")
    assert invoices.of(Workspace.objects.get(pk=house.pk), NOVEMBER, now=AFTER) == written
    december = invoices.of(house, DECEMBER, now=AFTER)
    assert december.recipient.name == "Somebody else"
    assert (december.charged_micros, december.refunded_micros) == (0, 4_000)
    balances(december)
    for change in (lambda rows: rows.update(charged_micros=1), lambda rows: rows.delete()):
        with pytest.raises(DatabaseError, match="not edited"), transaction.atomic():
            change(Invoice.objects.all())


def test_the_present_month_is_as_it_is_so_far(house):
    ledger.credit(house.pk, 50_000, key="promo:a", now=IN_NOVEMBER)
    charge(house, 4_000, at=IN_NOVEMBER)
    shown = invoices.of(house, NOVEMBER, now=IN_NOVEMBER)
    assert not shown.is_final
    balances(shown)
    charge(house, 4_000, at=IN_NOVEMBER)
    assert invoices.of(house, NOVEMBER, now=IN_NOVEMBER).charged_micros == 8_000
    midnight = datetime(2025, 12, 1, tzinfo=UTC)
    assert not invoices.of(house, NOVEMBER, now=midnight + timedelta(minutes=1)).is_final
    assert invoices.of(house, NOVEMBER, now=midnight + invoices.GRACE).is_final
    listed = invoices.months(house.pk, now=midnight)
    assert [(one.month, one.charged_micros, bool(one.number)) for one in listed] == [
        (DECEMBER, 0, False),
        (NOVEMBER, 8_000, True),
    ]


@pytest.mark.parametrize("month", [date(2025, 10, 1), date(2026, 2, 1), date(2000, 1, 1)])
def test_months_that_never_were(house, month):
    with pytest.raises(invoices.NoSuchMonth):
        invoices.of(house, month, now=AFTER)


def test_a_month_in_which_nothing_happened_takes_no_number(house):
    with pytest.raises(invoices.NoSuchMonth):
        invoices.of(house, NOVEMBER, now=AFTER)
    assert not Invoice.objects.exists()


def test_each_is_written_and_mailed_once(house):
    Membership.objects.create(
        workspace=house, user=User.objects.create_user("b@x.test", "pw"), role="billing"
    )
    Membership.objects.create(
        workspace=house, user=User.objects.create_user("d@x.test", "pw"), role="developer"
    )
    ledger.credit(house.pk, 50_000, key="promo:a", now=IN_NOVEMBER)
    charge(house, 4_000, at=IN_NOVEMBER)
    idle = new_workspace(granted=5)
    assert invoices.find_due(now=IN_NOVEMBER) == 0
    assert invoices.find_due(now=datetime(2025, 12, 1, tzinfo=UTC)) == 0
    for _ in range(2):
        assert invoices.find_due(now=IN_DECEMBER) == 1
    for row in Outbox.objects.filter(task=invoices.ISSUE_TASK):
        invoices.issue(message_id=row.pk)
    assert invoices.find_due(now=IN_DECEMBER) == 0
    assert Invoice.objects.get().workspace_id == house.pk != idle.pk
    (mail,) = mails()
    assert mail["to"] == "b@x.test"
    assert "TEST-2025-000001 for November 2025" in mail["subject"]
    assert "/dashboard/invoices/2025-11" in mail["body"]


@pytest.mark.django_db(transaction=True)
def test_numbers_have_no_gaps_however_many_write_at_once(settings):
    houses = [new_workspace(granted=9_000) for _ in range(4)]
    Workspace.objects.update(created_at=IN_NOVEMBER)
    for one in houses:
        charge(one, 1_000, at=IN_NOVEMBER)
    barrier = Barrier(8)

    def write(workspace) -> None:
        barrier.wait()
        try:
            invoices.of(workspace, NOVEMBER, now=AFTER)
        finally:
            connection.close()

    rows = Workspace.objects.filter(pk__in=[one.pk for one in houses])
    threads = [Thread(target=write, args=[one]) for one in [*rows, *rows]]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    numbers = sorted(Invoice.objects.values_list("number", flat=True))
    assert numbers == [f"TEST-2025-{n:06}" for n in range(1, 5)]


def test_pages_file_and_who_sees_them(world):
    world.made(num_images=2)
    month = f"{datetime.now(UTC):%Y-%m}"
    for role in ("owner", "admin", "developer", "billing"):
        world.workspace.memberships.update(role=role)
        page = world.ada.get(f"/dashboard/invoices/{month}")
        assert "kiln/vase 2 images × $0.0040 $0.0040 $0.0080" in text_of(page)
        assert ("Made out to" in text_of(world.ada.get("/dashboard/invoices"))) == (role != "developer")
    assert INLINE.search(page.content.decode()) is None
    file = world.ada.get(f"/dashboard/invoices/{month}/pdf")
    assert file["Content-Type"] == "application/pdf"
    assert f"{month}-so-far.pdf" in file["Content-Disposition"]
    assert "kiln/vase 2 images $0.0040 $0.0080" in words_of(file.content)
    assert "kiln/vase" not in text_of(world.mal.get(f"/dashboard/invoices/{month}"))
    for wrong in ("2026-13", "2026-1", "x", "1999-01", "2026-01-01", "２０２６-01", "%00"):
        assert world.ada.get(f"/dashboard/invoices/{wrong}").status_code == 404
        assert world.ada.get(f"/dashboard/invoices/{wrong}/pdf").status_code == 404


def test_few_files_are_drawn_at_a_time(world, monkeypatch):
    month = f"invoices/{datetime.now(UTC):%Y-%m}/pdf"
    _, key = keys.make(world.workspace, name="books")
    for name, owner in (("FOR_ONE", world.workspace.pk), ("FOR_ALL", world.workspace.pk + 1)):
        with monkeypatch.context() as patched, desk.turn(owner):
            patched.setattr(desk, name, 1)
            assert world.ada.get(f"/dashboard/{month}").status_code == 429
            refused = world.nobody.get(f"/api/v1/{month}", headers={"Authorization": f"Bearer {key}"})
            assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert world.ada.get(f"/dashboard/{month}").status_code == 200


def test_whom_they_are_made_out_to(world):
    page, month = "/dashboard/invoices/recipient", f"{datetime.now(UTC):%Y-%m}"
    world.made()
    names = {"name": "<b>Ada & Co</b>", "address": "1 High Street\nLondon", "tax_id": "GB1"}
    assert world.ada.post(page, names).status_code == 302
    shown = world.ada.get(f"/dashboard/invoices/{month}").content.decode()
    assert "&lt;b&gt;Ada &amp; Co&lt;/b&gt;<br>1 High Street<br>London<br>Tax number GB1" in shown
    assert world.ada.post(page, names | {"tax_id": "x" * 41}).status_code == 422
    assert world.ada.post(page, names | {"name": "a\0b"}).status_code == 422
    world.workspace.memberships.update(role="developer")
    assert world.ada.post(page, {"name": "Mal"}).status_code == 403
    assert invoices.recipient_of(world.workspace).name == "<b>Ada & Co</b>"


@pytest.mark.parametrize(
    "name",
    [
        "Größe Łódź Ελλάς Сияние",
        "北京工作室",
        "東京スタジオ",
        "서울 스튜디오",
        "ไทย",
        "საქართველო",
    ],
)
def test_names_in_any_script_can_be_read_in_the_file(house, name):
    """Each letter has a glyph of its own that says which letter it is."""
    house.name = name
    ledger.credit(house.pk, 50_000, key="promo:a", now=IN_NOVEMBER)
    charge(house, 4_000, at=IN_NOVEMBER)
    assert name in words_of(papers.as_pdf(invoices.of(house, NOVEMBER, now=AFTER)))


def test_what_is_written_from_right_to_left_is_shaped(house):
    house.name = "استوديو"
    ledger.credit(house.pk, 50_000, key="promo:a", now=IN_NOVEMBER)
    charge(house, 4_000, at=IN_NOVEMBER)
    words = words_of(papers.as_pdf(invoices.of(house, NOVEMBER, now=AFTER)))
    assert set("استوديو") <= set(words)


@pytest.mark.parametrize(
    "name",
    [
        "x" * 900,
        "a b " * 300,
        "\x07\x1b[31m\u202etxt.exe\u2066",
        "\U0001f3a8\ud7ff\uffff\U0010ffff",
        "東" * 300,
        "",
    ],
)
def test_hostile_names_become_a_file(house, name):
    invoices.make_out_to(house, Recipient(name[:200], name[:500], name[:40]))
    house.name = name[:80]
    ledger.credit(house.pk, 50_000, key="promo:a", now=IN_NOVEMBER)
    charge(house, 4_000, at=IN_NOVEMBER)
    shown = invoices.of(house, NOVEMBER, now=AFTER)
    made = papers.as_pdf(shown)
    assert made == papers.as_pdf(shown)
    words = words_of(made)
    assert "$0.0040" in words
    assert not set(words) & {"\u202e", "\x1b", "\u2066"}


def test_a_long_month_goes_over_several_pages(house):
    ledger.credit(house.pk, 10_000_000, key="promo:a", now=IN_NOVEMBER)
    for n in range(1, 61):
        charge(house, 1_000 + n, at=IN_NOVEMBER, price=f"0.00{n:03}")
    made = papers.as_pdf(invoices.of(house, NOVEMBER, now=AFTER))
    assert len(PdfReader(io.BytesIO(made)).pages) == 2
    words = words_of(made)
    assert "page 2 of 2" in words
    assert all(f"$0.00{1_000 + n}" in words for n in range(1, 61))


def test_days_of_usage_are_the_charges_of_the_month(house):
    """A month that has usage in its days and no lines in its records still adds up."""
    ledger.credit(house.pk, 50_000, key="promo:a", now=IN_NOVEMBER)
    reference = uuid7()
    ledger.hold(workspace_id=house.pk, reference=reference, amount_micros=77, now=IN_NOVEMBER)
    usage = ledger.Usage(
        model="kiln/vase", status="succeeded", quote={"lines": None}, occurred_at=IN_NOVEMBER
    )
    ledger.capture(reference=reference, amount_micros=77, share=None, usage=usage, now=IN_NOVEMBER)
    shown = invoices.of(house, NOVEMBER, now=AFTER)
    balances(shown)
    assert UsageDay.objects.get().amount_micros == shown.charged_micros == 77


def test_a_refund_made_at_stripe_is_no_dispute_on_the_invoice(stripe_sandbox):
    ada = new_workspace()
    row = bought(stripe_sandbox, ada)
    refund = stripe_sandbox.client().v1.refunds.create({"payment_intent": row.intent_id, "amount": 1000})
    topups.follow_refund(refund.id)
    month = invoices.of(ada, row.settled_at.date())
    assert [(one.words, one.amount_micros) for one in month.movements if one.kind != "purchase"] == [
        ("Bought credit refunded", -10_000_000)
    ]
    topups.follow_dispute(stripe_sandbox.dispute(charge_of(row)))
    month = invoices.of(ada, row.settled_at.date())
    assert {one.kind: one.amount_micros for one in month.movements} == {
        "purchase": 25_000_000,
        "topup_refund": -10_000_000,
        "dispute": -15_000_000,
    }
    assert month.closing_micros == 0
