"""Files in an input: whose they are, and that the worker gets their bytes."""

from __future__ import annotations

import base64
import sys

import pytest

from marketplace.schema import InvalidInput
from playground import assets, predictions
from playground.api.problems import problem_of
from playground.models import Asset, Upload
from playground.predictions import submit as _submit
from tests.predictions import cast

assert _submit
submit_module = sys.modules["playground.predictions.submit"]  # whose name the package gives to its function
pytestmark = pytest.mark.django_db(transaction=True)
INPUT = {**cast.MANIFEST["endpoint"]["input"]}
INPUT["properties"] = {
    **INPUT["properties"],
    "image": {"type": "string", "x-media": ["image/png"], "x-order": 5},
}


@pytest.fixture
def ada():
    cast.shelve(name="again", endpoint__input=INPUT)
    return cast.payer(name="ada")


def made_by(workspace) -> Asset:
    """A picture that the workspace has from an earlier run."""
    row = cast.submit(workspace, model="kiln/again")
    (job,) = cast.claim()
    cast.succeed(job)
    return Asset.objects.get(prediction=row)


def test_the_worker_gets_the_bytes_of_an_asset_and_the_row_keeps_its_name(ada):
    asset = made_by(ada)
    row = cast.submit(ada, model="kiln/again", image=asset.uid)
    (job,) = cast.claim()
    kind, _, data = job["input"]["image"].partition(";base64,")
    assert kind == "data:image/png"
    assert base64.b64decode(data) == cast.png(0)
    assert cast.again(row).input["image"] == asset.uid


def test_what_is_sent_whole_arrives_whole(ada):
    sent = "data:image/png;base64," + base64.b64encode(cast.png(3)).decode()
    row = cast.submit(ada, model="kiln/again", image=sent)
    (job,) = cast.claim()
    assert job["input"]["image"] == sent
    asset = Asset.objects.get(kind="upload")
    assert (row.input["image"], asset.workspace, asset.width) == (asset.uid, ada, 8)
    assert {source.asset for source in row.sources.all()} == {asset}
    again = cast.submit(ada, model="kiln/again", image=sent)
    assert again.input["image"] == asset.uid
    assert Asset.objects.count() == 1
    # What was to be kept for a moment only is not kept longer because it was sent elsewhere, too.
    Asset.objects.update(expires_at=asset.created_at + cast.later(seconds=3600))
    other = cast.submit(ada, model="kiln/again", image=sent)
    assert other.input["image"] != asset.uid
    assert len(set(Asset.objects.values_list("storage_name", flat=True))) == 1


def test_what_is_sent_whole_and_is_no_picture_is_an_error_of_its_field(ada):
    for data, word in ((cast.png(3)[:60], "cut off"), (b"<svg/>", "SVG")):
        sent = "data:image/png;base64," + base64.b64encode(data).decode()
        with pytest.raises(InvalidInput) as caught:
            cast.submit(ada, model="kiln/again", image=sent)
        (error,) = caught.value.errors
        assert (error.field, error.code) == ("image", "file")
        assert word in error.message
    assert not Asset.objects.exists()
    assert not Upload.objects.exists()
    cast.money_is_right()


def test_one_of_our_own_addresses_is_the_asset(ada):
    asset = made_by(ada)
    for address in (assets.address(asset), f"https://elsewhere.test{assets.address(asset)}"):
        row = cast.submit(ada, model="kiln/again", image=address)
        assert row.input["image"] == asset.uid
    mal = cast.payer(name="mal")
    with pytest.raises(InvalidInput) as caught:
        cast.submit(mal, model="kiln/again", image=assets.address(asset))
    assert [error.code for error in caught.value.errors] == ["not_found"]


def test_a_file_is_kept_while_a_run_needs_it_and_for_a_while_after(ada, settings):
    settings.UPLOAD_DAYS = 0
    asset = made_by(ada)
    Asset.objects.update(expires_at=cast.dt.datetime.now(cast.dt.UTC) + cast.later(seconds=60))
    row = cast.submit(ada, model="kiln/again", image=asset.uid)
    asset.refresh_from_db()
    assert asset.expires_at >= row.start_by
    Asset.objects.update(expires_at=cast.dt.datetime(2020, 1, 1, tzinfo=cast.dt.UTC))
    assert assets.purge_expired() == 0
    with pytest.raises(assets.InUse) as caught:
        assets.delete(asset)
    assert problem_of(caught.value).code == "asset_in_use"
    (job,) = cast.claim()
    assert job["input"]["image"].startswith("data:image/png")
    cast.succeed(job)
    assert assets.purge_expired() == 1


def test_an_asset_can_be_deleted_when_no_run_needs_it(ada):
    asset = made_by(ada)
    predictions.cancel(cast.submit(ada, model="kiln/again", image=asset.uid))
    assets.delete(asset)
    assert not Asset.objects.filter(pk=asset.pk).exists()
    assets.delete(asset)


def test_a_file_that_is_deleted_while_a_run_is_taken_in_is_an_error(ada, monkeypatch):
    asset = made_by(ada)
    taken = submit_module.take_files

    def deleting(*args, **named):
        found = taken(*args, **named)
        assets.delete(asset)
        return found

    monkeypatch.setattr(submit_module, "take_files", deleting)
    with pytest.raises(InvalidInput):
        cast.submit(ada, model="kiln/again", image=asset.uid)
    cast.money_is_right()


def test_assets_of_others_and_expired_ones_are_refused_alike_and_nothing_is_held(ada):
    mal = cast.payer(name="mal")
    theirs = made_by(ada)
    gone = made_by(mal)
    Asset.objects.filter(pk=gone.pk).update(expires_at=cast.dt.datetime(2020, 1, 1, tzinfo=cast.dt.UTC))
    said = []
    for asset in (theirs, gone):
        with pytest.raises(InvalidInput) as caught:
            cast.submit(mal, model="kiln/again", image=asset.uid)
        said.append([(e.field, e.code, e.message) for e in caught.value.errors])
    assert said[0] == said[1]
    assert said[0][0][:2] == ("image", "not_found")
    cast.money_is_right()


def test_an_asset_of_another_type_is_refused(ada):
    asset = made_by(ada)
    Asset.objects.filter(pk=asset.pk).update(media_type="image/webp")
    with pytest.raises(InvalidInput) as caught:
        cast.submit(ada, model="kiln/again", image=asset.uid)
    assert [e.code for e in caught.value.errors] == ["media_type"]


def test_a_run_that_cannot_be_started_is_not_taken_for_ever(ada, monkeypatch):
    row = cast.submit(ada, model="kiln/again")

    def broken(row):
        raise RuntimeError("no file system")

    monkeypatch.setattr(cast.work, "with_files", broken)
    for _ in range(cast.work.MAX_FAULTS):
        cast.wait_out(row)
        with pytest.raises(RuntimeError):
            cast.claim()
    ended = cast.again(row)
    assert (ended.status, ended.error_code, ended.cost_micros) == ("failed", "not_started", 0)
    assert cast.claim() == []
    cast.money_is_right()
