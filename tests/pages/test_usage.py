"""Usage and balance as people see them, and who sets the limits."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import ledger, usage
from billing.usage import Sums
from marketplace import keys
from playground import predictions, statements
from playground.models import Prediction
from playground.pages import usage_chart
from playground.pages.tags import dollars
from playground.predictions import delete as deletion
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


def test_the_books_of_the_workspace_prove_themselves(world):
    world.made()
    assert "/dashboard/usage/books.jsonl" in world.ada.get(PAGE).content.decode()
    answer = world.ada.get("/dashboard/usage/books.jsonl")
    assert "attachment" in answer["Content-Disposition"]
    checked = ledger.check(answer.getvalue().decode().splitlines())
    assert checked.owner == str(world.workspace.public_id)
    now = ledger.balance(world.workspace.pk)
    assert sum(checked.balances.values()) == now.balance_micros
    theirs = world.mal.get("/dashboard/usage/books.jsonl").getvalue().decode()
    assert str(world.workspace.public_id) not in theirs


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
    assert "It must be an amount like 20 or 0.50" in text_of(answer)
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
    assert sum(int(row[8]) for row in rows[1:]) == 16_000
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
    file = world.ada.get(f"{CSV}?{query}")
    assert (file.status_code, file["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert re.fullmatch(r"The (first|last) day must .+\.\n", file.content.decode())


def test_odd_queries_change_nothing(world):
    world.made()
    for query in ("by=day", "by=<script>", "by=", "page=7", "by=model&by=key"):
        answer = world.ada.get(f"{PAGE}?{query}")
        assert answer.status_code == 200
        assert "<script>alert" not in answer.content.decode()
        assert INLINE.search(answer.content.decode()) is None


def test_a_formula_in_a_name_stays_text(world):
    for name in ("=HYPERLINK(1)", "+1", "-1", "-1+1", "@x", " =1", 'a,"b"'):
        key, _ = keys.make(world.workspace, name=name)
        submit(
            cast.predictions.Caller(workspace=world.workspace, key=key),
            cast.predictions.Request(model=world.model, input={"prompt": "a"}),
        )
        cast.succeed(cast.claim()[0])
    names = {row[5] for row in rows_of(world.ada.get(CSV))[1:]}
    assert names == {"'=HYPERLINK(1)", "'+1", "'-1", "'-1+1", "'@x", "' =1", 'a,"b"'}


def test_however_much_was_spent_the_questions_are_the_same(world, django_assert_num_queries):
    world.made()
    with CaptureQueriesContext(connection) as few:
        world.ada.get(PAGE)
    for n in range(3):
        cast.shelve(name=f"vase-{n}")
        for _ in range(3):
            cast.submit(world.workspace, model=f"kiln/vase-{n}")
            cast.succeed(cast.claim()[0])
        cast.submit(world.workspace, model=f"kiln/vase-{n}")
    with django_assert_num_queries(len(few)):
        world.ada.get(PAGE)
    assert len(few) <= 10


@pytest.mark.parametrize(("back", "length"), [(0, 7), (0, 365), (1, 3), (35, 5), (200, 30)])
def test_this_month_is_the_same_whatever_range_is_shown(world, back, length):
    world.made()
    today = statements.today()
    with connection.cursor() as cursor:  # some of it was spent on other days
        for days in (2, 3, 36, 201):
            cursor.execute(
                "INSERT INTO billing_usageday (workspace_id, book, day, model, key_id, user_id, runs, not_charged,"
                " amount_micros) VALUES (%s, 'test', %s, 'kiln/old', 0, 0, 1, 0, %s)",
                [world.workspace.pk, today - timedelta(days=days), 100 * days],
            )
    last = today - timedelta(days=back)
    said = text_of(world.ada.get(f"{PAGE}?from={last - timedelta(days=length - 1)}&to={last}"))
    now = usage.projection(world.workspace.pk)
    assert now.spent_micros >= 4_000
    assert f"This month so far {dollars(now.spent_micros)}" in said
    assert f"This month, at this pace {dollars(now.amount_micros)}" in said
    shown = {0: 4_000} | {days: 100 * days for days in (2, 3, 36, 201)}
    within = sum(micros for days, micros in shown.items() if back <= days < back + length)
    assert f"In this range {dollars(within)}" in said


def test_the_newest_open_runs_are_shown_and_no_others(world):
    closed, deleted = world.made(), world.failed()
    deletion.delete(world.workspace, [deleted.public_id], by=None)
    running = world.run()
    cast.claim()
    queued = [world.run() for _ in range(3)]
    cast.submit(cast.payer(name="other"), model=world.model)
    found = predictions.open_runs(world.workspace)
    assert [row.public_id for row in found] == [row.public_id for row in (*reversed(queued), running)]
    assert {row.status for row in found} == {"queued", "running"}
    body = world.ada.get(PAGE).content.decode()
    assert all(f"/p/{row.uid}" in body for row in found)
    assert closed.uid not in body
    queued += [world.run() for _ in range(3)]
    assert [row.pk for row in predictions.open_runs(world.workspace)] == [
        row.pk for row in reversed(queued[-5:])
    ]


def test_low_credit_is_said_on_every_page_of_the_workspace(world):
    assert "left to spend" not in text_of(world.ada.get("/dashboard/history"))
    world.ada.post(LIMITS, {"low": "5"})
    for path in ("/dashboard/history", PAGE, "/dashboard/keys"):
        assert "$1.0000 left to spend." in text_of(world.ada.get(path))
    assert 'id="balance" data-low' in world.ada.get("/").content.decode()
    ledger.credit(world.workspace.pk, 10_000_000, source="bought", key="topup:more")
    assert "left to spend" not in text_of(world.ada.get(PAGE))


def test_a_year_is_drawn_by_week_and_asks_a_fixed_number_of_questions(world, django_assert_max_num_queries):
    world.made()
    today = statements.today()
    first = today - timedelta(days=365)
    with django_assert_max_num_queries(11):
        answer = world.ada.get(f"{PAGE}?from={first}&to={today}")
    body = answer.content.decode()
    monday = today - timedelta(today.weekday())
    weeks = (monday - (first - timedelta(first.weekday()))).days // 7 + 1
    assert body.count("<title>") == weeks + 1
    week = f"{monday:%-d %b} to {today:%-d %b}" if today != monday else f"{today:%-d %b}"
    assert f"<title>{week}: $0.0040, 1 run</title>" in body
    assert "Week by week" in body
    assert Prediction.objects.count() == 1


def test_a_week_begins_on_monday_and_holds_no_day_outside_of_the_range():
    thursday = date(2026, 1, 1)
    days = [thursday + timedelta(n) for n in range(usage_chart.MOST_DAYS + 1)]  # to a Saturday
    found = {
        date(2025, 12, 29): {"a": Sums(1, 0, 100)},
        date(2026, 4, 6): {"a": Sums(2, 1, 300), "b": Sums(1, 1, 0)},
    }
    chart = usage_chart.chart_of(days, found, {"a": ("<a>", ""), "b": ("b", "")})
    titles = re.findall("<title>(.*?)</title>", chart.bars, re.DOTALL)
    assert titles[0] == "1 Jan to 4 Jan: $0.0001, 1 run"
    assert titles[1] == "5 Jan to 11 Jan: $0.0000, 0 runs"
    assert titles[-1] == "6 Apr to 11 Apr: $0.0003, 3 runs"
    assert (len(titles), chart.unit, chart.width) == (15, "week", "150")
    assert (chart.total, chart.legend[0].label) == (Sums(4, 2, 400), "<a>")
    assert '<th scope="row">6 Apr to 11 Apr 2026</th><td class="num">$0.0003</td>' in chart.lines_of_table


def test_a_name_in_the_chart_stays_text():
    day = date(2026, 1, 1)
    found = {day: {"a": Sums(1, 0, 100), "b": Sums(1, 0, 200)}}
    chart = usage_chart.chart_of([day], found, {"a": ("</title><script>", ""), "b": ("b", "")})
    assert "<script>" not in chart.bars
    assert "&lt;/title&gt;&lt;script&gt; $0.0001" in chart.bars
