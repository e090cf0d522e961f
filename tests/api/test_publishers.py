"""Publishers, earnings and payouts over the API, and who may see and do what."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils import timezone

from billing import ledger, payouts
from billing.models.payouts import Payout
from marketplace import keys, publishers
from marketplace.models import Membership, Publisher, User, Workspace
from playground.api import openapi
from tests.api.programs import Caller
from tests.api.shapes import assert_problem
from tests.api.test_described import validate
from tests.predictions import cast

USD = 1_000_000
OPENING = {"name": "northlight", "title": "Northlight", "terms": True}


def as_described(answer, path: str, method: str = "get"):
    """The body of a good answer, which is as the document says."""
    document = openapi.document()
    said = document["paths"][f"/api/v1/{path}"][method]["responses"][str(answer.status_code)]
    validate(document, said["content"]["application/json"]["schema"], answer.json())
    return answer.json()


@pytest.fixture
def house(world, settings):
    """Ada's workspace publishes, has earned 92 dollars of which 80 can be paid out, and is paid by hand."""
    settings.PAYOUT_METHODS = ["manual"]
    made = publishers.found(world.workspace, name="northlight", agreed=True, by=None)
    earn(made, 100 * USD, ago=timedelta(days=8))
    earn(made, 15 * USD, ago=timedelta(days=1))
    user = User.objects.create_user("ada@example.test", "a long password")
    payouts.set_method(made, "manual", bank_details="IBAN 12", by=user)
    ledger.mature(made.pk, delay=timedelta(days=7), now=timezone.now())
    return made


def earn(publisher: Publisher, micros: int, *, ago: timedelta) -> Workspace:
    """A run that somebody pays for with all they have bought; who."""
    payer, reference = cast.payer(credit=0), uuid4()
    ledger.credit(payer.pk, micros, source="bought", key=f"x:{reference}")
    ledger.hold(workspace_id=payer.pk, reference=reference, amount_micros=micros)
    lines = [{"unit": "image", "quantity": "1", "unit_price": "1", "amount_micros": micros}]
    usage = ledger.Usage(
        model=f"{publisher.name}/dusk",
        status="succeeded",
        quote={"lines": lines, "amount_micros": micros},
        units={"image": "1"},
        user_id=None,
    )
    ledger.capture(
        reference=reference,
        amount_micros=micros,
        share=ledger.Share(publisher.pk, Decimal("0.8")),
        usage=usage,
        now=timezone.now() - ago,
    )
    return payer


def test_a_program_starts_publishing(world):
    assert world.ada.get("publishers").json()["results"] == []
    made = world.ada.post("publishers", OPENING)
    body = as_described(made, "publishers", "post")
    assert (body["id"], body["title"], body["share_percent"]) == ("northlight", "Northlight", "80")
    assert made.headers["Location"] == body["urls"]["get"]
    assert as_described(world.ada.get("publishers"), "publishers")["results"] == [body]
    assert as_described(world.ada.get("publishers/northlight"), "publishers/{publisher}") == body
    assert_problem(world.ada.post("publishers", {**OPENING, "name": "south"}), "publisher_refused")
    changed = world.ada.patch("publishers/northlight", {"name": "polestar", "title": "Pole"})
    assert as_described(changed, "publishers/{publisher}", "patch")["id"] == "polestar"
    cast.catalog.publish(Publisher.objects.get(name="polestar"), cast.manifest())
    assert_problem(world.ada.patch("publishers/polestar", {"name": "other"}), "publisher_refused")
    assert world.ada.get("publishers/polestar").json()["can_be_renamed"] is False


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"name": "kiln"}, "name", "taken"),
        ({"name": "k1ln"}, "name", "taken"),
        ({"name": "vitrine"}, "name", "not_allowed"),
        ({"name": "North Light"}, "name", "pattern"),
        ({"terms": False}, "terms", "required"),
        ({"terms": "yes"}, "terms", "type"),
        ({"title": "x" * 100}, "title", "too_long"),
        ({"share_percent": 100}, "share_percent", "unknown"),
    ],
)
def test_what_cannot_be_is_named(world, change, field, code):
    body = assert_problem(world.ada.post("publishers", {**OPENING, **change}), "invalid_input")
    assert [(error["field"], error["code"]) for error in body["errors"]] == [(field, code)]
    assert not publishers.of(world.workspace).exists()


def test_what_was_earned(world, house):
    answer = world.ada.get("publishers/northlight/earnings")
    body = as_described(answer, "publishers/{publisher}/earnings")
    assert body["total"]["earned_micros"] == 92 * USD
    assert body["balance"]["payable_micros"] == 80 * USD
    assert body["balance"]["pending_micros"] == 12 * USD
    assert [one["amount_micros"] for one in body["balance"]["maturing"]] == [12 * USD]
    assert [one["model"] for one in body["results"]] == ["northlight/dusk"] * 2
    by_unit = as_described(
        world.ada.get("publishers/northlight/earnings?group_by=unit"), "publishers/{publisher}/earnings"
    )
    assert {one["unit"] for one in by_unit["results"]} == {"image"}
    assert_problem(world.ada.get("publishers/northlight/earnings?group_by=buyer"), "invalid_input")
    assert_problem(world.ada.get("publishers/northlight/earnings?from=never"), "invalid_input")


def test_statements_add_up(world, house):
    listed = as_described(
        world.ada.get("publishers/northlight/statements"), "publishers/{publisher}/statements"
    )
    assert listed["results"][0]["closing_micros"] == 92 * USD
    assert listed["results"][0]["is_final"] is False
    for one in listed["results"]:
        moved = one["earned_micros"] - one["refunded_micros"] + one["disputes_micros"]
        moved += one["returned_micros"] - one["paid_out_micros"]
        assert one["opening_micros"] + moved == one["closing_micros"]
        again = world.ada.get(one["urls"]["get"].partition("/api/v1/")[2])
        assert as_described(again, "publishers/{publisher}/statements/{month}") == one
    for month in ("1999-01", "2026-13", "now"):
        assert_problem(world.ada.get(f"publishers/northlight/statements/{month}"), "not_found")


def test_what_a_dispute_took_is_in_the_statement(world, house):
    payer = earn(house, 10 * USD, ago=timedelta(0))
    lately = timezone.now() - timedelta(hours=1)
    assert ledger.dispute_withdrawn("dp_1", payer.pk, 10 * USD, paid_at=lately).shares_micros == 8 * USD
    path = f"publishers/northlight/statements/{timezone.now():%Y-%m}"
    one = as_described(world.ada.get(path), "publishers/{publisher}/statements/{month}")
    assert (one["disputes_micros"], one["closing_micros"]) == (-8 * USD, 92 * USD)
    test_statements_add_up(world, house)


def test_a_payout_is_asked_for_once(world, house):
    path = "publishers/northlight/payouts"
    made = world.ada.post(path, idempotency_key="november")
    body = as_described(made, "publishers/{publisher}/payouts", "post")
    assert (made.status_code, body["amount_micros"], body["status"]) == (201, 80 * USD, "new")
    assert "IBAN" not in made.text
    again = world.ada.post(path, idempotency_key="november")
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (body, "true")
    refused = assert_problem(world.ada.post(path), "payout_refused")
    assert "under way" in refused["detail"]
    assert Payout.objects.count() == 1
    one = as_described(
        world.ada.get(made.headers["Location"].partition("/api/v1/")[2]),
        "publishers/{publisher}/payouts/{payout_id}",
    )
    assert one == body
    assert payouts.mark_paid(Payout.objects.get(), reference="TX 1", by=None)
    assert world.ada.get(f"{path}/{body['id']}").json()["status"] == "paid"
    assert "matured" in assert_problem(world.ada.post(path), "payout_refused")["detail"]
    cast.money_is_right()


def test_payouts_are_paged(world, house):
    for n in range(3):
        Payout.objects.create(
            publisher=house,
            book="test",
            method="manual",
            kind="requested",
            status="failed",
            amount_micros=10_000,
            destination="x",
            created_at=timezone.now() - timedelta(days=n),
            settled_at=timezone.now(),
        )
    first = as_described(
        world.ada.get("publishers/northlight/payouts?limit=2"), "publishers/{publisher}/payouts"
    )
    assert len(first["results"]) == 2
    second = world.ada.get(first["next"].replace("http://testserver/api/v1/", "")).json()
    assert len(second["results"]) == 1
    assert second["next"] is None


def test_others_find_nothing(world, house):
    row = payouts.start(house, by=None)
    other = publishers.found(world.other, name="south", agreed=True, by=None)
    for path in (
        "publishers/northlight",
        "publishers/northlight/earnings",
        "publishers/northlight/statements",
        f"publishers/northlight/statements/{timezone.now():%Y-%m}",
        "publishers/northlight/payouts",
        f"publishers/northlight/payouts/{row.uid}",
        f"publishers/{other.name}/payouts/{row.uid}",
        "publishers/nobody/earnings",
        "publishers/kiln/earnings",
    ):
        assert_problem(world.mal.get(path), "not_found")
        assert_problem(world.nobody.get(path), "not_authenticated")
    assert_problem(world.mal.post("publishers/northlight/payouts"), "not_found")
    assert_problem(world.mal.patch("publishers/northlight", {"title": "Mal's"}), "not_found")
    assert Publisher.objects.get(name="northlight").title == ""


def test_scopes_and_roles(world, house, key_with):
    reader = key_with(scopes=["publishers:read"])
    assert reader.get("publishers/northlight/payouts").status_code == 200
    for scopes, path in (
        (["publishers:read"], "publishers/northlight/payouts"),
        (["publishers:write"], "publishers/northlight/payouts"),
        (["payouts:write"], "publishers"),
    ):
        assert_problem(key_with(scopes=scopes).post(path, {}), "missing_scope")
    assert_problem(key_with(scopes=["publishers:write"]).get("publishers"), "missing_scope")
    assert not Payout.objects.exists()
    assert key_with(scopes=["payouts:write"]).post("publishers/northlight/payouts").status_code == 201


@pytest.mark.parametrize(("role", "opens", "is_paid"), [("developer", 403, 403), ("billing", 403, 201)])
def test_what_a_signed_in_role_may(world, house, role, opens, is_paid):
    user = User.objects.create_user(f"{role}@example.test", "a long password")
    Membership.objects.create(user=user, workspace=world.workspace, role=role)
    caller = Caller()
    caller.client.force_login(user)
    assert caller.get("publishers/northlight/earnings").status_code == 200
    assert caller.post("publishers", OPENING).status_code == opens
    assert caller.patch("publishers/northlight", {"title": "x"}).status_code == 403
    assert caller.post("publishers/northlight/payouts").status_code == is_paid


def test_keys_get_no_more_than_their_makers_may(world):
    from playground import keyring

    developer = keyring.rights_of(role="developer").scopes
    assert "publishers:read" in developer
    assert not developer & {"publishers:write", "payouts:write"}
    assert {"publishers:write", "payouts:write"} <= keyring.rights_of(role="admin").scopes
    assert set(keyring.PRESETS["everything"]) <= developer
    assert set(keys.SCOPES) == set(keyring.rights_of(role="owner").scopes)
