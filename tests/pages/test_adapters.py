"""The field for adapters in the form, and what a run with some says of them afterwards."""

from __future__ import annotations

import pytest
from django.template import engines
from django.urls import reverse

from playground import assets
from playground.models import Asset, Prediction
from tests.predictions import cast
from tests.predictions.test_adapters import INPUT, sent, submit

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_form_takes_rows_of_files_and_weights(client):
    cast.shelve(name="worn", endpoint__input=INPUT)
    page = client.get("/m/kiln/worn?loras.rows=1&loras.0.weight=0.5").content.decode()
    assert 'name="loras.0.file"' in page
    assert 'accept="application/x-safetensors,.safetensors"' in page
    assert f'data-max="{512 * 2**20}"' in page
    assert 'name="loras.0.weight"' in page


def test_browsers_are_told_endings_of_types_that_they_do_not_know():
    shown = engines["django"].from_string("{% load vitrine %}{{ types|pickable }}")
    assert shown.render({"types": "image/png,image/*"}) == "image/png,image/*"
    assert shown.render({"types": "model/gltf-binary"}) == "model/gltf-binary,.glb"
    assert shown.render({"types": ""}) == ""


def test_a_run_and_its_receipt_name_the_adapters_it_was_made_with(world):
    cast.shelve(name="worn", endpoint__input=INPUT)
    row = submit(world.workspace, {"file": sent(1), "weight": 0.5})
    asset = Asset.objects.get(kind="upload")
    Asset.objects.filter(pk=asset.pk).update(filename="glaze.safetensors")
    waiting = world.ada.get(f"/p/{row.uid}").content.decode()
    assert "glaze.safetensors × 0.5" in waiting
    assert assets.thumbnail_address(asset) not in waiting  # which no browser could draw
    worn = [{"name": "glaze.safetensors", "sha256": asset.sha256, "weight": 0.5}]
    cast.succeed(cast.claim()[0])
    Prediction.objects.filter(pk=row.pk).update(metrics={"adapters": worn})
    Asset.objects.filter(pk=asset.pk).update(filename="renamed.safetensors")
    for path in (reverse("prediction", args=[row.uid]), reverse("prediction-receipt", args=[row.uid])):
        page = world.ada.get(path).content.decode()
        assert "glaze.safetensors × 0.5" in page
        assert asset.sha256[:12] in page
        assert "renamed" not in page
