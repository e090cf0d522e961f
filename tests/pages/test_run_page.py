"""One run's page: in the drawer, with what it was made from, and as a receipt for paper."""

from __future__ import annotations

import base64

from playground import predictions
from tests.predictions import cast


def test_the_drawer_is_the_runs_own_page_made_small(world):
    row = world.made(prompt="a teal vase")
    part = world.ada.get(f"/p/{row.uid}", headers={"HX-Request": "true", "HX-Target": "drawer"})
    body = part.content.decode()
    assert "<html" not in body
    assert f"/p/{row.uid}/delete" in body
    assert "a teal vase" in body
    assert part["Cache-Control"] == "no-store"
    assert "<html" in world.ada.get(f"/p/{row.uid}").content.decode()
    strange = world.mal.get(f"/p/{row.uid}", headers={"HX-Target": "drawer"})
    assert strange.status_code == 404


def test_a_runs_page_tells_what_it_was_made_from_and_what_was_made_of_it(world):
    source = world.made(prompt="a teal vase")
    taken = world.made(picture=source.assets.get().uid)
    assert f'href="/p/{taken.uid}"' in world.ada.get(f"/p/{source.uid}").content.decode()
    assert f'href="/p/{source.uid}"' in world.ada.get(f"/p/{taken.uid}").content.decode()
    predictions.delete_one(world.workspace, taken.public_id, by=None)
    assert taken.uid not in world.ada.get(f"/p/{source.uid}").content.decode()


def test_the_bytes_of_a_file_are_not_written_out(world):
    data = base64.b64encode(cast.png(1, 64)).decode()
    row = world.run(picture=f"data:image/png;base64,{data}", token="hush-hush")
    body = world.ada.get(f"/p/{row.uid}").content.decode()
    assert row.input["picture"].startswith("a_")
    assert row.input["picture"] in body
    assert data[:200] not in body
    assert "hush-hush" not in body


def test_a_receipt_for_paper_adds_up(world):
    row = world.made(num_images=3)
    body = world.ada.get(f"/p/{row.uid}/receipt").content.decode()
    for piece in (row.uid, world.workspace.name, "3 images × $0.0040", "$0.0120", "3 files"):
        assert piece in body, piece
    assert "Nothing was taken" in world.ada.get(f"/p/{world.failed().uid}/receipt").content.decode()
