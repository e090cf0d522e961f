"""Every model of the catalogue through the whole path: installed from a folder, asked for, made, paid, kept."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.installing.shrunk import NAMES, Weights, input_of, shrunk
from tests.predictions import cast
from tests.workers.house import Worker
from workers import drain, installing, session
from workers.engine import Engine

KINDS = {"images": "image/", "videos": "video/mp4", "audios": "audio/wav", "meshes": "model/gltf-binary"}


class Zoo(Worker):
    """With room for weights of its own."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.lanes = ["gpu"]
        self.engine = Engine(device="cpu", threads=1, weights_folder=weights)


@pytest.fixture
def shelf(transactional_db, tmp_path, settings, monkeypatch):
    settings.WEIGHTS_DIR = tmp_path
    monkeypatch.setattr(session, "_session", Zoo(tmp_path))
    monkeypatch.setattr(session, "is_draining", lambda: False)
    monkeypatch.setattr(drain, "LINGER_SECONDS", 0.0)
    yield tmp_path
    cast.money_is_right()


@pytest.mark.parametrize("name", NAMES)
def test_installed_run_paid_and_kept(name: str, shelf: Path, tiny_weights: Weights) -> None:
    from marketplace import catalog, schema
    from playground import assets, examiner, predictions

    entry = shrunk(name)
    said: list[str] = []
    manifest = installing.bring(
        entry, weights_dir=shelf, say=said.append, given=tiny_weights.of(entry.pipeline)
    )
    listing = catalog.publish(cast.publisher(), manifest)
    catalog.forget()
    assert {"model_index.json"} <= set(manifest["recipe"]["hashes"])
    assert 0 < listing.typical_micros < 10**7  # the shelf can say what a run costs
    described = manifest["endpoint"]["input"]
    payer = cast.payer(credit=50_000_000)
    asked = input_of(described["properties"], described["required"])
    request = predictions.Request(model=listing.model_id, input=asked)
    row = predictions.submit(predictions.Caller(workspace=payer), request)
    drain.drain_lane("gpu")
    row = cast.again(row)
    assert row.status == "succeeded", row.error_message
    assert 0 < row.cost_micros <= row.quote["amount_micros"]
    listed = schema.media_property(manifest["endpoint"]["output"])
    [shown] = predictions.as_json(row)["output"][listed]
    assert shown["content_type"].startswith(KINDS[listed])
    [asset] = row.assets.all()
    with tempfile.TemporaryFile() as file:
        file.write(assets.read(asset))
        found = examiner.examine(file)
    assert (found.media_type, found.width, found.duration_ms) == (
        asset.media_type,
        asset.width,
        asset.duration_ms,
    )
    if listed in ("videos", "audios"):
        assert shown["duration_ms"] > 0
    if listed == "videos":
        assert asset.thumbnail_name


def test_a_newer_revision_leaves_the_older_one_what_it_was(
    shelf: Path, tiny_weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from marketplace import catalog

    entry, newer = shrunk("sdxl"), tmp_path_factory.mktemp("newer") / "sdxl"
    older = tiny_weights.of(entry.pipeline)
    shutil.copytree(older, newer)
    config = newer / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text() + "\n")
    said: list[str] = []
    recipes = [
        installing.bring(entry, weights_dir=shelf, say=said.append, given=given)["recipe"]
        for given in (older, newer, older)
    ]
    assert recipes[0] == recipes[2]
    assert recipes[0]["weights"] != recipes[1]["weights"]
    for recipe in recipes:
        assert catalog.hashes(shelf / recipe["weights"]) == recipe["hashes"]
        Engine(device="cpu", threads=1, weights_folder=shelf).open(recipe)


def marked() -> list[str]:
    """What `catalog list` says is on the shelf."""
    from django.core.management import call_command

    out = io.StringIO()
    call_command("catalog", "list", stdout=out)
    *lines, _ = out.getvalue().splitlines()
    return [line.split()[1] for line in lines if line.startswith("*")]


def test_only_what_is_really_installed_is_marked(shelf: Path, tiny_weights: Weights) -> None:
    from marketplace import catalog

    cast.shelve(name="sdxl")  # somebody's own model, which is called the same
    assert marked() == []
    entry = shrunk("sdxl")
    manifest = installing.bring(
        entry, weights_dir=shelf, say=lambda line: None, given=tiny_weights.of(entry.pipeline)
    )
    catalog.publish(cast.publisher(), {**manifest, "name": "another-name"})
    assert marked() == ["sdxl"]
    shutil.rmtree(shelf / manifest["recipe"]["weights"])
    assert marked() == []


def test_the_command_says_what_there_is_and_publishes(shelf: Path, tiny_weights: Weights) -> None:
    from django.core.management import CommandError, call_command

    from marketplace.models import Version

    cast.publisher()
    out = io.StringIO()
    call_command("catalog", "list", stdout=out)
    assert all(name in out.getvalue() for name in NAMES)
    out = io.StringIO()
    call_command("catalog", "check", "shap-e", "sdxl", stdout=out)
    assert "shap-e: needs a GPU" in out.getvalue()
    assert "2 checked, 2 lack something" in out.getvalue()
    out, said = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match="1 of 2 cannot be installed"):
        call_command("catalog", "check", "no-such-model", "sdxl", stdout=out, stderr=said)
    assert "no 'no-such-model'" in said.getvalue()
    assert "sdxl: needs" in out.getvalue()
    folder = str(tiny_weights.of("ShapEPipeline"))
    out = io.StringIO()
    call_command(
        "catalog", "install", "shap-e", "--publisher", "kiln", "--from", folder, "--dry-run", stdout=out
    )
    assert not Version.objects.exists()
    assert "needs a GPU" in out.getvalue()
    call_command("catalog", "install", "shap-e", "--publisher", "kiln", "--from", folder, stdout=out)
    assert "published kiln/shap-e" in out.getvalue()
    assert marked() == ["shap-e"]
    [version] = Version.objects.all()
    assert "by hand" in version.manifest["source"]["revision"]
    assert all(len(digest) == 64 for digest in version.recipe["hashes"].values())
    for arguments, says in [
        (("install", "no-such-model"), "no 'no-such-model'"),
        (("install", "shap-e", "--publisher", "nobody"), "no publisher"),
        (("install", "shap-e", "--publisher", "kiln", "--from", str(shelf / "none")), "there is no folder"),
        (("install", "shap-e", "--publisher", "kiln", "--from", str(shelf)), "has no model_index.json"),
        (
            ("install", "shap-e", "--publisher", "kiln", "--from", str(shelf), "--dry-run"),
            "has no model_index",
        ),
    ]:
        with pytest.raises(CommandError, match=says):
            call_command("catalog", *arguments, stdout=out)
