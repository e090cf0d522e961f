"""One's own models: what they say of themselves, who sees them, and pausing them."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from marketplace import catalog
from marketplace.models import Listing, User
from marketplace.people import Act
from playground import assets, predictions
from playground.pages import markdown, shelf
from playground.pages.access import member, own, private
from playground.pages.files import TROUBLE
from playground.predictions import covers

# Who sees a model, in the order of how many do.
WHO = {
    Listing.Visibility.PUBLIC: "On the shelf, found by everybody.",
    Listing.Visibility.UNLISTED: "Not on the shelf. Whoever knows its address sees and runs it.",
    Listing.Visibility.PRIVATE: "Only members of this workspace see and run it.",
}
UNFIT = {"null_characters_not_allowed": "has characters that no text can have", "max_length": "is too long"}
FIELDS = ("tagline", "readme", "cover", "visibility")


class SayingForm(forms.Form):
    """What a model says of itself. Lengths and choices are the catalog's to judge, but for the cover."""

    tagline = forms.CharField(required=False, max_length=1000, error_messages=UNFIT)
    readme = forms.CharField(
        required=False, max_length=2 * markdown.MAX_LENGTH, strip=False, error_messages=UNFIT
    )
    cover = forms.CharField(required=False, max_length=200, error_messages=UNFIT)
    visibility = forms.CharField(required=False, max_length=20, error_messages=UNFIT)


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.PUBLISH)
def listing(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """One model of the workspace, with the form for what it says."""
    row = _own(request, publisher, name)
    form = SayingForm(initial={field: getattr(row, field) for field in FIELDS})
    status = 200
    if request.method == "POST":
        posted, problem = _with_picture(request)
        form, status = SayingForm(posted), 422
        if problem:
            form.add_error("cover", problem)
        if form.is_valid() and _save(row, form):
            messages.success(request, "Saved. It is in force everywhere a second from now.")
            return redirect("publish-model", publisher, name)
    context = {
        "listing": row,
        "form": form,
        "covers": _choices(row, form),
        "cover_types": ",".join(covers.TYPES),
        "cover_bytes": covers.MAX_BYTES,
        "who": [(value, value.label, words) for value, words in WHO.items()],
        "price": shelf.price_text(catalog.prices_now(row)),
        "versions": row.versions.count(),
        "examples": len(row.examples) + row.pinned.count(),
        "tagline_length": catalog.shelving.TAGLINE_LENGTH,
        "readme_length": catalog.shelving.README_LENGTH,
    }
    return private(render(request, "publish/listing.html", context, status=status))


@require_POST
@member(Act.PUBLISH)
def listing_pause(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """Take no new runs, or take them again."""
    row, act = _own(request, publisher, name), request.POST.get("act", "")
    if act == "pause":
        catalog.pause(row)
        messages.success(request, f"{row.model_id} takes no new runs. Those that were accepted go on.")
    elif act == "resume":
        catalog.resume(row)
        messages.success(request, f"{row.model_id} takes runs again.")
    else:
        raise Http404("There is no such act.")
    if request.POST.get("from") == "list":
        return redirect(f"{reverse('publish')}?{urlencode({'publisher': publisher})}")
    return redirect("publish-model", publisher, name)


def _save(row: Listing, form: SayingForm) -> bool:
    """Whether it was said; what is wrong stands beside its field."""
    given, former = form.cleaned_data, row.cover
    if given["cover"] not in {one.value for one in _choices(row, form)}:
        form.add_error("cover", "is none of the pictures that it has")
        return False
    try:
        with transaction.atomic():
            said = catalog.describe(
                row, catalog.Said(given["tagline"], given["readme"], given["cover"], given["visibility"])
            )
            covers.note_change(said, former if former != said.cover else "")
    except catalog.InvalidListing as error:
        for one in error.errors:
            form.add_error(one.field, one.message)
        return False
    return True


def _with_picture(request: HttpRequest) -> tuple[QueryDict, str]:
    """What was sent, where a picture that came with it is the cover; and why it cannot be."""
    posted, file = request.POST.copy(), request.FILES.get("picture")
    if file is None or not file.name:
        return posted, ""
    try:
        with assets.Arrival() as arrival:
            for chunk in file.chunks():
                arrival.write(chunk)
            taken = covers.take(
                own(request),
                cast("User", request.user),
                arrival,
                declared=file.content_type or "",
                filename=file.name,
            )
    except TROUBLE as error:
        return posted, f"cannot be this picture: {error}"
    posted["cover"] = taken.uid
    return posted, ""


def _choices(row: Listing, form: SayingForm) -> list[shelf.Cover]:
    """The covers that it can have; among them one that was just uploaded, as long as it is not saved."""
    found = shelf.cover_choices(row, predictions.examples(row))
    chosen = str(form["cover"].value() or "")
    if chosen not in {one.value for one in found} and covers.is_own(row.publisher.workspace, chosen):
        picture = assets.thumbnails([chosen]).get(chosen)  # unless it was deleted just now
        found += [shelf.Cover(chosen, picture, "Uploaded")] if picture else []
    return found


def _own(request: HttpRequest, publisher: str, name: str) -> Listing:
    """The workspace's own model; for everybody else there is none."""
    try:
        return catalog.own_listing(own(request), publisher, name)
    except catalog.NotFound as error:
        raise Http404(str(error)) from None
