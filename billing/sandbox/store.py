"""Objects kept, found and listed; and the one lock under which anything changes, so that a state is never raced."""

from __future__ import annotations

import contextlib
import functools
import secrets
import string
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from importlib import import_module
from typing import Any, get_args

from django.db import connection, transaction
from stripe._object_classes import OBJECT_CLASSES, V2_OBJECT_CLASSES

from billing.sandbox.models import Thing
from billing.sandbox.refusals import Json, Refused, missing

LOCK = 0x73_61_6E_64  # "sand"
PAGE, MOST = 10, 100
PREFIXES = {
    "account": "acct",
    "balance_transaction": "txn",
    "billing_portal.session": "bps",
    "charge": "ch",
    "checkout.session": "cs_test",
    "customer": "cus",
    "dispute": "dp",
    "event": "evt",
    "invoice": "in",
    "login_link": "lael",
    "payment_intent": "pi",
    "payment_method": "pm",
    "payout": "po",
    "refund": "re",
    "setup_intent": "seti",
    "topup": "tu",
    "transfer": "tr",
    "transfer_reversal": "trr",
    "v2.core.account": "acct",
    "v2.core.account_link": "alink",
    "v2.core.event": "evt_test",
    "webhook_endpoint": "we",
}
_ALPHABET = string.ascii_letters + string.digits


@contextlib.contextmanager
def changing() -> Iterator[None]:
    """A transaction in which nobody else changes the sandbox."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield


def new_name(kind: str) -> str:
    """A fresh id, as Stripe writes it."""
    return f"{PREFIXES[kind]}_{token(24)}"


def token(length: int = 40) -> str:
    """What nobody can guess."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def put(kind: str, data: Json, *, now: datetime, account: str = "", **hidden: Any) -> Thing:
    """Keep a new object. What the library may find null and is not given, is null."""
    data = {"id": new_name(kind), "object": kind, **nulls(kind), **data}
    if kind.startswith("v2."):
        data.setdefault("created", v2_time(now))
    else:
        data.setdefault("created", int(now.timestamp()))
    if "livemode" in _members(kind):
        data.setdefault("livemode", False)
    return Thing.objects.create(
        name=data["id"], kind=kind, account=account, data=data, hidden=hidden, created_at=now
    )


def find(kind: str, name: str, *, account: str = "", param: str = "id") -> Thing:
    """The object of that id. Raises Refused if the caller has no such thing."""
    found = Thing.objects.filter(name=name, kind=kind, account=account).first()
    if found is None or found.data.get("deleted"):
        raise missing(kind, name[:80], param=param)
    return found


def find_any(name: str | None) -> Thing:
    """The platform's object of that id, of whatever kind. Raises Refused if there is none."""
    found = Thing.objects.filter(name=name or "", account="").first()
    if found is None:
        raise missing("object", str(name))
    return found


def change(thing: Thing, **data: Any) -> Thing:
    """Keep what changed of it."""
    thing.data = {**thing.data, **data}
    thing.save(update_fields=["data", "hidden"])
    return thing


def listed(
    kind: str,
    params: Json,
    *,
    url: str,
    account: str = "",
    matching: Json | None = None,
    by: Collection[str] = (),
) -> Json:
    """One page of objects, newest first. `by` names the parameters that are also members of the objects.

    Raises Refused for a parameter that it would have to ignore.
    """
    known = {"limit", "starting_after", "ending_before", "created", "expand", *by}
    for name in params:
        if name not in known:
            raise Refused(f"The sandbox cannot list by {name}.", code="sandbox_unsupported", param=name)
    rows = Thing.objects.filter(kind=kind, account=account, data__deleted__isnull=True)
    for name, value in ({name: params[name] for name in by if name in params} | (matching or {})).items():
        rows = rows.filter(**{f"data__{name}": value})
    rows = _created(rows, params.get("created"))
    limit = limit_of(params, PAGE)
    if before := params.get("ending_before"):
        at = find(kind, before, account=account, param="ending_before").pk
        page = list(rows.filter(pk__gt=at).order_by("pk")[: limit + 1])
        found = page[:limit][::-1]
    else:
        if after := params.get("starting_after"):
            rows = rows.filter(pk__lt=find(kind, after, account=account, param="starting_after").pk)
        page = list(rows.order_by("-pk")[: limit + 1])
        found = page[:limit]
    return {"object": "list", "url": url, "has_more": len(page) > limit, "data": [one.data for one in found]}


def limit_of(params: Json, usual: int) -> int:
    """How many are asked for at once. Raises Refused for too many or none."""
    limit: int = params.get("limit", usual)
    if not 1 <= limit <= MOST:
        raise Refused(f"limit must be from 1 to {MOST}.", param="limit")
    return limit


def _created(rows: Any, wanted: Any) -> Any:
    if wanted is None:
        return rows
    bounds = wanted if isinstance(wanted, dict) else {"gte": wanted, "lte": wanted}
    return rows.filter(**{f"data__created__{name}": value for name, value in bounds.items()})


def v2_time(at: datetime) -> str:
    """A time as the second version of the API writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


@functools.cache
def _members(kind: str) -> Mapping[str, Any]:
    """The members of the library's class, with what they are."""
    module, name = (V2_OBJECT_CLASSES if kind.startswith("v2.") else OBJECT_CLASSES)[kind]
    found: Mapping[str, Any] = vars(getattr(import_module(module), name)).get("__annotations__", {})
    return found


@functools.cache
def _nullable(kind: str) -> tuple[str, ...]:
    return tuple(
        name
        for name, hint in _members(kind).items()
        if name != "deleted"  # is there or not
        and (hint.startswith("Optional[") if isinstance(hint, str) else type(None) in get_args(hint))
    )


def nulls(kind: str) -> Json:
    """Every member of such an object that may be null, so."""
    return dict.fromkeys(_nullable(kind))
