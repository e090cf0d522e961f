"""From manifest to shelf: again changes nothing, a version is what runs, a price is replaced and never edited."""

from __future__ import annotations

import json
import tomllib

import pytest
from django.conf import settings as project
from django.forms.models import model_to_dict
from django.utils import timezone

from marketplace import catalog, schema
from marketplace.catalog.publish import prices_of, version_id
from marketplace.models import Endpoint, Listing, Offer, Price, Version
from marketplace.schema.clean import ordered
from tests.predictions import cast

pytestmark = pytest.mark.django_db


def everything() -> list[dict[str, object]]:
    rows = [row for kind in (Listing, Version, Endpoint, Offer, Price) for row in kind.objects.order_by("pk")]
    return [model_to_dict(row) for row in rows]


def called(model: str = "kiln/vase", workspace=None) -> catalog.Callable:
    catalog.forget()
    return catalog.callable_endpoint(model, workspace=workspace, now=timezone.now())


def test_publishing_again_changes_nothing():
    cast.shelve()
    before = everything()
    cast.shelve()
    cast.shelve()
    assert everything() == before


def test_a_version_is_what_runs():
    first = version_id(cast.manifest())
    assert version_id(json.loads(json.dumps(cast.manifest()))) == first
    reordered = dict(reversed(list(cast.manifest().items())))
    assert version_id(reordered) == first
    for change in ({"tagline": "x"}, {"readme": "x"}, {"prices": []}, {"lane": "gpu"}, {"featured": 9}):
        assert version_id(cast.manifest(**change)) == first
    for change in ({"recipe__steps": 1}, {"endpoint__max_seconds": 61}, {"task": "image-to-image"}):
        assert version_id(cast.manifest(**change)) != first


def test_a_new_version_becomes_the_default_and_the_old_stays():
    cast.shelve()
    old = called().version.sha256
    cast.shelve(recipe__family="other")
    new = called()
    assert new.version.sha256 != old
    assert called(f"kiln/vase:{old[:8]}").version.sha256 == old
    cast.shelve()
    assert called().version.sha256 == old
    assert Version.objects.count() == 2


def test_a_price_is_replaced_and_never_edited():
    cast.shelve()
    first = Price.objects.get()
    cast.shelve(prices=[{"unit": "image", "unit_price": "0.01"}, {"unit": "step", "unit_price": "0.001"}])
    assert [(p.unit, str(p.unit_price.normalize())) for p in called().prices] == [
        ("image", "0.01"),
        ("step", "0.001"),
    ]
    first.refresh_from_db()
    assert first.unit_price * 1000 == 4
    cast.shelve(prices=[{"unit": "image", "unit_price": "0.0040"}])
    assert [(p.unit, str(p.unit_price.normalize())) for p in called().prices] == [("image", "0.004")]
    assert Price.objects.count() == 4
    listing = catalog.listings().get()
    assert catalog.prices_now(listing) == called().prices


def test_a_lane_is_moved():
    cast.shelve()
    cast.shelve(lane="gpu")
    assert [offer.lane for offer in called().offers] == ["gpu"]
    cast.shelve()
    assert [offer.lane for offer in called().offers] == [cast.LANE]


def test_what_is_said_of_a_listing_follows_the_manifest():
    cast.shelve()
    cast.shelve(tagline="Another.", visibility="private")
    listing = Listing.objects.get()
    assert (listing.tagline, listing.visibility) == ("Another.", "private")
    with pytest.raises(catalog.NotFound):
        called()
    assert called(workspace=cast.publisher().workspace).listing == listing


@pytest.mark.parametrize(
    "change",
    [
        {"prices": []},
        {"prices": [{"unit": "image"}]},
        {"prices": [{"unit": "image", "unit_price": "free"}]},
        {"prices": [{"unit": "image", "unit_price": "-1"}]},
        {"prices": [{"unit": "image", "unit_price": "nan"}]},
        {"prices": [{"unit": "wish", "unit_price": "1"}]},
        {"endpoint__input": {"type": "array"}},
        {"endpoint__input": {"type": "object", "properties": {"a b": {"type": "string"}}}},
    ],
)
def test_what_cannot_be_published_leaves_no_trace(change):
    with pytest.raises(catalog.InvalidManifest):
        cast.shelve(**change)
    assert everything() == []


TOML = """
name = "pot"
tagline = "t"
task = "text-to-image"
license = "Apache-2.0"
lane = "cpu"
prices = [{ unit = "image", unit_price = "1" }]
[recipe]
family = "diffusers"
weights = "pot"
[endpoint]
max_seconds = 1
start_within_seconds = 1
output = { type = "object" }
[endpoint.input]
type = "object"
[endpoint.input.properties.zeta]
type = "string"
[endpoint.input.properties.alpha]
type = "string"
"""


def test_a_manifest_file_with_its_weights(tmp_path):
    (tmp_path / "pot").mkdir()
    (tmp_path / "pot.toml").write_text(TOML, encoding="utf-8")
    with pytest.raises(catalog.InvalidManifest, match="no safetensors"):
        catalog.read_manifest(tmp_path / "pot.toml", weights_dir=tmp_path)
    (tmp_path / "pot" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "pot" / "README.md").write_text("Größe", encoding="utf-8")
    (tmp_path / "pot" / "words.json").write_text("{}", encoding="utf-8")
    manifest = catalog.read_manifest(tmp_path / "pot.toml", weights_dir=tmp_path)
    assert list(manifest["recipe"]["hashes"]) == ["model.safetensors"]
    assert manifest["readme"] == "Größe"
    assert manifest["words"] == {}
    catalog.publish(cast.publisher(), manifest)
    assert [name for name, _ in ordered(called("kiln/pot").endpoint.input_schema)] == [
        "zeta",
        "alpha",
    ]
    one = version_id(manifest)
    (tmp_path / "pot" / "model.safetensors").write_bytes(b"other weights")
    assert version_id(catalog.read_manifest(tmp_path / "pot.toml", weights_dir=tmp_path)) != one


@pytest.mark.parametrize("text", ["name = ", "", "name = 'x'", TOML.replace("max_seconds = 1\n", ""), "\xff"])
def test_a_broken_manifest_file(tmp_path, text):
    file = tmp_path / "x.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(catalog.InvalidManifest, match=r"x\.toml"):
        catalog.read_manifest(file, weights_dir=tmp_path)
    with pytest.raises(catalog.InvalidManifest):
        catalog.read_manifest(tmp_path / "none.toml", weights_dir=tmp_path)


def test_what_is_shipped_is_in_order():
    files = sorted((project.BASE_DIR / "marketplace" / "catalog" / "manifests").glob("*.toml"))
    assert files
    for file in files:
        manifest = tomllib.loads(file.read_text(encoding="utf-8"))
        schema.check(manifest["endpoint"]["input"])
        assert prices_of(manifest)
        cleaned = schema.clean(manifest["endpoint"]["input"], schema.example(manifest["endpoint"]["input"]))
        assert schema.quantities(manifest["endpoint"]["input"], cleaned)["image"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "kiln",
        "kiln/",
        "/vase",
        "kiln/vase/x",
        "Kiln/vase",
        "kiln/vase:",
        "kiln/vase:xyz",
        "kiln/vase:\0",
        "a" * 9999,
    ],
)
def test_names_that_are_none(name):
    cast.shelve()
    with pytest.raises(catalog.NotFound) as caught:
        called(name)
    assert len(str(caught.value)) < 400
