"""All runs of a workspace: the list with its filters, and what can be done to many of them at once."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from marketplace.ids import encode, parse
from marketplace.models import User, Workspace
from marketplace.people import Act
from playground import predictions
from playground.models import Prediction
from playground.pages import results
from playground.pages.access import allows, member, own
from playground.pages.asked import SPANS, Asked, makers
from playground.pages.streams import Drip
from playground.predictions import TooBroad, browse, export
from playground.predictions import delete as deletion

PAGE = 50
MAX_BACK = 8000  # of the filters in a form: what is cut off would look for more than was shown
EXPORTS = {
    "csv": (export.as_csv, "text/csv; charset=utf-8"),
    "jsonl": (export.as_json_lines, "application/x-ndjson; charset=utf-8"),
}


@require_safe
@member(Act.SEE)
def history(request: HttpRequest) -> HttpResponse:
    """The runs that match, newest first. The address is the state: filters, and `before` or `after` a run."""
    workspace, asked = own(request), Asked.of(request.GET)
    before, after = (parse(request.GET.get(name, "")[:64], "p") for name in ("before", "after"))
    problem = ""
    try:
        page = browse.page(workspace, asked.filters(workspace), size=PAGE, before=before, after=after)
    except TooBroad as error:
        page, problem = browse.Page([], has_newer=False, has_older=False), str(error)
    rows = page.rows
    has_more = page.has_newer or page.has_older
    context = {
        "lines": results.lines(rows, with_places=True, refunds=results.refunds_of(workspace, rows)),
        "asked": asked,
        "problem": problem,
        "statuses": Prediction.Status.choices,
        "models": browse.models_of(workspace),
        "makers": makers(workspace),
        "spans": SPANS,
        "older": asked.link(before=rows[-1].uid) if rows and page.has_older else "",
        "newer": asked.link(after=rows[0].uid) if rows and page.has_newer else "",
        "first": asked.link(),
        "everything": f"{reverse('history-all')}?{asked.query()}" if rows and has_more else "",
        "how_many": _how_many(workspace, asked) if has_more else "",
        "is_first": before is None and after is None,
        "may_run": allows(request, Act.RUN),
        "without_words": asked.without("q").link(),
        **_undo(request, workspace),
    }
    return render(request, "playground/history.html", context)


@require_safe
@member(Act.SEE)
def history_rows(request: HttpRequest) -> HttpResponse:
    """Some rows as they are now, for a page that shows them and knows they were open."""
    workspace = own(request)
    rows = list(predictions.history(workspace).filter(public_id__in=_ids(request.GET)[:PAGE]))
    back = results.refunds_of(workspace, rows)
    context = {
        "lines": results.lines(rows, with_places=True, refunds=back),
        "may_run": allows(request, Act.RUN),
    }
    response = render(request, "playground/_history_rows.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


@require_safe
@member(Act.SEE)
def history_export(request: HttpRequest, form: str) -> HttpResponseBase:
    """All runs that match, as a file that is sent while it is made."""
    workspace, asked = own(request), Asked.of(request.GET)
    if form not in EXPORTS:
        raise Http404(f"There is no export as {form!r}.")
    make, content_type = EXPORTS[form]
    name = f"{workspace.slug}-runs-{timezone.now():%Y-%m-%d}.{form}"
    try:
        return Drip(make(workspace, asked.filters(workspace)), content_type=content_type, filename=name)
    except TooBroad as error:
        messages.error(request, str(error))
        return redirect(asked.link())


@require_POST
@member(Act.SEE)
def history_download(request: HttpRequest) -> HttpResponseBase:
    """The media of the chosen runs as one ZIP."""
    workspace = own(request)
    try:
        rows = predictions.history(workspace).filter(public_id__in=_chosen(request, workspace))
        pieces = export.as_zip(list(rows))
    except Changed:
        return _look_again(request)
    except (export.TooMuch, TooBroad) as error:
        messages.error(request, str(error))
        return redirect(_back(request).link())
    name = f"{workspace.slug}-media-{timezone.now():%Y-%m-%d-%H%M}.zip"
    return Drip(pieces, content_type="application/zip", filename=name)


@require_POST
@member(Act.RUN)
def history_delete(request: HttpRequest) -> HttpResponse:
    """Delete the chosen runs; open ones are canceled first where that was asked for, and left else."""
    workspace = own(request)
    try:
        ids = _chosen(request, workspace)
    except Changed:
        return _look_again(request)
    except TooBroad as error:
        messages.error(request, str(error))
        return redirect(_back(request).link())
    with_cancel = bool(request.POST.get("cancel"))
    done = deletion.delete(workspace, ids, by=cast("User", request.user), cancel_open=with_cancel)
    more: list[tuple[str, str]] = [("left", encode(one, "p")) for one in done.left_open[:PAGE]]
    if done.deletion is not None:
        more.append(("undo", done.deletion.uid))
    elif not ids:
        messages.error(request, "Nothing was chosen.")
    return redirect(f"{_back(request).link()}&{urlencode(more)}")


@require_POST
@member(Act.RUN)
def history_undo(request: HttpRequest) -> HttpResponse:
    """Show again what one act of deleting hid."""
    shown = deletion.undo(own(request), request.POST.get("deletion", ""))
    if shown:
        messages.success(request, f"{_runs(shown)} {'is' if shown == 1 else 'are'} back.")
    else:
        messages.error(request, "It is too late to undo this, or it was undone already.")
    return redirect(_back(request).link())


@require_POST
@member(Act.RUN)
def history_cancel(request: HttpRequest) -> HttpResponse:
    """Cancel those of the chosen runs that are still open."""
    rows = Prediction.objects.of(own(request)).open().filter(public_id__in=_ids(request.POST)[:PAGE])
    closed = [predictions.cancel(row) for row in rows]
    if closed:
        messages.success(request, f"{_runs(len(closed))} canceled.")
    else:
        messages.error(request, "None of them was open any more.")
    return redirect(_back(request).link())


class Changed(Exception):
    """More runs match than whoever confirmed the act was told of."""


def everything(workspace: Workspace, asked: Asked, *, newest: UUID | None = None) -> tuple[list[UUID], bool]:
    """The newest runs that match, as many as one act may take, and whether there are more. Raises TooBroad."""
    found = browse.matches(workspace, asked.filters(workspace), most=deletion.MAX_AT_ONCE + 1, newest=newest)
    return found[: deletion.MAX_AT_ONCE], len(found) > deletion.MAX_AT_ONCE


def _chosen(request: HttpRequest, workspace: Workspace) -> list[UUID]:
    """The runs that were ticked; or of `everything` that matches, those that the page before told of.

    Raises Changed, TooBroad.
    """
    if not request.POST.get("everything"):
        return _ids(request.POST)
    newest, told = parse(request.POST.get("newest", "")[:64], "p"), request.POST.get("told", "")
    if newest is None or not told.isdecimal() or len(told) > 6:
        raise Changed
    found, _ = everything(workspace, _back(request), newest=newest)
    if len(found) > int(told):
        raise Changed
    return found


def _look_again(request: HttpRequest) -> HttpResponse:
    messages.error(request, "Nothing was done: what matches has changed. Look at it again.")
    return redirect(f"{reverse('history-all')}?{_back(request).query()}")


def _how_many(workspace: Workspace, asked: Asked) -> str:
    """How many runs match, in words; nothing where it would take long to know."""
    if asked.q:
        return ""
    try:
        found, is_more = everything(workspace, asked)
    except TooBroad:
        return ""
    return f"more than {deletion.MAX_AT_ONCE}" if is_more else f"all {len(found)}"


def _ids(values: QueryDict) -> list[UUID]:
    found = (parse(text[:64], "p") for text in values.getlist("id")[: deletion.MAX_AT_ONCE])
    return list(dict.fromkeys(one for one in found if one is not None))


def _back(request: HttpRequest) -> Asked:
    """The filters of the list that the form stood in."""
    return Asked.of(QueryDict(request.POST.get("back", "")[:MAX_BACK]))


def _undo(request: HttpRequest, workspace: Workspace) -> dict[str, Any]:
    """What was just deleted and can be shown again, and what was left because it is open."""
    named = request.GET.get("undo", "")
    left = [parse(text[:64], "p") for text in request.GET.getlist("left")[:PAGE]]
    still = Prediction.objects.of(workspace).open().filter(public_id__in=[one for one in left if one])
    return {
        "deletion": named,
        "deleted": deletion.pending(workspace, named) if named else 0,
        "left_open": [row.uid for row in still.only("public_id")] if left else [],
    }


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"
