"""Usage and receipts over the API."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from django.db.models import F

from marketplace import keys
from marketplace.models import User
from playground import predictions, statements
from playground.models import Deletion, Prediction
from playground.predictions import delete as deletion
from tests.api.programs import Caller
from tests.api.shapes import assert_problem
from tests.predictions import cast


@pytest.fixture
def spent(world):
    """Two pictures through Ada's key, one by a person, one that failed."""
    user = User.objects.create_user("ada@example.test", "a long password", name="Ada")
    world.ada.run(input={"num_images": 2})
    cast.succeed(cast.claim()[0], pictures=2)
    person = predictions.Caller(workspace=world.workspace, user=user)
    predictions.submit(person, predictions.Request(model="kiln/vase", input={"prompt": "a"}))
    cast.succeed(cast.claim()[0])
    world.ada.run()
    cast.fail(cast.claim()[0])
    return world


def test_by_each_group(spent):
    def grouped(by):
        return spent.ada.get(f"usage?group_by={by}").json()

    by_model = grouped("model")
    assert by_model["total"] == {
        "runs": 3,
        "not_charged_runs": 1,
        "amount_micros": 12_000,
        "refunded_micros": 0,
    }
    assert by_model["results"] == [{"model": "kiln/vase", **by_model["total"]}]
    by_key = grouped("key")
    assert by_key["total"] == by_model["total"]
    assert [one["key"] and one["key"]["name"] for one in by_key["results"]] == ["Ada's", None]
    assert by_key["results"][0]["key"]["prefix"] == spent.ada.key[:15]
    by_member = grouped("member")
    assert [one["member"] and one["member"]["name"] for one in by_member["results"]] == [None, "Ada"]
    by_day = grouped("day")
    assert len(by_day["results"]) == 30
    assert by_day["results"][-1] == {"day": statements.today().isoformat(), **by_model["total"]}
    assert by_day["results"][0]["runs"] == 0
    assert spent.mal.get("usage?group_by=model").json()["results"] == []


def test_a_range_counts_its_days_only(spent):
    yesterday = statements.today() - timedelta(days=1)
    told = spent.ada.get(f"usage?from={yesterday}&to={yesterday}").json()
    assert (told["from"], told["to"], len(told["results"])) == (str(yesterday), str(yesterday), 1)
    assert told["total"]["runs"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=x", "from"),
        ("to=2026-13-01", "to"),
        ("from=2026-05-02&to=2026-05-01", "from"),
        ("from=2020-01-01&to=2026-01-01", "from"),
        ("from=%00", "from"),
        ("to=0001-01-01", "to"),
        ("group_by=secret", "group_by"),
        ("group_by=", "group_by"),
    ],
)
def test_what_cannot_be_asked(world, query, field):
    assert_problem(world.ada.get(f"usage?{query}"), "invalid_input", field=field)
    if field != "group_by":
        assert_problem(world.ada.get(f"usage.csv?{query}"), "invalid_input", field=field)


def test_the_file(spent, monkeypatch):
    from billing import usage

    monkeypatch.setattr(usage, "CHUNK", 1)  # each chunk begins after the last one's end
    answer = spent.ada.get("usage.csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert f"vitrine-usage-{spent.workspace.slug}-" in answer["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [row["status"] for row in rows] == ["failed", "succeeded", "succeeded"]
    assert sum(int(row["amount_micros"]) for row in rows) == 12_000
    assert [row["amount_usd"] for row in rows] == ["0.000000", "0.004000", "0.008000"]
    assert [row["member"] for row in rows] == ["", "ada@example.test", ""]


def test_a_receipt_says_what_was_quoted_held_charged_and_released(spent):
    found = spent.ada.get("receipts").json()["results"]
    assert [one["charged_micros"] for one in found] == [0, 4_000, 8_000]
    failed, _, pictures = found
    assert (failed["held_micros"], failed["released_micros"]) == (4_000, 4_000)
    assert (pictures["held_micros"], pictures["released_micros"]) == (8_000, 0)
    assert pictures["lines"][0]["amount_micros"] == pictures["quoted_micros"] == 8_000
    assert pictures["settled_at"] > pictures["created_at"]
    assert spent.ada.get(f"receipts/{pictures['prediction']}").json() == pictures
    assert_problem(spent.mal.get(f"receipts/{pictures['prediction']}"), "not_found")
    assert spent.mal.get("receipts").json()["results"] == []


def test_a_receipt_outlives_its_run(spent):
    before = spent.ada.get("receipts").json()["results"]
    for one in before:
        assert spent.ada.delete(f"predictions/{one['prediction']}").status_code == 204
    hidden = spent.ada.get("receipts").json()["results"]
    gone = {"get": None, "prediction": None, "page": None}
    assert hidden == [
        {**one, "is_deleted": True, "urls": {**gone, "get": one["urls"]["get"]}} for one in before
    ]
    assert spent.ada.get(f"receipts/{hidden[0]['prediction']}").json() == hidden[0]
    Deletion.objects.update(created_at=F("created_at") - timedelta(hours=1))
    deletion.purge()
    assert spent.ada.get("receipts").json()["results"] == hidden
    Deletion.objects.update(purged_at=F("purged_at") - timedelta(days=3))
    deletion.forget_husks()
    assert not Prediction.objects.exists()
    kept = spent.ada.get("receipts").json()["results"]
    money = (
        "prediction",
        "model",
        "status",
        "held_micros",
        "charged_micros",
        "released_micros",
        "settled_at",
    )
    assert [[one[name] for name in money] for one in kept] == [
        [one[name] for name in money] for one in hidden
    ]
    assert [(one["via"], one["started_at"], one["is_deleted"]) for one in kept] == [(None, None, True)] * 3
    assert [one["lines"] for one in kept[1:]] == [one["lines"] for one in before[1:]]
    for one in kept:
        assert spent.ada.get(f"receipts/{one['prediction']}").json() == one
        assert_problem(spent.mal.get(f"receipts/{one['prediction']}"), "not_found")
    assert spent.mal.get("receipts").json()["results"] == []


@pytest.mark.parametrize("wrong", ["p_nothing", "nothing", "p_" + "7" * 26, "%00", "k_" + "0" * 26])
def test_there_is_no_receipt_of_what_never_was(world, wrong):
    assert_problem(world.ada.get(f"receipts/{wrong}"), "not_found")


def test_a_page_of_receipts_takes_a_fixed_number_of_queries(spent, django_assert_max_num_queries):
    with django_assert_max_num_queries(7):
        assert len(spent.ada.get("receipts").json()["results"]) == 3


def test_an_open_run_has_a_hold_and_no_charge_yet(world):
    uid = world.ada.run().json()["id"]
    told = world.ada.get(f"receipts/{uid}").json()
    assert (told["held_micros"], told["charged_micros"], told["released_micros"]) == (4_000, None, None)
    assert world.ada.get("receipts").json()["results"] == []


def test_receipts_go_in_pages(spent):
    first = spent.ada.get("receipts?limit=2").json()
    second = spent.ada.get(first["next"]).json()
    ids = [one["prediction"] for one in first["results"] + second["results"]]
    assert len(set(ids)) == 3
    assert second["next"] is None


def test_a_key_of_another_workspace_has_no_name_here(world):
    """Row ids are numbers: a record that named a foreign one would still not tell whose it is."""
    from billing.usage import Group

    foreign = keys.make(world.other, name="Mal's other")[0]
    assert statements.names_of(world.workspace, Group.KEY, {foreign.pk}) == {}
    assert (
        Caller(keys.make(world.workspace, name="x", scopes=["usage:read"])[1]).get("usage").status_code == 200
    )
