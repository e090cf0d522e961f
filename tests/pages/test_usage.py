"""Usage and balance as people see them, and who sets the limits."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta

import pytest

from billing import ledger
from marketplace import keys
from playground import statements
from playground.models import Prediction
from playground.predictions import submit
from tests.pages.test_access import INLINE
from tests.predictions import cast

PAGE, CSV, LIMITS = "/dashboard/usage", "/dashboard/usage.csv", "/dashboard/usage/limits"


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def rows_of(answer) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.getvalue().decode())))


@pytest.mark.parametrize("path", [PAGE, CSV])
def test_every_member_sees_what_is_spent_and_nobody_else(world, path):
    row = world.made()
    for role in ("owner", "admin", "developer", "billing"):
        world.workspace.memberships.update(role=role)
        assert world.ada.get(path).status_code == 200
    assert row.uid in world.ada.get(CSV).getvalue().decode()
    assert world.model in world.ada.get(PAGE).content.decode()
    assert row.uid not in world.mal.get(CSV).getvalue().decode()
    assert world.model not in world.mal.get(PAGE).content.decode()
    assert world.nobody.get(path).status_code == 302


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 302), ("admin", 302), ("billing", 302), ("developer", 403)]
)
def test_limits_are_set_by_who_looks_after_the_money(world, role, status):
    world.workspace.memberships.update(role=role)
    values = {"limit_day": "0.004", "limit_month": "10", "low": "2"}
    assert world.ada.post(LIMITS, values).status_code == status
    assert ("Change" in text_of(world.ada.get(PAGE))) == (status == 302)
    scope = str(world.workspace.pk)
    found = ledger.limits_of(world.workspace.pk, "workspace", [scope])
    if status == 403:
        assert found == {}
        return
    assert found[scope, "day"].limit_micros == 4_000
    assert found[scope, "month"].limit_micros == 10_000_000
    assert ledger.balance(world.workspace.pk).low_micros == 2_000_000
    assert world.mal.post(LIMITS, values).status_code == 302
    assert ledger.limits_of(world.workspace.pk, "workspace", [scope]) == found
    world.made()
    with pytest.raises(ledger.LimitReached):
        world.run()
    assert "A spend limit of the workspace is reached" in text_of(world.ada.get(PAGE))
    world.ada.post(LIMITS, {"limit_day": "", "limit_month": "", "low": ""})
    assert ledger.limits_of(world.workspace.pk, "workspace", [scope]) == {}
    assert not ledger.balance(world.workspace.pk).is_low


@pytest.mark.parametrize("amount", ["x", "-1", "1e400", "Infinity", "0.0000001", "9" * 40])
def test_amounts_that_are_none(world, amount):
    answer = world.ada.post(LIMITS, {"limit_day": amount, "low": "1"})
    assert answer.status_code == 422
    assert "At most a day must be an amount" in text_of(answer) or "at most" in text_of(answer)
    assert ledger.limits_of(world.workspace.pk, "workspace", [str(world.workspace.pk)]) == {}


def test_what_can_be_spent_comes_first(world):
    open_run = world.run()
    body = world.ada.get(PAGE).content.decode()
    said = text_of(world.ada.get(PAGE))
    assert "Available $0.9960" in said
    assert "of which $0.0040 is held by 1 open run" in said
    assert f"/p/{open_run.uid}" in body
    assert "Nothing spent in this range" in said


def test_the_same_figures_in_chart_table_and_file(world):
    key, _ = keys.make(world.workspace, name="importer")
    world.made()
    world.made(num_images=2)
    world.failed()
    submit(
        cast.predictions.Caller(workspace=world.workspace, key=key),
        cast.predictions.Request(model=world.model, input={"prompt": "a"}),
    )
    cast.succeed(cast.claim()[0])
    for by, words in (("model", world.model), ("key", "importer"), ("member", "Programs, through keys")):
        answer = world.ada.get(f"{PAGE}?by={by}")
        said = text_of(answer)
        assert words in said
        assert "In this range $0.0160" in said
        assert "Runs 4 1 not charged" in said
        assert f"{statements.today().day} {statements.today():%b}: $0.0160, 4 runs" in answer.content.decode()
    rows = rows_of(world.ada.get(CSV))
    assert rows[0] == list(statements.CSV_HEAD)
    assert sum(int(row[-1]) for row in rows[1:]) == 16_000
    assert {row[3] for row in rows[1:]} == {"succeeded", "failed"}
    assert [row[5] for row in rows[1:] if row[4]] == ["importer"]


def test_many_models_become_three_and_others(world):
    for n in range(7):
        cast.shelve(name=f"vase-{n}", prices=[{"unit": "image", "unit_price": f"0.00{n + 1}"}])
        cast.submit(world.workspace, model=f"kiln/vase-{n}")
        cast.succeed(cast.claim()[0])
    body = world.ada.get(PAGE).content.decode()
    assert "4 others" in body
    bar = re.search(r"<g><title>[^<]*\$0\.0280[^<]*</title>(.*?)</g>", body, re.DOTALL)
    assert bar
    assert re.findall(r'class="(f\d)"', bar[1]) == ["f1", "f2", "f3", "f4"]
    heights = [float(h) for h in re.findall(r'class="f\d"[^>]*height="([\d.]+)"', bar[1])]
    assert heights == sorted(heights[:3], reverse=True) + heights[3:]
    assert sum(heights) < 119


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-02-30",
        "from=x&to=y",
        "from=2026-05-02&to=2026-05-01",
        "from=1000-01-01",
        "from=2020-01-01&to=2026-01-01",
        "from=%00",
        "to=9999-12-31",
        "from=2026-1-1",
    ],
)
def test_ranges_that_are_none(world, query):
    answer = world.ada.get(f"{PAGE}?{query}")
    assert answer.status_code == 200
    assert "These are the last 30 days" in text_of(answer)
    assert world.ada.get(f"{CSV}?{query}").status_code == 200


def test_odd_queries_change_nothing(world):
    world.made()
    for query in ("by=day", "by=<script>", "by=", "page=7", "by=model&by=key"):
        answer = world.ada.get(f"{PAGE}?{query}")
        assert answer.status_code == 200
        assert "<script>alert" not in answer.content.decode()
        assert INLINE.search(answer.content.decode()) is None


def test_a_formula_in_a_name_stays_text(world):
    for name in ("=HYPERLINK(1)", "+1", "-1", "@x", " =1", 'a,"b"'):
        key, _ = keys.make(world.workspace, name=name)
        submit(
            cast.predictions.Caller(workspace=world.workspace, key=key),
            cast.predictions.Request(model=world.model, input={"prompt": "a"}),
        )
        cast.succeed(cast.claim()[0])
    names = {row[5] for row in rows_of(world.ada.get(CSV))[1:]}
    assert names == {"'=HYPERLINK(1)", "'+1", "'-1", "'@x", "' =1", 'a,"b"'}


def test_low_credit_is_said_on_every_page_of_the_workspace(world):
    assert "left to spend" not in text_of(world.ada.get("/dashboard/history"))
    world.ada.post(LIMITS, {"low": "5"})
    for path in ("/dashboard/history", PAGE, "/dashboard/keys"):
        assert "$1.0000 left to spend." in text_of(world.ada.get(path))
    assert 'id="balance" data-low' in world.ada.get("/").content.decode()
    ledger.credit(world.workspace.pk, 10_000_000, source="bought", key="topup:more")
    assert "left to spend" not in text_of(world.ada.get(PAGE))


def test_a_year_is_drawn_and_asks_a_fixed_number_of_questions(world, django_assert_max_num_queries):
    world.made()
    today = statements.today()
    with django_assert_max_num_queries(14):
        answer = world.ada.get(f"{PAGE}?from={today - timedelta(days=365)}&to={today}")
    assert answer.content.decode().count("<title>") == 367
    assert Prediction.objects.count() == 1
