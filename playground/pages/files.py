"""Files in a form that is sent without our JavaScript: each becomes an asset, and its id the value of its field."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse

from marketplace.people import Act
from marketplace.schema import FieldError
from playground import assets, examiner
from playground.assets import uploads
from playground.models import Asset
from playground.pages.access import allows
from playground.pages.context import caller_of
from playground.predictions import Caller
from playground.predictions.files import EXAMINE_WAIT_SECONDS, MAX_NEW, made

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]
SUFFIX = ".file"
TROUBLE = (examiner.Refusal, examiner.Busy, uploads.TooLarge, uploads.QuotaReached, uploads.TooManyUploads)


def with_files(view: View[P]) -> View[P]:
    """What is chosen in `<field>.file` arrives at the view as the value of `<field>`, if whoever sends it may run."""

    @wraps(view)
    def taking(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        caller = caller_of(request)
        if request.FILES and caller is not None and allows(request, Act.RUN):
            posted, errors = request.POST.copy(), []
            for name, file in list(request.FILES.items())[:MAX_NEW]:
                field = name.removesuffix(SUFFIX)
                if not isinstance(file, UploadedFile) or not file.name:
                    continue
                try:
                    posted[field] = _taken(caller, file).uid
                except TROUBLE as error:
                    errors.append(FieldError(field, "file", f"cannot be used: {error}"))
            request.POST = posted  # type: ignore[assignment]
            request.refused_files = errors  # type: ignore[attr-defined]
        return view(request, *args, **kwargs)

    return cast("View[P]", taking)


def files_refused(request: HttpRequest) -> list[FieldError]:
    """What was wrong with the files of this request; with one of them nothing is run."""
    return cast("list[FieldError]", getattr(request, "refused_files", []))


def _taken(caller: Caller, file: UploadedFile[bytes]) -> Asset:
    with assets.Arrival() as arrival:
        for chunk in file.chunks():
            arrival.write(chunk)
        return made(
            caller.workspace,
            caller.user,
            arrival,
            declared=file.content_type or "",
            filename=file.name or "",
            wait_seconds=EXAMINE_WAIT_SECONDS,
        )
