"""The spend limits of a workspace: all that there are, on whom, how much of each is used, and setting them."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from billing import limits as spending
from billing import usage
from marketplace import catalog
from marketplace.people import Act
from playground import predictions
from playground.pages.access import allows, member, own, private
from playground.pages.key_forms import Dollars, written

PERIOD_WORDS = {"day": "a day", "week": "a week", "month": "a month", "lifetime": "for ever"}
MODELS_OFFERED = 100
ALERTS_LENGTH = 60
# What `billing.limits` calls a field, by the name that it has in the form.
FIELDS = {"scope": "on", "target": "on", "limit_micros": "amount", "alert_at": "alerts", "period": "period"}


class Percents(forms.Field):
    """Percents with commas between them; an empty tuple for nothing."""

    widget = forms.TextInput

    def to_python(self, value: Any) -> Any:
        words = str(value or "")[:ALERTS_LENGTH].replace("%", " ").replace(",", " ").split()
        if not all(word.isascii() and word.isdigit() and len(word) <= 3 for word in words):
            raise forms.ValidationError("must be percents like 50, 80, 100")
        return tuple(int(word) for word in words)


class ChangeForm(forms.Form):
    """What can be changed of a limit."""

    amount = Dollars(required=True)
    alerts = Percents(required=False)


class LimitForm(ChangeForm):
    """A limit that is to be set. `on` is `workspace`, `model`, `key:k_…` or `member:u_…`."""

    on = forms.CharField(max_length=60)
    model = forms.CharField(max_length=160, required=False)
    period = forms.ChoiceField(choices=list(PERIOD_WORDS.items()))


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.SEE)
def limits(request: HttpRequest) -> HttpResponse:
    """All limits, and the form for another one."""
    return cast("HttpResponse", _put(request)) if request.method == "POST" else _page(request)


@member(Act.BILLING)
def _put(request: HttpRequest) -> HttpResponse:
    form = LimitForm(request.POST)
    if form.is_valid():
        given = form.cleaned_data
        kind, _, target = given["on"].partition(":")
        target = given["model"].strip() if kind == "model" else target
        try:
            made = spending.put(
                own(request),
                kind=kind,
                target=target,
                period=given["period"],
                limit_micros=given["amount"],
                alert_at=given["alerts"],
            )
        except spending.Invalid as error:
            _complain(form, error, kind)
        except spending.NotAllowed as error:
            form.add_error(None, str(error))
        else:
            messages.success(
                request, f"The {made.period_word} limit of {made.target.said} holds from now on."
            )
            return redirect("limits")
    return _page(request, form=form, status=422)


@require_POST
@member(Act.BILLING)
def limit(request: HttpRequest, limit_id: str) -> HttpResponse:
    """Change one limit, or remove it."""
    workspace = own(request)
    try:
        row = spending.find(workspace, limit_id[:64])
        if request.POST.get("act") == "remove":
            spending.remove(workspace, row.uid)
            messages.success(request, f"The {row.period_word} limit of {row.target.said} is removed.")
            return redirect("limits")
    except spending.NotFound as error:
        raise Http404(str(error)) from None
    form = ChangeForm(request.POST)
    if form.is_valid():
        given = form.cleaned_data
        try:
            spending.change(workspace, row.uid, limit_micros=given["amount"], alert_at=given["alerts"])
        except spending.Invalid as error:
            _complain(form, error, "")
        except spending.NotFound as error:  # removed at this moment
            raise Http404(str(error)) from None
        else:
            messages.success(request, f"The {row.period_word} limit of {row.target.said} is changed.")
            return redirect("limits")
    return _page(request, changed=(row.uid, form), status=422)


def _page(
    request: HttpRequest,
    *,
    form: LimitForm | None = None,
    changed: tuple[str, ChangeForm] | None = None,
    status: int = 200,
) -> HttpResponse:
    workspace = own(request)
    rows = spending.of(workspace)
    may_bill = allows(request, Act.BILLING)
    uid, wrong = changed or ("", None)
    usual = ", ".join(map(str, spending.USUAL_ALERTS))
    context: dict[str, Any] = {
        "lines": [(row, wrong if row.uid == uid and wrong else _filled(row)) for row in rows],
        "changed": uid,
        "reached": [row for row in rows if row.is_reached],
        "form": form or LimitForm(initial={"on": "workspace", "period": "month", "alerts": usual}),
        "periods": PERIOD_WORDS,
        "most_open": predictions.most_open_runs(workspace),
        "open": usage.open_holds(workspace.pk),
        "may_bill": may_bill,
    }
    if may_bill:
        models = catalog.listings(workspace=workspace).values_list("publisher__name", "name")
        context |= {
            "targets": spending.targets(workspace),
            "models": [f"{publisher}/{name}" for publisher, name in models[:MODELS_OFFERED]],
        }
    response = render(request, "dashboard/limits/limits.html", context, status=status)
    return private(response)


def _filled(row: spending.Standing) -> ChangeForm:
    alerts = ", ".join(map(str, row.alert_at))
    return ChangeForm(initial={"amount": written(row.limit_micros), "alerts": alerts})


def _complain(form: ChangeForm, invalid: spending.Invalid, kind: str) -> None:
    """Put what is wrong beside the fields it is about."""
    for error in invalid.errors:
        name = (
            "model" if error.field == "target" and kind == "model" else FIELDS.get(error.field, error.field)
        )
        form.add_error(name if name in form.fields else None, error.message)
