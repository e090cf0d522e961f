"""Files in the form without our JavaScript, and what the form shows of a stored one."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from marketplace.models import Membership
from playground.models import Asset, Prediction, Upload
from tests.examiner import files
from tests.pages.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def send(client: Client, world: World, data: bytes, kind: str = "image/png", name: str = "cat.png"):
    file = SimpleUploadedFile(name, data, content_type=kind)
    return client.post(f"{world.page}/run", {"prompt": "a vase", "num_images": "1", "picture.file": file})


def test_a_chosen_file_becomes_an_asset_of_the_run(world):
    answer = send(world.ada, world, files.picture())
    assert answer.status_code == 302
    row = Prediction.objects.get()
    asset = Asset.objects.get()
    assert row.input["picture"] == asset.uid
    assert (asset.filename, asset.workspace, asset.kind) == ("cat.png", world.workspace, "upload")
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("data", "kind", "word"),
    [
        (files.picture()[:-100], "image/png", "cut off"),
        (b"<svg/>", "image/png", "SVG"),
        (files.picture("JPEG"), "image/png", "announced as image/png"),
        (files.picture("JPEG"), "image/jpeg", "must be image/png"),
    ],
)
def test_with_a_file_that_cannot_be_used_nothing_is_run(world, data, kind, word):
    answer = send(world.ada, world, data, kind)
    assert answer.status_code == 422
    assert word in answer.content.decode()
    assert not Prediction.objects.exists()


def test_the_chosen_file_stays_in_a_form_that_was_refused(world):
    file = SimpleUploadedFile("cat.png", files.picture(), content_type="image/png")
    answer = world.ada.post(f"{world.page}/run", {"prompt": "", "steps": "900", "picture.file": file})
    assert answer.status_code == 422
    page = answer.content.decode()
    asset = Asset.objects.get()
    assert f'value="{asset.uid}"' in page
    assert "cat.png" in page
    assert "PNG · 640 × 400" in page
    again = world.ada.post(f"{world.page}/run", {"prompt": "a vase", "picture": asset.uid})
    assert again.status_code == 302


def test_files_of_visitors_and_of_who_may_not_run_are_not_taken(world):
    assert send(world.nobody, world, files.picture()).status_code == 302
    Membership.objects.filter(workspace=world.workspace).update(role="billing")
    assert send(world.ada, world, files.picture()).status_code == 403
    assert not Asset.objects.exists()


def test_a_file_of_another_workspace_is_not_shown(world):
    send(world.ada, world, files.picture())
    asset = Asset.objects.get()
    assert "cat.png" in world.ada.get(f"{world.page}?picture={asset.uid}").content.decode()
    assert "cat.png" not in world.mal.get(f"{world.page}?picture={asset.uid}").content.decode()
    assert "Sign in to add a file" in world.nobody.get(world.page).content.decode()
    refused = world.mal.post(f"{world.page}/run", {"prompt": "a vase", "picture": asset.uid})
    assert refused.status_code == 422
