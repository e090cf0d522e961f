"""The page of spend limits: who sets what on whom, and what it says when one is reached."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from billing import ledger, limits
from marketplace import keys
from marketplace.ids import encode
from marketplace.models import Membership, User
from playground.pages.tags import dollars
from tests.pages.test_access import INLINE
from tests.predictions import cast

PAGE = "/dashboard/limits"
WORKSPACE = {"on": "workspace", "period": "day", "amount": "0.004", "alerts": "50, 100 %"}


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_a_limit_is_set_reached_changed_and_removed(world):
    assert "No limits" in text_of(world.ada.get(PAGE))
    assert world.ada.post(PAGE, WORKSPACE).status_code == 302
    [row] = limits.of(world.workspace)
    assert (row.limit_micros, row.alert_at, row.period) == (4_000, (50, 100), "day")
    world.made()
    with pytest.raises(ledger.LimitReached):
        world.run()
    answer = world.ada.get(PAGE)
    said = text_of(answer)
    assert "A limit is reached. The daily limit of the whole workspace until" in said
    assert f"{dollars(4_000)} of $0.0040 a day" in said
    assert INLINE.search(answer.content.decode()) is None
    assert (
        world.ada.post(f"{PAGE}/{row.uid}", {"act": "save", "amount": "2", "alerts": ""}).status_code == 302
    )
    [row] = limits.of(world.workspace)
    assert (row.limit_micros, row.alert_at) == (2_000_000, ())
    world.run()
    assert world.ada.post(f"{PAGE}/{row.uid}", {"act": "remove"}).status_code == 302
    assert limits.of(world.workspace) == []
    cast.money_is_right()


def test_on_keys_members_and_models(world):
    key, _ = keys.make(world.workspace, name="importer")
    ada = world.workspace.memberships.get().user
    wanted = {
        f"key:{key.uid}": "importer",
        f"member:{encode(ada.public_id, 'u')}": ada.email,
        "model": "kiln/vase",
    }
    offered = world.ada.get(PAGE).content.decode()
    for on, name in wanted.items():
        assert f'value="{on}"' in offered
        values = {**WORKSPACE, "on": on, "period": "lifetime", "model": "kiln/vase" if on == "model" else ""}
        assert world.ada.post(PAGE, values).status_code == 302, on
        assert name in text_of(world.ada.get(PAGE))
    assert [row.period for row in limits.of(world.workspace)] == ["lifetime"] * 3
    assert "importer" not in text_of(world.mal.get(PAGE))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"amount": ""}, "The amount"),
        ({"amount": "-1"}, "The amount must be an amount"),
        ({"amount": "1e400"}, "The amount must be an amount"),
        ({"alerts": "half"}, "The percents must be percents"),
        ({"alerts": "0"}, "The percents are percents from 1 to 100"),
        ({"alerts": "1 2 3 4 5 6"}, "The percents are more than 5"),
        ({"on": "key:k_none"}, "It names no key of this workspace"),
        ({"on": "galaxy"}, "It is nothing that a limit can be on"),
        ({"on": "model", "model": "kiln/none"}, "It names no model of this workspace"),
        ({"period": "year"}, "Select a valid choice"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(world, change, said):
    answer = world.ada.post(PAGE, {**WORKSPACE, **change})
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert limits.of(world.workspace) == []


@pytest.mark.parametrize(
    ("role", "may"), [("owner", True), ("admin", True), ("billing", True), ("developer", False)]
)
def test_who_looks_after_the_money_sets_limits_and_everybody_sees_them(world, role, may):
    row = limits.put(world.workspace, kind="workspace", period="day", limit_micros=7_000)
    user = User.objects.create_user("other@example.test", "a long password")
    Membership.objects.create(workspace=world.workspace, user=user, role=role)
    browser = Client()
    browser.force_login(user)
    page = browser.get(PAGE)
    assert "of $0.0070 a day" in text_of(page)
    assert ("Set a limit" in text_of(page)) == may
    status = 302 if may else 403
    assert browser.post(PAGE, WORKSPACE).status_code == status
    assert browser.post(f"{PAGE}/{row.uid}", {"act": "remove"}).status_code == status
    assert bool(limits.of(world.workspace)) == (not may)


def test_anothers_limit_is_not_there(world):
    row = limits.put(world.workspace, kind="workspace", period="day", limit_micros=7_000)
    for act in ("save", "remove"):
        answer = world.mal.post(f"{PAGE}/{row.uid}", {"act": act, "amount": "5"})
        assert answer.status_code == 404
    assert limits.find(world.workspace, row.uid).limit_micros == 7_000


def test_a_wrong_change_is_shown_again(world):
    row = limits.put(world.workspace, kind="workspace", period="day", limit_micros=7_000)
    answer = world.ada.post(f"{PAGE}/{row.uid}", {"act": "save", "amount": "much"})
    assert answer.status_code == 422
    assert "The daily limit of the whole workspace It was not changed." in text_of(answer)
    assert 'value="much"' in answer.content.decode()


def test_how_many_runs_may_be_open_is_said_and_holds(world, settings):
    settings.MAX_OPEN_RUNS = 1
    world.run()
    assert "1 of at most 1 runs are open" in text_of(world.ada.get(PAGE))
    answer = world.ada.post(f"{world.page}/run", {"prompt": "a vase"})
    assert answer.status_code == 409
    assert "1 runs of this workspace are queued or running" in text_of(answer)
    cast.money_is_right()
