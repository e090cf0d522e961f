"""The history: filters, pages, exports, and what is done to many runs at once."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import hashlib
import io
import json
import re
import zipfile

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from marketplace import keys
from marketplace.ids import encode
from marketplace.models import User
from playground import predictions
from playground.models import Asset, Prediction
from playground.pages import history
from playground.predictions import browse, export, words
from playground.predictions import delete as deletion
from tests.pages.world import person
from tests.predictions import cast

LIST = "/dashboard/history"


def shown(answer) -> list[str]:
    """The ids of the runs in the list, as they stand there."""
    assert answer.status_code == 200
    return re.findall(r'<tr id="row-(p_[0-9a-z]{26})"', answer.content.decode())


def ask(world, **values):
    return shown(world.ada.get(LIST, {key.rstrip("_"): value for key, value in values.items()}))


def age(row: Prediction, days: float) -> None:
    Prediction.objects.filter(pk=row.pk).update(created_at=timezone.now() - dt.timedelta(days=days))


def streamed(answer) -> bytes:
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content)


def test_an_empty_history_offers_the_first_step(world):
    body = world.ada.get(LIST).content.decode()
    assert "No runs yet" in body
    assert "Choose a model" in body
    assert "Export" not in body


def test_each_filter_finds_its_own(world):
    cast.shelve(name="jug")
    made, failed = world.made(prompt="a teal vase"), world.failed(prompt="a cobalt jug")
    other = cast.submit(world.workspace, model="kiln/jug", prompt="a jug")
    predictions.cancel(other)
    assert ask(world) == [other.uid, failed.uid, made.uid]
    assert ask(world, status="failed") == [failed.uid]
    assert ask(world, status="canceled", model="kiln/jug") == [other.uid]
    assert ask(world, model="kiln/vase") == [failed.uid, made.uid]
    assert ask(world, cost="0.004") == [made.uid]
    assert ask(world, cost="0.005") == []
    assert ask(world, q=made.uid) == ask(world, q=made.uid[2:].upper()) == [made.uid]


def test_who_ran_it(world):
    key, _ = keys.make(world.workspace, name="production")
    user = User.objects.get(email="ada@example.test")
    by_key = predictions.submit(
        predictions.Caller(workspace=world.workspace, key=key),
        predictions.Request(model=world.model, input={"prompt": "x"}),
    )
    by_ada = predictions.submit(
        predictions.Caller(workspace=world.workspace, user=user),
        predictions.Request(model=world.model, input={"prompt": "x"}, via=Prediction.Via.PAGE),
    )
    assert ask(world, who=f"k_{key.key_id}") == [by_key.uid]
    assert ask(world, who=encode(user.public_id, "u")) == [by_ada.uid]
    assert ask(world, who="page") == [by_ada.uid]
    assert ask(world, who="api") == [by_key.uid]
    strange = keys.make(world.workspace.__class__.objects.exclude(pk=world.workspace.pk)[0], name="x")[0]
    for who in (f"k_{strange.key_id}", "k_nothing", "u_nothing", encode(strange.public_id, "u")):
        assert ask(world, who=who) == [], who


def test_days(world):
    old, new = world.run(), world.run()
    age(old, 40)
    today = timezone.now().date()
    assert ask(world, when="30") == ask(world, when="1") == [new.uid]
    assert ask(world, when="90") == [new.uid, old.uid]
    long_ago = (today - dt.timedelta(days=40)).isoformat()
    assert ask(world, from_=long_ago, to=long_ago) == [old.uid]
    assert ask(world, from_=today.isoformat()) == [new.uid]
    assert ask(world, from_=today.isoformat(), to=long_ago) == []


def test_words_are_found_whole_begun_and_together_in_open_and_closed_runs(world):
    closed, running = world.made(prompt="A teal vase, light from the left"), world.run(prompt="a teal jug")
    assert ask(world, q="teal") == [running.uid, closed.uid]
    assert ask(world, q="TEAL vase") == [closed.uid]
    assert ask(world, q="va* left") == []  # too short to be the beginning of a word
    assert ask(world, q="vas* lef*") == [closed.uid]
    assert ask(world, q="vas lef") == []
    assert ask(world, q="teal dragon") == []
    body = world.ada.get(LIST, {"q": "dragon"}).content.decode()
    assert "No such runs" in body
    assert "Without the words" in body


def test_words_of_others_are_not_found(world):
    theirs = cast.submit(cast.payer(name="eve"), prompt="a secret teal vase", model=world.model)
    cast.succeed(cast.claim()[0])
    assert ask(world, q="secret") == []
    assert ask(world, q=f"ws {world.workspace.pk}") == []
    assert ask(world, q=theirs.uid) == []


@pytest.mark.parametrize(
    "values",
    [
        {"q": "' & | ! ( ) :* \\ <-> '' \" %s {} \0"},
        {"q": "&&&"},
        {"q": "x" * 5000},
        {"q": "a'b\\c:*"},
        {
            "status": "x",
            "model": "\0",
            "who": "k_\0",
            "when": "9" * 40,
            "from": "yesterday",
            "to": "9999-99-99",
        },
        {"from": "0001-01-01", "to": "9999-12-31"},
        {"cost": "NaN", "before": "nonsense", "after": "p_" + "z" * 26},
        {"cost": "1e400"},
        {"cost": "-1", "before": "p_" + "7" * 26},
        {"before": "p_" + "0" * 26, "undo": "d_x", "left": ["p_x", "\0"]},
    ],
)
def test_strange_filters_are_harmless(world, values):
    world.made(prompt="a teal vase")
    assert world.ada.get(LIST, values).status_code == 200


def test_pages_by_cursor_stay_put_while_runs_come_and_go(world, monkeypatch):
    monkeypatch.setattr(history, "PAGE", 3)
    rows = [world.failed(prompt=f"number {n}") for n in range(8)]
    uids = [row.uid for row in reversed(rows)]

    def page(**values):
        answer = world.ada.get(LIST, {"status": "failed", **values})
        links = {
            kind: bool(re.search(rf'href="[^"]*{kind}=p_', answer.content.decode()))
            for kind in ("before", "after")
        }
        return shown(answer), links

    assert page() == (uids[:3], {"before": True, "after": False})
    assert page(before=uids[2]) == (uids[3:6], {"before": True, "after": True})
    newest = world.failed()
    assert page(before=uids[2])[0] == uids[3:6]
    predictions.delete_one(world.workspace, rows[5].public_id, by=None)  # the cursor's own run
    assert uids[2] == rows[5].uid
    assert page(before=uids[2])[0] == uids[3:6]
    rows[5].delete()  # and now it is gone for good
    assert page(before=uids[2])[0] == uids[3:6]
    assert page(before=uids[5]) == (uids[6:], {"before": False, "after": True})
    assert page(after=uids[6])[0] == uids[3:6]
    assert page(after=uids[1]) == ([newest.uid, uids[0]], {"before": True, "after": False})


def test_the_list_asks_a_fixed_number_of_questions(world, django_assert_max_num_queries):
    for _ in range(3):
        world.made()
    with django_assert_max_num_queries(15):
        world.ada.get(LIST, {"q": "teal"})
    for _ in range(12):
        world.made()
        world.run()
    with django_assert_max_num_queries(17):
        assert len(ask(world)) == 27


def test_a_question_that_takes_too_long_says_what_to_do(world, monkeypatch):
    world.made()
    monkeypatch.setattr(browse, "MAX_SECONDS", 0.2)
    slow = "(SELECT to_tsvector('simple', 'teal') FROM pg_sleep(2)) @@ to_tsquery('simple', %s)"
    monkeypatch.setattr(words, "_MATCHES", slow)
    body = world.ada.get(LIST, {"q": "teal"}).content.decode()
    assert "too wide" in body
    assert "Last 7 days" in body
    for form in ("csv", "jsonl"):
        page = world.ada.get(f"{LIST}/export/{form}", {"q": "teal"}, follow=True)
        assert "Narrow it" in page.content.decode()
    assert world.ada.get(LIST).status_code == 200


def test_models_of_the_workspace_alone_are_offered(world):
    cast.shelve(name="jug")
    world.run()
    cast.submit(cast.payer(name="eve"), model="kiln/jug")
    assert browse.models_of(world.workspace) == ["kiln/vase"]
    assert "kiln/jug" not in world.ada.get(LIST).content.decode()


# ---- Rows that move ---------------------------------------------------------------------------------------------


def test_open_rows_are_told_as_they_are_now(world):
    first, second = world.run(), world.run()
    theirs = cast.submit(cast.payer(name="eve"), model=world.model)
    ask_for = {"id": [first.uid, second.uid, theirs.uid, "nonsense"]}
    body = world.ada.get(f"{LIST}/rows", ask_for).content.decode()
    assert "Next in line" in body
    assert "3rd in line" in body  # the other workspace goes between
    cast.step(cast.claim()[0], 3)
    answer = world.ada.get(f"{LIST}/rows", ask_for)
    assert "step 3 / 4" in answer.content.decode()
    assert set(shown(answer)) == {first.uid, second.uid}
    assert shown(world.mal.get(f"{LIST}/rows", ask_for)) == []
    assert answer.content.decode().count("data-open") == 2


# ---- Many at once -----------------------------------------------------------------------------------------------


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


def form_of(world, **values) -> dict[str, str]:
    """What the page of everything that matches sends with an act."""
    body = world.ada.get(f"{LIST}/all", values).content.decode()
    return dict(re.findall(r'name="(everything|newest|told|back)" value="([^"]*)"', body))


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


def test_everything_as_one_zip(world):
    two, one = world.made(num_images=2), world.made()
    world.failed()
    packed = zipfile.ZipFile(io.BytesIO(streamed(world.ada.post(f"{LIST}/download", form_of(world)))))
    assert sorted(packed.namelist()) == sorted(
        ["manifest.json", f"{two.uid}/1.png", f"{two.uid}/2.png", f"{one.uid}/1.png"]
    )
    words_only = form_of(world, q="nothing of the kind")
    assert "newest" not in words_only or words_only["newest"] == ""


def test_a_question_about_everything_that_takes_too_long_says_so(world, monkeypatch):
    world.made()
    monkeypatch.setattr(browse, "MAX_SECONDS", 0.2)
    slow = "(SELECT to_tsvector('simple', 'teal') FROM pg_sleep(2)) @@ to_tsquery('simple', %s)"
    monkeypatch.setattr(words, "_MATCHES", slow)
    assert "Narrow it" in world.ada.get(f"{LIST}/all", {"q": "teal"}).content.decode()


def test_a_day_is_written_the_same_in_every_locale_and_a_slip_is_told(world):
    row = world.failed()
    body = world.ada.get(LIST, {"from": "26.11.2026", "to": "2026-02-30"}).content.decode()
    assert 'type="date"' not in body
    assert 'placeholder="YYYY-MM-DD"' in body
    assert "“26.11.2026” is no day" in body
    assert "“2026-02-30” is no day" in body
    assert f"row-{row.uid}" in body
    assert "is no day" not in world.ada.get(LIST, {"from": "2026-11-26"}).content.decode()


def test_nothing_chosen_is_said(world):
    assert "Nothing was chosen" in world.ada.post(f"{LIST}/delete", follow=True).content.decode()
    assert "None of these runs has media" in world.ada.post(f"{LIST}/download", follow=True).content.decode()


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


# ---- Exports ----------------------------------------------------------------------------------------------------


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


def test_the_longest_search_comes_back_from_its_form_whole(rf):
    asked = history.Asked(q="🏺" * 200, status="failed", model="壺" * 100, since="2026-11-01", shared="1")
    assert history._back(rf.post("/", {"back": asked.query()})) == asked


# ---- Roles ------------------------------------------------------------------------------------------------------


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
