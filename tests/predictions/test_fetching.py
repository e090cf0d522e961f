"""Files at somebody's address: the run waits for them in sight, and goes on or ends."""

from __future__ import annotations

import pytest

from marketplace.dispatch import redis_client
from marketplace.schema import InvalidInput
from playground import predictions
from playground.models import Asset, Prediction, Upload
from playground.predictions import fetching
from playground.predictions.files import FETCH_LANE
from playground.predictions.find import Place
from playground.predictions.sweep import sweep
from tests.examiner import files
from tests.outbound.server import saying, serving
from tests.predictions import cast
from tests.predictions.test_files import INPUT

pytestmark = pytest.mark.django_db(transaction=True)
SEVERAL = {
    **INPUT,
    "properties": {**INPUT["properties"], "more": {"type": "array", "items": INPUT["properties"]["image"]}},
}


@pytest.fixture
def ada(settings):
    settings.OUTBOUND_PRIVATE = "loopback"
    redis_client().flushdb()
    cast.shelve(name="again", endpoint__input=SEVERAL)
    return cast.payer(name="ada")


def submit(ada, **named) -> Prediction:
    return cast.submit(ada, model="kiln/again", **named)


def test_a_run_waits_for_its_files_and_then_joins_its_lane(ada):
    data = files.picture()
    with serving(saying(body=data, Content_Type="image/png")) as server:
        row = submit(ada, image=f"{server.url}/a/cat%20one.png?size=2", more=[f"{server.url}/b.png"])
        assert (row.status, row.lane) == ("queued", FETCH_LANE)
        assert cast.claim() == []
        assert predictions.waiting(Place(0, row.lane, 0), []) == "Fetching its input files."
        assert sweep()["fetched"] == 1
        fetching.fetch_inputs(row.uid)
        row = cast.again(row)
        assert (row.status, row.lane) == ("queued", cast.LANE)
        asset = Asset.objects.get()
        assert (row.input["image"], row.input["more"]) == (asset.uid, [asset.uid])
        assert (asset.filename in {"cat one.png", "b.png"}, asset.workspace) == (True, ada)
        assert {source.asset for source in row.sources.all()} == {asset}
        fetching.fetch_inputs(row.uid)  # a hint that comes twice
        assert len(server.asked) == 2
    (job,) = cast.claim()
    assert job["input"]["image"].startswith("data:image/png;base64,")
    assert sweep()["fetched"] == 0
    cast.money_is_right()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (saying(404), "404"),
        (saying(body=b"<html>", Content_Type="text/html"), "text/html"),
        (saying(body=b"<html>"), "HTML"),
        (saying(body=files.picture()[:-100]), "cut off"),
        (saying(body=files.picture("WEBP")), "image/webp"),
        (saying(302, Location="http://10.0.0.1/"), "public"),
    ],
)
def test_what_cannot_be_had_ends_the_run_without_a_charge(ada, answer, word):
    with serving(answer) as server:
        row = submit(ada, image=f"{server.url}/a.png")
        fetching.fetch_inputs(row.uid)
    row = cast.again(row)
    assert (row.status, row.error_code, row.cost_micros) == ("failed", "unusable_input", 0)
    assert word in row.error_message
    assert not Upload.objects.exists()
    cast.money_is_right()


@pytest.mark.parametrize(
    "address", ["http://user:word@example.com/a.png", "http://example.com:22/", "http://[::1/", "https:// /a"]
)
def test_what_is_never_asked_is_refused_at_once(ada, address):
    with pytest.raises(InvalidInput) as caught:
        submit(ada, image=address)
    assert [(error.field, error.code) for error in caught.value.errors] == [("image", "file")]


def test_a_run_takes_so_many_new_files(ada):
    with pytest.raises(InvalidInput) as caught:
        submit(ada, more=["https://example.com/a.png"] * 18)
    assert {error.code for error in caught.value.errors} == {"too_many"}


def test_a_run_that_is_cancelled_while_its_files_come_stays_cancelled(ada):
    def script(connection, asked):
        predictions.cancel(row)
        saying(body=files.picture())(connection, asked)

    with serving(script) as server:
        row = submit(ada, image=f"{server.url}/a.png")
        fetching.fetch_inputs(row.uid)
    assert cast.again(row).status == "canceled"
    cast.money_is_right()


def test_a_run_whose_files_never_come_runs_out_of_patience(ada):
    row = submit(ada, image="https://example.com/a.png", start_within=5)
    cast.move_back(row, start_by=10, created_at=10)
    assert sweep()["expired"] == 1
    assert cast.again(row).error_code == "start_deadline"
    fetching.fetch_inputs(row.uid)
    cast.money_is_right()


def test_slow_servers_leave_threads_for_other_work(ada, monkeypatch):
    import threading

    monkeypatch.setattr(fetching, "_room", threading.BoundedSemaphore(1))
    fetching._room.acquire()
    row = submit(ada, image="https://example.com/a.png")
    fetching.fetch_inputs(row.uid)
    assert cast.again(row).status == "queued"
    assert not [key for key in redis_client().scan_iter() if key.startswith(b"hint:")]


def test_an_idempotent_repeat_fetches_nothing(ada):
    with serving(saying(body=files.picture())) as server:
        named = {"image": f"{server.url}/a.png", "idempotency_key": "once"}
        first = submit(ada, **named)
        fetching.fetch_inputs(first.uid)
        assert submit(ada, **named).pk == first.pk
        assert len(server.asked) == 1
