"""Usage and balance: what can be spent, what was, by whom, and the limits on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from billing import ledger, low_balance
from billing import usage as spent
from billing.usage import Group, Name
from marketplace.models import Workspace
from marketplace.people import Act
from playground import predictions, statements
from playground.pages import day_range
from playground.pages.access import allows, member, own, private
from playground.pages.key_forms import Dollars, written
from playground.pages.usage_chart import chart_of, is_by_week
from playground.statements import Range

TABS = {Group.MODEL: "By model", Group.KEY: "By key", Group.MEMBER: "By member"}
NONE = {Group.KEY: "Playground, without a key", Group.MEMBER: "Programs, through keys"}
GONE = {Group.KEY: "A key that is no more", Group.MEMBER: "Somebody who is no more"}
PERIODS = ("day", "month")
ROWS_SHOWN = 50


class Limits(forms.Form):
    """The workspace's spend limits and the threshold of its warning, in dollars."""

    limit_day = Dollars(required=False)
    limit_month = Dollars(required=False)
    low = Dollars(required=False)


@require_safe
@member(Act.SEE)
def usage(request: HttpRequest) -> HttpResponse:
    """The whole page; `?from=&to=&by=` say what of it."""
    return _page(request)


@require_safe
@member(Act.SEE)
def usage_csv(request: HttpRequest) -> HttpResponseBase:
    """Every settled run of the range as a file."""
    workspace = own(request)

    def file(span: Range) -> HttpResponseBase:
        name = statements.csv_name(workspace, span)
        return StreamingHttpResponse(
            statements.csv_lines(workspace, span),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )

    return day_range.for_file(file, request)


@require_safe
@member(Act.SEE)
def usage_books(request: HttpRequest) -> StreamingHttpResponse:
    """Every movement of the workspace's credit as a file that proves itself."""
    workspace = own(request)
    lines = ledger.export_workspace(workspace.pk, workspace.public_id)
    return books_file(f"vitrine-books-{workspace.slug}.jsonl", lines)


def books_file(name: str, lines: Iterator[str]) -> StreamingHttpResponse:
    """The export of a ledger as it is made."""
    return StreamingHttpResponse(
        lines,
        content_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.BILLING)
def limits(request: HttpRequest) -> HttpResponse:
    """Set the workspace's spend limits and its warning."""
    if request.method != "POST":
        return redirect("usage")
    form = Limits(request.POST)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    workspace, given = own(request), form.cleaned_data
    scope = ledger.SpendScope("workspace", str(workspace.pk))
    for period in PERIODS:
        ledger.set_limit(
            workspace_id=workspace.pk, scope=scope, period=period, limit_micros=given[f"limit_{period}"]
        )
    if (given["low"] or 0) != ledger.balance(workspace.pk).low_micros:
        low_balance.set_threshold(workspace.pk, given["low"] or 0)
    messages.success(request, "Saved. New runs are held to it from now on.")
    return redirect("usage")


def _page(request: HttpRequest, *, form: Limits | None = None, status: int = 200) -> HttpResponse:
    workspace = own(request)
    span, wrong = day_range.asked(request)
    text = request.GET.get("by", Group.MODEL.value)
    group = Group(text) if text in set(TABS) else Group.MODEL
    found, projection = _spent(workspace, span, group)
    names = {name for groups in found.values() for name in groups}
    chart = chart_of(span.days, found, _labels(workspace, group, names))
    now = ledger.balance(workspace.pk)
    caps = ledger.limits_of(workspace.pk, "workspace", [str(workspace.pk)])
    limits_now = {period: caps.get((str(workspace.pk), period)) for period in PERIODS}
    context = {
        "span": span,
        "today": statements.today(),
        "wrong": wrong,
        "chips": day_range.chips(span, lambda one: _query(one, group)),
        "tabs": [(label, _query(span, one), one == group) for one, label in TABS.items()],
        "group": group.value,
        "query": _query(span, group),
        "chart": chart,
        "rows": chart.rows[:ROWS_SHOWN],
        "hidden": max(0, len(chart.rows) - ROWS_SHOWN),
        "balance": now,
        "holds": spent.open_holds(workspace.pk),
        "open_runs": predictions.open_runs(workspace),
        "projection": projection,
        "limits": limits_now,
        "is_at_limit": any(cap and cap.share >= 1 for cap in limits_now.values()),
        "form": form or Limits(initial=_initial(limits_now, now.low_micros)),
        "may_bill": allows(request, Act.BILLING),
        "may_key": allows(request, Act.KEYS),
    }
    response = render(request, "dashboard/usage/usage.html", context, status=status)
    return private(response)


def _spent(workspace: Workspace, span: Range, group: Group) -> tuple[spent.Days, spent.Projection]:
    """What was spent on the days of the range, or in its weeks, and what this month comes to: mostly one question."""
    if is_by_week(span.days):
        return spent.by_week(workspace.pk, group, span.first, span.last), spent.projection(workspace.pk)
    first, last = spent.reach()
    if span.last < first:
        return spent.by_day(workspace.pk, group, span.first, span.last), spent.projection(workspace.pk)
    known = spent.by_day(workspace.pk, group, min(first, span.first), max(last, span.last))
    found = {day: groups for day, groups in known.items() if span.first <= day <= span.last}
    return found, spent.projection(workspace.pk, known=known)


def _initial(caps: Mapping[str, ledger.Limit | None], low_micros: int) -> dict[str, str]:
    found = {f"limit_{period}": written(cap.limit_micros if cap else None) for period, cap in caps.items()}
    return found | {"low": written(low_micros or None)}


def _query(span: Range, group: Group) -> str:
    return urlencode({"from": span.first, "to": span.last, "by": group.value})


def _labels(workspace: Workspace, group: Group, names: set[Name]) -> dict[Name, tuple[str, str]]:
    """What each group is called, and a second line."""
    known = statements.names_of(workspace, group, names)
    labels: dict[Name, tuple[str, str]] = {}
    for name in names:
        if name in known:
            labels[name] = (known[name].name, known[name].detail)
        elif isinstance(name, int):
            labels[name] = (GONE[group] if name else NONE[group], "")
        else:
            labels[name] = (str(name), "")
    return labels
