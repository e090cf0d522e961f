"""The files of adapters beside an engine: fetched once, whole or not at all, the oldest going first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from playground.models import Asset
from tests.predictions import cast
from tests.predictions.test_adapters import INPUT, sent, submit, weights
from workers.adapters import AdapterFiles
from workers.engine import EngineError

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told():
    """What the worker is told of three adapters."""
    cast.shelve(name="worn", endpoint__input=INPUT)
    submit(cast.payer(name="ada"), *({"file": sent(n)} for n in range(3)))
    (job,) = cast.claim()
    return job["adapters"]


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def test_a_file_comes_from_storage_once(told, tmp_path):
    kept = AdapterFiles(tmp_path / "adapters", room_bytes=10_000)
    found = kept.fetch(told[0])
    assert Path(found.path).read_bytes() == weights(0)
    assert (found.sha256, found.weight, found.name) == (told[0]["sha256"], 1.0, told[0]["name"])
    Asset.objects.filter(sha256=found.sha256).delete()
    assert kept.fetch(told[0]) == found


def test_a_file_that_a_power_cut_left_half_comes_anew(told, tmp_path):
    kept = AdapterFiles(tmp_path, room_bytes=10_000)
    Path(kept.fetch(told[0]).path).write_bytes(b"")
    assert Path(kept.fetch(told[0]).path).read_bytes() == weights(0)


def test_a_file_that_was_damaged_on_this_disk_comes_anew_for_the_next_process(told, tmp_path):
    path = Path(AdapterFiles(tmp_path, room_bytes=10_000).fetch(told[0]).path)
    path.write_bytes(bytes(len(weights(0))))
    assert Path(AdapterFiles(tmp_path, room_bytes=10_000).fetch(told[0]).path).read_bytes() == weights(0)
    assert names(tmp_path) == {told[0]["sha256"]}


def test_those_unused_longest_make_room(told, tmp_path):
    kept = AdapterFiles(tmp_path, room_bytes=2 * len(weights()) + 1)
    first, second = kept.fetch(told[0]), kept.fetch(told[1])
    os.utime(first.path, (1, 1))
    os.utime(second.path, (2, 2))
    kept.fetch(told[0])
    kept.fetch(told[2])
    assert names(tmp_path) == {told[0]["sha256"], told[2]["sha256"]}


def test_what_is_gone_or_changed_is_said_and_leaves_nothing(told, tmp_path):
    kept = AdapterFiles(tmp_path, room_bytes=10_000)
    asset = Asset.objects.get(sha256=told[0]["sha256"])
    default_storage.delete(asset.storage_name)
    default_storage.save(asset.storage_name, ContentFile(b"something else"))
    with pytest.raises(EngineError) as changed:
        kept.fetch(told[0])
    assert changed.value.retryable
    Asset.objects.all().delete()
    with pytest.raises(EngineError) as gone:
        kept.fetch(told[1])
    assert not gone.value.retryable
    assert "was deleted" in gone.value.sentence
    assert names(tmp_path) == set()
