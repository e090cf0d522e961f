"""A workspace's months: what each came to, as a page, on paper and as PDF, and whom they are made out to."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing import invoices as books
from billing import usage
from billing.invoices import Month, Recipient
from marketplace.people import Act
from playground import invoices as papers
from playground.pages.access import allows, member, own
from playground.pages.errors import too_many


class MadeOutTo(forms.Form):
    """Whom the invoices from now on are made out to."""

    name = forms.CharField(max_length=200, required=False)
    address = forms.CharField(max_length=500, required=False)
    tax_id = forms.CharField(max_length=40, required=False)


@require_safe
@never_cache
@member(Act.SEE)
def invoices(request: HttpRequest) -> HttpResponse:
    """The months, newest first, and what the present one comes to at this pace."""
    return _list(request, MadeOutTo(initial=books.recipient_of(own(request))._asdict()))


@require_POST
@never_cache
@member(Act.BILLING)
def invoice_recipient(request: HttpRequest) -> HttpResponse:
    """Say whom the invoices from now on are made out to."""
    form = MadeOutTo(request.POST)
    if not form.is_valid():
        return _list(request, form, status=422)
    books.make_out_to(own(request), Recipient(**form.cleaned_data))
    messages.success(request, "Saved. Invoices from now on are made out so.")
    return redirect("invoices")


@require_safe
@never_cache
@member(Act.SEE)
def invoice(request: HttpRequest, month: str) -> HttpResponse:
    """One month, on a page for paper."""
    shown = _shown(request, month)
    context = {
        "shown": shown,
        "rows": papers.rows_of(shown),
        "text": f"{shown.month:%Y-%m}",
        "projection": None if shown.is_final else usage.projection(own(request).pk),
    }
    return render(request, "invoices/one.html", context)


@require_safe
@never_cache
@member(Act.SEE)
def invoice_pdf(request: HttpRequest, month: str) -> HttpResponse:
    """The same as a file."""
    shown = _shown(request, month)
    name = papers.file_name(own(request), shown)
    try:
        file = papers.drawn(own(request), shown)
    except papers.Busy:
        return too_many(request)
    return HttpResponse(
        file,
        content_type="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _list(request: HttpRequest, form: MadeOutTo, *, status: int = 200) -> HttpResponse:
    workspace = own(request)
    context = {
        "months": [(one, f"{one.month:%Y-%m}") for one in books.months(workspace.pk)],
        "projection": usage.projection(workspace.pk),
        "form": form,
        "may_bill": allows(request, Act.BILLING),
    }
    return render(request, "invoices/list.html", context, status=status)


def _shown(request: HttpRequest, month: str) -> Month:
    try:
        return papers.invoice(own(request), month)
    except papers.BadMonth as error:
        raise Http404(str(error)) from None
