"""Measuring: every way is really run, compared with the plain one, kept with the version and shown."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from PIL import Image

from marketplace import catalog
from marketplace.models import Version
from tests.predictions import cast
from workers import measuring
from workers.engine import measuring as engine

STEPS = {"type": "integer", "default": 4, "minimum": 1, "maximum": 40, "x-order": 2}
SEED = {"type": "integer", "minimum": 0, "x-control": "seed", "x-order": 3}
INPUT = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "examples": ["a vase"], "x-order": 0},
        "num_inference_steps": STEPS,
        "seed": SEED,
        "output_format": {"type": "string", "enum": ["jpeg", "png"], "default": "jpeg"},
    },
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from workers.engine import machine

    machine.set_environment()
    from tests.engine import tiny

    root = tmp_path_factory.mktemp("measured")
    tiny.flux(root / "flux")
    return root


def picture(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 90, 120)).save(out, "PNG")
    return out.getvalue()


def test_a_difference_is_told_in_levels_over_all_pictures():
    same = measuring.difference([(picture(10), picture(10))] * 2)
    assert same == {"is_identical": True, "max_level": 0, "mean_level": 0.0, "psnr_db": None}
    apart = measuring.difference([(picture(10), picture(10)), (picture(10), picture(16))])
    assert (apart["is_identical"], apart["max_level"], apart["mean_level"]) == (False, 6, 1.0)
    assert apart["psnr_db"] == pytest.approx(40.35, abs=0.01)  # of a squared error of 6


def test_what_is_no_picture_is_the_same_or_not():
    assert measuring.difference([(b"sound", b"sound")])["is_identical"]
    assert measuring.difference([(b"sound", b"noise")]) == {
        "is_identical": False,
        "max_level": None,
        "mean_level": None,
        "psnr_db": None,
    }
    assert not measuring.difference([(picture(1), cast.png(1, edge=9))])["is_identical"]


@pytest.fixture
def shelved(weights, settings) -> catalog.Callable:
    """A FLUX of tiny random weights that asks for two accelerations."""
    settings.WEIGHTS_DIR = weights
    files = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": files}}
    asked = {
        "vae_slicing": True,
        "cache": {"config": "TaylorSeerCacheConfig", "cache_interval": 3, "disable_cache_before_step": 2},
    }
    recipe = {"family": "diffusers", "weights": "flux", "pipeline": "FluxPipeline", "accelerations": asked}
    cast.shelve(recipe={**recipe, "defaults": {"width": 64, "height": 64}}, endpoint__input=INPUT)
    return catalog.callable_endpoint("kiln/vase", workspace=None, now=timezone.now())


@pytest.mark.django_db
def test_each_way_is_run_and_compared_and_the_page_and_the_api_show_it(shelved):
    page, api = "/m/kiln/vase/versions", "/api/v1/models/kiln/vase"
    assert b"Nobody has measured yet" in Client().get(page).content
    assert Client().get(api).json()["versions"][0]["measurements"] == []

    found = measuring.measure(shelved, seeds=2, runs=1, device="cpu", threads=1, run=engine.measure)
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == {"plain", "vae_slicing", "cache", "together"}
    assert all(row["seconds_per_step"] > 0 and row["peak_memory_bytes"] > 2**20 for row in rows.values())
    assert (rows["plain"]["speedup"], rows["plain"]["difference"]) == (1.0, None)
    assert rows["vae_slicing"]["difference"]["is_identical"]
    assert not rows["cache"]["difference"]["is_identical"]
    assert rows["cache"]["difference"]["psnr_db"] > 0
    assert rows["cache"]["difference"] == rows["together"]["difference"]
    said = {name: row["settings"] for name, row in rows.items()}
    cached = "TaylorSeerCacheConfig, cache_interval 3, disable_cache_before_step 2"
    assert said == {"plain": "", "vae_slicing": "", "cache": cached, "together": ""}
    assert (found["seeds"], found["runs"]) == ([0, 1], 1)
    assert found["input"]["output_format"] == "png"

    catalog.record_measurement(shelved.version, found)
    shown = Client().get(page).content.decode()
    assert "Step cache" in shown
    assert "identical" in shown
    assert "of 255 levels" in shown
    assert Client().get(api).json()["versions"][0]["measurements"] == [found]


@pytest.mark.django_db
def test_the_command_measures_in_a_process_of_its_own_and_keeps_it(shelved, capsys):
    """A process that imports torch: the one test of that."""
    version = shelved.version
    version.manifest["recipe"]["accelerations"] = {}
    version.save()
    call_command("measure", "kiln/vase", "--seeds", "1", "--runs", "1", "--threads", "1", "--device", "cpu")
    [found] = Version.objects.get().measurements
    assert [row["name"] for row in found["rows"]] == ["plain"]
    assert found["rows"][0]["peak_memory_bytes"] > 100 * 2**20
    assert (found["machine"]["device"], found["machine"]["threads"]) == ("cpu", 1)
    assert "kept with kiln/vase" in capsys.readouterr().out


@pytest.mark.django_db
def test_what_cannot_run_plain_cannot_be_measured(settings, tmp_path):
    settings.WEIGHTS_DIR = tmp_path
    cast.shelve(recipe={"family": "diffusers", "weights": "nowhere"}, endpoint__input=INPUT)
    called = catalog.callable_endpoint("kiln/vase", workspace=None, now=timezone.now())
    with pytest.raises(measuring.CannotMeasure, match="not on this machine"):
        measuring.measure(called, seeds=1, runs=1, run=engine.measure)
    with pytest.raises(CommandError, match="no model"):
        call_command("measure", "kiln/other")
    assert Version.objects.get().measurements == []
