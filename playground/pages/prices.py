"""The prices of one's own models: what holds, what is to hold from when on, and what that means, while one types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import pricing
from marketplace import catalog, schema
from marketplace.catalog import Line, PriceList
from marketplace.models import Endpoint, Listing, Price, User, Version
from marketplace.people import Act
from playground.pages import price_meaning, price_words
from playground.pages.access import member, own, private
from playground.pages.amounts import number
from playground.pages.price_meaning import Case, Meaning
from playground.pages.shelf import price_text

MAX_ROWS = catalog.prices.MAX_LINES
LISTED = 200
HISTORY = 50
NUMBER_LENGTH = 30
MOMENT = "%Y-%m-%d %H:%M"
FIELD_WORDS = {
    "unit": "the unit",
    "unit_price": "the price",
    "conditions": "the condition",
    "from_runs": "the volume",
}


@dataclass(slots=True)
class Row:
    """One line of the form, as it was typed, with what is wrong in it by field."""

    unit: str = "request"
    price: str = ""
    when: str = ""
    runs: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """The whole form. `lines` are what it means, if it can be read."""

    rows: list[Row]
    start: str = ""
    lines: list[Line] = field(default_factory=list)
    start_at: datetime | None = None
    errors: dict[str, str] = field(default_factory=dict)  # of no single row
    is_unfinished: bool = False  # a row is being added or was dropped: nothing is said about it yet

    @property
    def is_wrong(self) -> bool:
        return bool(self.errors) or any(row.errors for row in self.rows)

    @property
    def wrong(self) -> list[str]:
        """All that is wrong, for who reads it in one place."""
        said = [text for text in self.errors.values() if text]
        for place, row in enumerate(self.rows, start=1):
            said += [
                f"Line {place}: {FIELD_WORDS.get(name, name)} {text}" for name, text in row.errors.items()
            ]
        return said


@dataclass(frozen=True, slots=True)
class Past:
    """One list of the history, with what a typical run costs by it."""

    since: PriceList
    case: Case | None
    lines: list[tuple[Price, str]]  # each with its conditions in words


@require_safe
@member(Act.PUBLISH)
def models(request: HttpRequest) -> HttpResponse:
    """The models of the workspace, each with its price."""
    rows = (
        Listing.objects.filter(publisher__workspace=own(request), default_version__isnull=False)
        .select_related("publisher", "default_version")
        .prefetch_related("default_version__endpoints__prices")
        .defer("search", "readme")
        .order_by("publisher__name", "name")
    )
    now = timezone.now()
    shown = [(row, price_text(catalog.prices_now(row)), _next(row, now)) for row in rows[:LISTED]]
    return private(render(request, "publish/models.html", {"models": shown}))


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.PUBLISH)
def prices(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """One model's prices: the form for the next list, and the lists it had."""
    listing = _own(request, publisher, name)
    endpoint = _endpoint(listing, request.GET.get("version") or request.POST.get("version", ""))
    if request.method != "POST":
        return _page(request, listing, endpoint, _present(endpoint))
    act = request.POST.get("act", "")
    if act == "withdraw":
        return _withdraw(request, listing, endpoint)
    draft = _read(request.POST, endpoint)
    if act == "add" or act.startswith("drop:"):
        return _page(request, listing, endpoint, _rearranged(draft, act))
    if not draft.is_wrong:
        try:
            moment = catalog.set_prices(
                endpoint, draft.lines, by=cast("User", request.user), effective_from=draft.start_at
            )
        except catalog.InvalidPrices as error:
            _complain(draft, error)
        else:
            since = "from now on" if draft.start_at is None else f"from {moment:%-d %b %Y, %H:%M} UTC on"
            messages.success(
                request, f"Runs are priced by it {since}. Those that were accepted keep their quote."
            )
            return redirect(_address(listing, endpoint))
    return _page(request, listing, endpoint, draft, status=422)


@require_POST
@member(Act.PUBLISH)
def preview(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """What the form as it stands would mean."""
    listing = _own(request, publisher, name)
    endpoint = _endpoint(listing, request.POST.get("version", ""))
    draft = _read(request.POST, endpoint)
    return private(render(request, "publish/_meaning.html", _meaning(listing, endpoint, draft)))


def _withdraw(request: HttpRequest, listing: Listing, endpoint: Endpoint) -> HttpResponse:
    try:
        moment = datetime.fromisoformat(request.POST.get("moment", "")[:40])
    except ValueError:
        moment = None
    is_gone = moment is not None and moment.utcoffset() is not None and catalog.withdraw(endpoint, moment)
    if is_gone:
        messages.success(request, "It is withdrawn. No run was priced by it.")
    else:
        messages.error(
            request, "There is no such price to come. One that has begun is replaced, not withdrawn."
        )
    return redirect(_address(listing, endpoint))


def _page(
    request: HttpRequest, listing: Listing, endpoint: Endpoint, draft: Draft, *, status: int = 200
) -> HttpResponse:
    context = {
        "listing": listing,
        "endpoint": endpoint,
        "version": endpoint.version,
        "versions": list(listing.versions.order_by("-id").only("id", "sha256", "created_at")[:LISTED]),
        "address": _address(listing, endpoint),
        "units": catalog.units_of(endpoint),
        "fields": _fields(endpoint.input_schema),
        "history": _history(listing, endpoint),
        "max_rows": MAX_ROWS,
        **_meaning(listing, endpoint, draft),
    }
    template = (
        "publish/_editor.html" if request.headers.get("HX-Target") == "price-form" else "publish/prices.html"
    )
    return private(render(request, template, context, status=status))


def _meaning(listing: Listing, endpoint: Endpoint, draft: Draft) -> dict[str, Any]:
    meaning: Meaning | None = None
    problem = ""
    if not draft.is_wrong and not draft.is_unfinished:
        wrong = catalog.wrong_lines(endpoint, draft.lines)
        if wrong:
            _complain(draft, catalog.InvalidPrices(wrong))
        else:
            try:
                meaning = price_meaning.meaning_of(endpoint, draft.lines, listing.publisher.share_percent)
            except pricing.CannotPrice as error:
                problem = str(error)
            except schema.InvalidInput:
                problem = "the model has no example input to show it with"
    return {"draft": draft, "meaning": meaning, "problem": problem}


def _history(listing: Listing, endpoint: Endpoint) -> list[Past]:
    found = []
    for one in catalog.price_lists(endpoint)[:HISTORY]:
        lines = [catalog.line_of(price) for price in one.lines]
        try:
            case = price_meaning.typical(endpoint, lines, listing.publisher.share_percent)
        except (pricing.CannotPrice, schema.InvalidInput):
            case = None
        found.append(Past(one, case, [(price, price_words.write(price.conditions)) for price in one.lines]))
    return found


def _present(endpoint: Endpoint) -> Draft:
    """The form filled with the list in force, or where there is none with the first that is to come."""
    lists = [one for one in catalog.price_lists(endpoint) if one.state != "replaced"][::-1]
    lines = [catalog.line_of(price) for price in lists[0].lines] if lists else []
    rows = [
        Row(
            line.unit,
            _typed(line.unit_price),
            price_words.write(line.conditions),
            str(line.from_runs) if line.from_runs else "",
        )
        for line in lines
    ]
    return Draft(rows or [Row()], lines=lines)


def _read(sent: QueryDict, endpoint: Endpoint) -> Draft:
    count = sent.get("rows", "")
    number = min(int(count), MAX_ROWS) if count.isascii() and count.isdigit() and len(count) < 4 else 1
    draft = Draft(
        [_row(sent, place) for place in range(max(1, number))], start=sent.get("start", "")[:40].strip()
    )
    for row in draft.rows:
        draft.lines.append(_line(row, endpoint.input_schema))
    if draft.start:
        try:
            draft.start_at = datetime.strptime(draft.start.replace("T", " "), MOMENT).replace(tzinfo=UTC)
        except ValueError:
            draft.errors["start"] = "must be a day and a time of UTC, like 2027-01-31 09:00"
    return draft


def _row(sent: QueryDict, place: int) -> Row:
    def text(name: str, length: int) -> str:
        return sent.get(f"line-{place}-{name}", "")[:length].replace("\0", "").strip()

    return Row(
        text("unit", 20),
        text("price", NUMBER_LENGTH),
        text("when", price_words.MAX_LENGTH + 1),
        text("runs", 12),
    )


def _line(row: Row, described: Mapping[str, Any]) -> Line:
    """What a row says; what it does not is in its errors."""
    runs, conditions = 0, {}
    price = number(row.price)
    if price is None:
        row.errors["unit_price"] = "must be an amount like 0.004"
        price = Decimal(0)
    typed = number(row.runs) if row.runs else Decimal(0)
    if typed is not None and row.runs.replace(",", "0").isdigit():
        runs = int(typed)
    elif row.runs:
        row.errors["from_runs"] = "must be a number of runs"
    try:
        conditions = price_words.read(row.when, described)
    except price_words.Unreadable as error:
        row.errors["conditions"] = str(error)
    return Line(row.unit, price, conditions, runs)


def _rearranged(draft: Draft, act: str) -> Draft:
    """One row more, or one less, and nothing said about what is not filled in yet."""
    rows = draft.rows
    if act == "add" and len(rows) < MAX_ROWS:
        rows.append(Row(unit=rows[-1].unit))
    place = act.removeprefix("drop:")
    if act != "add" and place.isascii() and place.isdigit() and int(place) < len(rows) and len(rows) > 1:
        del rows[int(place)]
    for row in rows:
        row.errors.clear()
    return Draft(rows, draft.start, is_unfinished=True)


def _complain(draft: Draft, error: catalog.InvalidPrices) -> None:
    """Put what is wrong beside the fields it is about."""
    for one in error.errors:
        place, _, name = one.field.removeprefix("lines[").partition("]")
        if place.isdigit() and int(place) < len(draft.rows):
            draft.rows[int(place)].errors.setdefault(name.lstrip(".") or "unit", one.message)
        else:
            name = {"effective_from": "start"}.get(one.field, one.field)
            said = one.message if name == "start" else f"The lines {one.message}."
            draft.errors.setdefault(name, said)


def _fields(described: Mapping[str, Any]) -> list[str]:
    """The fields that a condition may ask."""
    return [
        name
        for name, one in described.get("properties", {}).items()
        if one.get("type") in ("integer", "number", "string", "boolean")
        and not (one.get("x-secret") or one.get("x-media"))
    ]


def _next(listing: Listing, now: datetime) -> datetime | None:
    version = cast("Version", listing.default_version)
    moments = [
        price.effective_from
        for endpoint in version.endpoints.all()
        for price in endpoint.prices.all()
        if price.effective_from > now
    ]
    return min(moments, default=None)


def _typed(amount: Decimal) -> str:
    text = format(amount.normalize(), "f")
    return text if "." in text else f"{text}.00"


def _own(request: HttpRequest, publisher: str, name: str) -> Listing:
    """The workspace's own model; for everybody else there is none."""
    rows = Listing.objects.select_related("publisher", "default_version").defer("search")
    row = rows.filter(publisher__workspace=own(request), publisher__name=publisher, name=name).first()
    if row is None:
        raise Http404("This workspace has no such model.")
    return row


def _endpoint(listing: Listing, version: str) -> Endpoint:
    """The first endpoint of the version that is asked for, or of the one that is run by default."""
    rows = Endpoint.objects.select_related("version").filter(version__listing=listing)
    wanted = version[:64].lower()
    if wanted:
        rows = rows.filter(version__sha256__startswith=wanted) if wanted.isalnum() else rows.none()
    else:
        rows = rows.filter(version=listing.default_version_id)
    row = rows.order_by("id").first()
    if row is None:
        raise Http404("This model has no such version.")
    return row


def _address(listing: Listing, endpoint: Endpoint) -> str:
    here = reverse("model-prices", args=[listing.publisher.name, listing.name])
    is_default = endpoint.version_id == listing.default_version_id
    return here if is_default else f"{here}?version={endpoint.version.sha256[:12]}"
