"""The history: filters, pages, words, and rows that move."""

from __future__ import annotations

import re

import pytest

from marketplace import keys
from marketplace.ids import encode
from marketplace.models import User
from playground import predictions
from playground.models import Prediction
from playground.pages import history
from playground.predictions import browse, words
from tests.pages.history import LIST, age, ask, shown
from tests.predictions import cast


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
    today = new.created_at.date()
    assert ask(world, when="30") == ask(world, when="1") == [new.uid]
    assert ask(world, when="90") == [new.uid, old.uid]
    long_ago = cast.again(old).created_at.date().isoformat()
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


def test_a_day_is_written_the_same_in_every_locale_and_a_slip_is_told(world):
    row = world.failed()
    body = world.ada.get(LIST, {"from": "26.11.2026", "to": "2026-02-30"}).content.decode()
    assert 'type="date"' not in body
    assert 'placeholder="YYYY-MM-DD"' in body
    assert "“26.11.2026” is no day" in body
    assert "“2026-02-30” is no day" in body
    assert f"row-{row.uid}" in body
    assert "is no day" not in world.ada.get(LIST, {"from": "2026-11-26"}).content.decode()
