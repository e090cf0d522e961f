"""Runs taken along: zips with their media, tables and JSON lines."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile

import pytest
from django.core.files.storage import default_storage

from playground.models import Asset
from playground.predictions import export
from tests.pages.history import LIST, form_of, streamed
from tests.predictions import cast


def test_everything_as_one_zip(world):
    two, one = world.made(num_images=2), world.made()
    world.failed()
    packed = zipfile.ZipFile(io.BytesIO(streamed(world.ada.post(f"{LIST}/download", form_of(world)))))
    assert sorted(packed.namelist()) == sorted(
        ["manifest.json", f"{two.uid}/1.png", f"{two.uid}/2.png", f"{one.uid}/1.png"]
    )
    words_only = form_of(world, q="nothing of the kind")
    assert "newest" not in words_only or words_only["newest"] == ""


def test_a_zip_has_every_file_and_their_sums(world):
    two, one, theirs = world.made(num_images=2, token="hush"), world.made(), world.failed()
    ids = {"id": [two.uid, one.uid, theirs.uid]}
    answer = world.ada.post(f"{LIST}/download", ids)
    assert answer["Content-Type"] == "application/zip"
    packed = zipfile.ZipFile(io.BytesIO(streamed(answer)))
    assert packed.testzip() is None
    manifest = json.loads(packed.read("manifest.json"))
    files = [file for run in manifest["predictions"] for file in run["files"]]
    assert sorted(file["name"] for file in files) == sorted(
        [f"{two.uid}/1.png", f"{two.uid}/2.png", f"{one.uid}/1.png"]
    )
    for file in files:
        assert hashlib.sha256(packed.read(file["name"])).hexdigest() == file["sha256"]
        assert Asset.objects.filter(sha256=file["sha256"]).exists()
    assert "hush" not in json.dumps(manifest)
    assert (
        "None of these runs has media"
        in world.mal.post(f"{LIST}/download", ids, follow=True).content.decode()
    )


def test_a_file_that_is_gone_from_storage_is_said_to_be_missing(world):
    row = world.made(num_images=2)
    default_storage.delete(Asset.objects.get(prediction=row, position=0).storage_name)
    packed = zipfile.ZipFile(io.BytesIO(streamed(world.ada.post(f"{LIST}/download", {"id": row.uid}))))
    files = json.loads(packed.read("manifest.json"))["predictions"][0]["files"]
    assert files[0]["is_missing"]
    assert packed.namelist() == [f"{row.uid}/2.png", "manifest.json"]


def test_a_zip_has_bounds(world, monkeypatch):
    row = world.made(num_images=2)
    monkeypatch.setattr(export, "MAX_FILES", 1)
    page = world.ada.post(f"{LIST}/download", {"id": row.uid, "back": "q=teal"}, follow=True)
    assert "at most 1 files" in page.content.decode()
    assert page.redirect_chain[0][0] == f"{LIST}?q=teal"
    monkeypatch.setattr(export, "MAX_FILES", 100)
    Asset.objects.update(size=2**30)
    assert "2,048 MB" in world.ada.post(f"{LIST}/download", {"id": row.uid}, follow=True).content.decode()


def test_a_table_of_what_matches(world, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 2)
    rows = [world.made(prompt=f"a teal vase, number {n}", token="hush") for n in range(5)]
    world.failed()
    answer = world.ada.get(f"{LIST}/export/csv", {"status": "succeeded", "before": rows[0].uid})
    assert answer["Content-Type"].startswith("text/csv")
    assert "attachment" in answer["Content-Disposition"]
    text = streamed(answer).decode()
    table = list(csv.DictReader(io.StringIO(text)))
    assert [line["id"] for line in table] == [row.uid for row in reversed(rows)]
    assert {line["cost_micros"] for line in table} == {"4000"}
    assert "hush" not in text


@pytest.mark.parametrize("prompt", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "  =cmd|x", "＝1", "\r\n=1"])
def test_no_cell_is_a_formula(world, prompt):
    world.made(prompt=prompt)
    table = list(
        csv.DictReader(io.StringIO(streamed(world.ada.get(f"{LIST}/export/csv")).decode(), newline=""))
    )
    assert table[0]["prompt"].startswith("'")
    assert table[0]["prompt"][1:] == prompt


def test_json_lines_are_what_the_api_shows(world):
    rows = [world.made(token="hush"), world.failed(), world.run()]
    lines = streamed(world.ada.get(f"{LIST}/export/jsonl")).decode().splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["id"] for one in found] == [row.uid for row in reversed(rows)]
    assert found[2]["output"]["images"][0]["sha256"]
    assert found[2]["quote"] == cast.again(rows[0]).quote
    assert "hush" not in "".join(lines)


def test_an_export_is_of_ones_own_runs(world):
    world.made()
    assert streamed(world.mal.get(f"{LIST}/export/jsonl")) == b""
    assert world.nobody.get(f"{LIST}/export/csv").status_code == 302
    assert world.ada.get(f"{LIST}/export/exe").status_code == 404
