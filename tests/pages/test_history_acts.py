"""What is done to many runs at once: deleted, undone, canceled, by hand or everything that matches."""

from __future__ import annotations

import re

import pytest

from playground.pages import history
from playground.predictions import browse, words
from playground.predictions import delete as deletion
from tests.pages.history import LIST, ask, form_of, shown
from tests.pages.world import person
from tests.predictions import cast


def test_deleting_and_undoing_keeps_the_filters(world):
    gone, stays = world.failed(prompt="one"), world.failed(prompt="two")
    back = "status=failed&q=&evil=http://elsewhere.test"
    answer = world.ada.post(f"{LIST}/delete", {"id": [gone.uid], "back": back})
    assert answer["Location"].startswith(f"{LIST}?status=failed&undo=d_")
    page = world.ada.get(answer["Location"])
    assert shown(page) == [stays.uid]
    assert "1 run deleted" in page.content.decode()
    deletion = re.search(r"undo=(d_[0-9a-z]+)", answer["Location"])[1]
    assert world.mal.get(f"{LIST}?undo={deletion}").content.decode().count("run deleted") == 0
    world.mal.post(f"{LIST}/undo", {"deletion": deletion})
    assert ask(world) == [stays.uid]
    world.ada.post(f"{LIST}/undo", {"deletion": deletion})
    assert ask(world) == [stays.uid, gone.uid]
    late = world.ada.post(f"{LIST}/undo", {"deletion": deletion}, follow=True)
    assert "undone already" in late.content.decode()


def test_open_runs_are_left_until_canceling_is_asked_for(world):
    done, waiting = world.failed(), world.run()
    ids = {"id": [done.uid, waiting.uid]}
    page = world.ada.post(f"{LIST}/delete", ids, follow=True)
    assert shown(page) == [waiting.uid]
    assert "1 is still open and was left" in page.content.decode()
    page = world.ada.post(f"{LIST}/delete", {**ids, "cancel": "1"}, follow=True)
    assert shown(page) == []
    assert cast.again(waiting).status == "canceled"
    cast.money_is_right()


def test_canceling_many(world):
    rows = [world.run(), world.run(), world.failed()]
    ids = {"id": [row.uid for row in rows]}
    assert "2 runs canceled" in world.ada.post(f"{LIST}/cancel", ids, follow=True).content.decode()
    assert "None of them was open" in world.ada.post(f"{LIST}/cancel", ids, follow=True).content.decode()


def test_everything_that_matches_beyond_the_page_is_offered_with_its_number(world, monkeypatch):
    monkeypatch.setattr(history, "PAGE", 2)
    for _ in range(3):
        world.failed(prompt="a teal vase")
    world.run(prompt="a jug")
    assert "Choose all 3 that match" in world.ada.get(LIST, {"status": "failed"}).content.decode()
    assert (
        "Choose all that match" in world.ada.get(LIST, {"q": "teal"}).content.decode()
    )  # words take too long to count
    assert "that match" not in world.ada.get(LIST, {"status": "queued"}).content.decode()
    monkeypatch.setattr(deletion, "MAX_AT_ONCE", 2)
    assert "Choose more than 2 that match" in world.ada.get(LIST, {"status": "failed"}).content.decode()


def test_deleting_everything_that_matches_is_confirmed_first_and_undone_as_one(world):
    gone = [world.failed(prompt=f"number {n}") for n in range(3)]
    stays, form = world.run(), form_of(world, status="failed")
    page = world.ada.get(f"{LIST}/all", {"status": "failed"}).content.decode()
    assert "<h1>3 runs</h1>" in page
    assert "<dt>Status</dt><dd>Failed</dd>" in page
    assert shown(world.ada.get(LIST)) == [
        stays.uid,
        *(row.uid for row in reversed(gone)),
    ]  # to look is not to delete
    later = world.failed(prompt="made after the question")
    answer = world.ada.post(f"{LIST}/delete", form)
    assert ask(world) == [later.uid, stays.uid]
    assert "3 runs deleted" in world.ada.get(answer["Location"]).content.decode()
    deletion_id = re.search(r"undo=(d_[0-9a-z]+)", answer["Location"])[1]
    world.ada.post(f"{LIST}/undo", {"deletion": deletion_id})
    assert len(ask(world)) == 5


@pytest.mark.parametrize(
    "change", [{"told": "1"}, {"told": "x"}, {"told": ""}, {"newest": "p_x"}, {"newest": ""}]
)
def test_what_was_not_told_is_not_done(world, change):
    world.failed(), world.failed()
    form = form_of(world, status="failed")
    page = world.ada.post(f"{LIST}/delete", form | change, follow=True)
    assert "Nothing was done" in page.content.decode()
    assert len(ask(world)) == 2


def test_one_act_takes_the_newest_and_says_so(world, monkeypatch):
    monkeypatch.setattr(deletion, "MAX_AT_ONCE", 2)
    rows = [world.failed() for _ in range(3)]
    body = world.ada.get(f"{LIST}/all", {"status": "failed"}).content.decode()
    assert "newest 2 of those that match" in body
    world.ada.post(f"{LIST}/delete", form_of(world, status="failed"))
    assert ask(world) == [rows[0].uid]


def test_open_ones_among_everything_are_left_unless_that_is_ticked(world):
    done, waiting = world.failed(), world.run()
    assert "Cancel the 1 that is still open first" in world.ada.get(f"{LIST}/all").content.decode()
    world.ada.post(f"{LIST}/delete", form_of(world))
    assert ask(world) == [waiting.uid]
    world.ada.post(f"{LIST}/delete", {**form_of(world), "cancel": "1"})
    assert ask(world) == []
    assert cast.again(waiting).status == "canceled"
    assert done.uid != waiting.uid


def test_everything_is_the_workspace_alone(world):
    world.failed()
    theirs = cast.submit(cast.payer(name="eve"), model=world.model)
    world.ada.post(f"{LIST}/delete", {**form_of(world), "cancel": "1"})
    assert ask(world) == []
    assert cast.again(theirs).status == "queued"
    assert "Nothing matches" in world.mal.get(f"{LIST}/all").content.decode()


def test_a_question_about_everything_that_takes_too_long_says_so(world, monkeypatch):
    world.made()
    monkeypatch.setattr(browse, "MAX_SECONDS", 0.2)
    slow = "(SELECT to_tsvector('simple', 'teal') FROM pg_sleep(2)) @@ to_tsquery('simple', %s)"
    monkeypatch.setattr(words, "_MATCHES", slow)
    assert "Narrow it" in world.ada.get(f"{LIST}/all", {"q": "teal"}).content.decode()


def test_nothing_chosen_is_said(world):
    assert "Nothing was chosen" in world.ada.post(f"{LIST}/delete", follow=True).content.decode()
    assert "None of these runs has media" in world.ada.post(f"{LIST}/download", follow=True).content.decode()


def test_the_longest_search_comes_back_from_its_form_whole(rf):
    asked = history.Asked(q="🏺" * 200, status="failed", model="壺" * 100, since="2026-11-01", shared="1")
    assert history._back(rf.post("/", {"back": asked.query()})) == asked


@pytest.mark.parametrize(
    ("act", "needs_run"), [("delete", True), ("undo", True), ("cancel", True), ("download", False)]
)
def test_acts_on_many_by_role(world, act, needs_run):
    row = world.made()
    accountant = person(world.workspace, "bo@example.test")
    world.workspace.memberships.filter(user__email="bo@example.test").update(role="billing")
    address = f"{LIST}/{act}"
    assert accountant.post(address, {"id": row.uid}).status_code == (403 if needs_run else 200)
    assert world.nobody.post(address, {"id": row.uid}).status_code == 302
    assert world.ada.get(address).status_code == 405
    assert ask(world) == [row.uid]
    offered = accountant.get(LIST).content.decode()
    assert "Cancel and delete" not in offered
    assert "Download" in offered
