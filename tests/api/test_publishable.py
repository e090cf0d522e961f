"""Publishable keys before Django: from their origins only, their models only, their own runs only, within their day."""

from __future__ import annotations

import pytest

from billing import ledger
from marketplace import keys
from playground import keyring, predictions
from tests.api.programs import Caller
from tests.api.shapes import assert_problem
from tests.predictions import cast

ORIGIN = "https://shop.example"


class Page(Caller):
    """A web page at `origin` that has the key in its code."""

    origin: str | None = ORIGIN

    def headers(self, given):
        sent = super().headers(given)
        return {**sent, "Origin": self.origin} if self.origin is not None else sent


@pytest.fixture
def row_and_text(world):
    wish = keyring.Wish(
        name="shop",
        scopes=(),
        is_publishable=True,
        origins=[ORIGIN, "http://localhost:3000"],
        model_ids=["kiln/vase"],
        limit_day_micros=3 * cast.PRICE_MICROS,
    )
    made = keyring.make(world.workspace, wish, rights=keyring.rights_of(role="owner"))
    assert made is not None
    return made


@pytest.fixture
def page(row_and_text):
    return Page(row_and_text[1])


def test_it_is_told_from_a_secret_one_by_its_looks(world, row_and_text):
    row, text = row_and_text
    assert text.startswith("vt_pub")
    assert len(text) == len(world.ada.key)
    assert not any(keys.make(world.workspace, name="x")[0].key_id.startswith("pub") for _ in range(200))
    key_id, secret = text.rsplit("_", 1)
    assert keys.resolve(f"{key_id}:{secret}", origin=ORIGIN).pk == row.pk


def test_it_runs_its_model_and_sees_its_own_runs(world, page):
    other = cast.submit(world.workspace)
    own = page.run()
    assert own.status_code == 201
    uid = own.json()["id"]
    assert page.get(f"predictions/{uid}").status_code == 200
    assert [one["id"] for one in page.get("predictions").json()["results"]] == [uid]
    for method, path in (("get", ""), ("post", "/cancel")):
        assert_problem(getattr(page, method)(f"predictions/{other.uid}{path}"), "not_found")
    assert cast.again(other).status == "queued"
    assert page.post(f"predictions/{uid}/cancel").json()["status"] == "canceled"
    assert {one["id"] for one in world.ada.get("predictions").json()["results"]} == {uid, other.uid}


def test_its_list_knows_no_cursor_of_others(world, page):
    theirs = [cast.submit(world.workspace) for _ in range(2)]
    own = [page.run().json()["id"] for _ in range(2)]
    cursor = "n" + theirs[0].uid.removeprefix("p_")
    assert world.ada.get(f"predictions?cursor={cursor}").status_code == 200
    assert_problem(page.get(f"predictions?cursor={cursor}"), "invalid_cursor")
    first = page.get("predictions?limit=1").json()
    assert page.delete(f"predictions/{own[1]}?cancel=true").status_code == 204  # where the next page begins
    rest = page.get(first["next"]).json()
    assert [one["id"] for one in first["results"] + rest["results"]] == own[::-1]


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "*",
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.example",
        "https://www.shop.example",
        "https://shop.example/",
        "https://shop.example, https://evil.example",
        "http://localhost",
    ],
)
def test_other_origins_are_refused_everywhere(world, page, origin):
    uid = page.run().json()["id"]
    page.origin = origin
    for answer in (
        page.get("key"),
        page.get("predictions"),
        page.get(f"predictions/{uid}"),
        page.run(),
        page.post("quotes", {"model": "kiln/vase", "input": {"prompt": "a"}}),
        page.post(f"predictions/{uid}/cancel"),
        page.get("models"),
    ):
        assert_problem(answer, "origin_not_allowed")


def test_other_models_are_refused_before_money_moves(world, page):
    cast.shelve(name="bowl")
    body = {"model": "kiln/bowl", "input": {"prompt": "a bowl"}}
    before = ledger.balance(world.workspace.pk)
    assert_problem(page.post("predictions", body), "model_not_allowed")
    assert_problem(page.post("quotes", body), "model_not_allowed")
    assert ledger.balance(world.workspace.pk) == before
    assert world.ada.post("predictions", body).status_code == 201


def test_its_day_has_an_end(world, page):
    assert [page.run().status_code for _ in range(4)] == [201, 201, 201, 402]
    assert world.ada.run().status_code == 201


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "models"),
        ("get", "models/kiln/vase"),
        ("get", "balance"),
        ("get", "keys"),
        ("post", "keys"),
        ("get", "usage"),
        ("get", "usage.csv"),
        ("get", "receipts"),
        ("get", "receipts/{uid}"),
    ],
)
def test_the_rest_of_the_api_is_closed_to_it(world, page, row_and_text, method, path):
    row, _ = row_and_text
    uid = page.run().json()["id"]
    answer = getattr(page, method)(path.format(uid=uid))
    assert_problem(answer, "missing_scope")
    row.scopes = list(keys.SCOPES)  # as if a mistake had given it all of them
    row.save()
    keys.forget()
    assert_problem(getattr(page, method)(path.format(uid=uid)), "forbidden")


def test_it_tells_of_itself(page):
    told = page.get("key").json()
    assert told["kind"] == "publishable"
    assert (told["origins"], told["models"]) == ([ORIGIN, "http://localhost:3000"], ["kiln/vase"])
    assert told["scopes"] == list(keys.PUBLISHABLE_SCOPES)


def test_another_callers_idempotency_key_gives_it_no_run(world, page):
    body = {"model": "kiln/vase", "input": {"prompt": "a vase"}}
    secret = world.ada.post("predictions", body, Idempotency_Key="order-1").json()
    own = page.post("predictions", body, Idempotency_Key="order-1")
    assert own.json()["id"] != secret["id"]
    assert "Idempotent-Replayed" not in own.headers
    again = page.post("predictions", body, Idempotency_Key="order-1")
    assert again.json()["id"] == own.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"


def test_the_workspaces_files_are_none_of_its_business(world, page, row_and_text):
    from marketplace import schema
    from playground.predictions.files import take_files

    made = cast.submit(world.workspace)
    cast.succeed(cast.claim()[0])
    asset = cast.again(made).assets.get()
    described = {"type": "object", "properties": {"picture": {"type": "string", "x-media": ["image/png"]}}}
    take_files(world.workspace, None, described, {"picture": asset.uid})
    with pytest.raises(schema.InvalidInput, match="no file of this workspace"):
        take_files(world.workspace, None, described, {"picture": asset.uid}, key=row_and_text[0])
    own = page.run().json()["id"]
    cast.succeed(cast.claim()[0])
    mine = predictions.find(world.workspace, own).assets.get()
    take_files(world.workspace, None, described, {"picture": mine.uid}, key=row_and_text[0])


def test_a_secret_key_needs_no_origin_and_minds_none(world):
    for origin in (None, "https://anywhere.example"):
        who = Page(world.ada.key)
        who.origin = origin
        assert who.get("key").status_code == 200


def test_nobody_is_called_for_it(world, page):
    answer = page.run(webhook="https://example.test/hook")
    assert assert_problem(answer, "invalid_input")["errors"][0]["field"] == "webhook"
    assert not world.workspace.predictions.exists()


def test_it_deletes_no_run_but_its_own(world, page):
    other = cast.submit(world.workspace)
    assert_problem(page.delete(f"predictions/{other.uid}?cancel=true"), "not_found")
    assert cast.again(other).status == "queued"
    own = page.run().json()["id"]
    assert page.delete(f"predictions/{own}?cancel=true").status_code == 204
