"""Connected accounts of who is paid: recipients of the second version, their onboarding and what they may."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from billing.sandbox import charges, events, store
from billing.sandbox.models import Thing
from billing.sandbox.refusals import Json, Refused, unexpected
from billing.sandbox.serving import Call, merged, only, serves

KIND, LINK = "v2.core.account", "v2.core.account_link"
LINK_MINUTES = 5
INCLUDED = ("configuration", "defaults", "future_requirements", "identity", "requirements")
CAPABILITY = "v2.core.account[configuration.recipient].capability_status_updated"
REQUIREMENTS = "v2.core.account[requirements].updated"
# What the page asks for; without it an account is not yet paid.
ASKED = {
    "identity.individual.given_name": "provide_info",
    "configuration.recipient.default_outbound_destination": "provide_info",
    "identity.attestations.terms_of_service.account": "provide_info",
}
OUTCOMES = ("active", "pending", "restricted")
BANKS = ("pays", "fails")


@serves("post", "/v2/core/accounts")
def create(call: Call) -> Json:
    only(
        call, "contact_email", "contact_phone", "display_name", "dashboard", "identity", "configuration", "defaults",
        "include", "metadata",
    )  # fmt: skip
    configuration = call.get("configuration") or {}
    if set(configuration) != {"recipient"}:
        raise Refused("The sandbox plays recipients.", param="configuration", code="sandbox_unsupported")
    if call.get("dashboard") and not (call.get("defaults") or {}).get("responsibilities"):
        raise Refused("An account with a dashboard needs its responsibilities.", param="defaults")
    country = (call.get("identity") or {}).get("country", "").upper()
    if len(country) != 2:
        raise Refused("An account with a configuration needs a country.", param="identity")
    wanted = (
        configuration["recipient"]
        .get("capabilities", {})
        .get("stripe_balance", {})
        .get("stripe_transfers", {})
    )
    row = store.put(
        KIND,
        {
            "applied_configurations": ["recipient"],
            "closed": False,
            "configuration": _configuration("restricted", is_requested=wanted.get("requested", False)),
            "contact_email": call.get("contact_email"),
            "contact_phone": call.get("contact_phone"),
            "dashboard": call.get("dashboard"),
            "defaults": _defaults(call.get("defaults") or {}),
            "display_name": call.get("display_name"),
            "future_requirements": {"entries": [], "summary": None},
            "identity": {**(call.get("identity") or {}), "country": country},
            "metadata": merged({}, call.get("metadata")),
            "requirements": _requirements(sorted(ASKED)),
        },
        now=call.now,
        bank="pays",
        submitted=False,
        pending_since=None,
    )
    _tell("v2.core.account.created", row, now=call.now)
    return shown(row, call.get("include"))


def _defaults(given: Json) -> Json:
    responsibilities = given.get("responsibilities") or {}
    return {
        "currency": given.get("currency", "usd"),
        "locales": given.get("locales"),
        "profile": given.get("profile"),
        "responsibilities": {
            "fees_collector": None,
            "losses_collector": None,
            **responsibilities,
            "requirements_collector": "stripe",
        },
    }


def _configuration(status: str, *, is_requested: bool) -> Json:
    details = {
        "active": [],
        "pending": [{"code": "determining_status", "resolution": "no_resolution"}],
        "restricted": [{"code": "requirements_past_due", "resolution": "provide_info"}],
        "rejected": [{"code": "rejected_other", "resolution": "contact_stripe"}],
    }
    state = {"status": status, "status_details": details[status]}
    balance = {"payouts": state, "stripe_transfers": state} if is_requested else None
    capabilities = {"bank_accounts": None, "cards": None, "stripe_balance": balance}
    return {
        "customer": None,
        "merchant": None,
        "recipient": {"applied": True, "capabilities": capabilities},
    }


def _requirements(names: list[str]) -> Json:
    restricts = {
        "capability": "stripe_balance.stripe_transfers",
        "configuration": "recipient",
        "deadline": {"status": "currently_due"},
    }
    entries = [
        {
            "awaiting_action_from": "user",
            "description": name,
            "errors": [],
            "impact": {"restricts_capabilities": [restricts]},
            "minimum_deadline": {"status": "currently_due"},
            "reference": None,
            "requested_reasons": [{"code": "routine_onboarding"}],
        }
        for name in names
    ]
    due = {"minimum_deadline": {"status": "currently_due", "time": None}} if names else None
    return {"alternatives": None, "entries": entries, "summary": due}


def shown(row: Thing, include: Any) -> Json:
    """The account as it is answered: what was not asked for is null, as at Stripe."""
    wanted = set(include or ())
    data = dict(row.data)
    for name in INCLUDED:
        if name == "configuration" and "configuration.recipient" in wanted:
            continue
        if name not in wanted:
            data[name] = None
    return data


def _tell(type: str, row: Thing, *, now: datetime) -> None:
    events.tell_thinly(type, row.name, kind=KIND, url=f"/v2/core/accounts/{row.name}", now=now)


def find(name: str, *, param: str = "id") -> Thing:
    """The account. Raises Refused if there is none."""
    return store.find(KIND, name, param=param)


@serves("get", "/v2/core/accounts/{id}")
def retrieve(call: Call) -> Json:
    return shown(find(call.named["id"]), call.params.get("include"))


@serves("get", "/v2/core/accounts")
def some(call: Call) -> Json:
    only(call, "limit", "closed", "applied_configurations")
    rows = Thing.objects.filter(kind=KIND, data__closed=call.get("closed", False)).order_by("-pk")
    limit = store.limit_of(call.params, 20)
    found = [shown(row, ()) for row in rows[:limit]]
    return {"data": found, "next_page_url": None, "previous_page_url": None}


@serves("post", "/v2/core/accounts/{id}")
def update(call: Call) -> Json:
    only(call, "contact_email", "contact_phone", "display_name", "identity", "include", "metadata")
    row = find(call.named["id"])
    _must_be_open(row)
    plain = ("contact_email", "contact_phone", "display_name")
    data: Json = {name: call.params[name] for name in plain if name in call.params}
    if "identity" in call.params:
        data["identity"] = {**row.data["identity"], **call.params["identity"]}
    store.change(row, metadata=merged(row.data["metadata"], call.get("metadata")), **data)
    _tell("v2.core.account.updated", row, now=call.now)
    return shown(row, call.get("include"))


@serves("post", "/v2/core/accounts/{id}/close")
def close(call: Call) -> Json:
    row = find(call.named["id"])
    _must_be_open(row)
    set_capability(row, "restricted", now=call.now)
    store.change(row, closed=True)
    _tell("v2.core.account.closed", row, now=call.now)
    return shown(row, ())


def _must_be_open(row: Thing) -> None:
    if row.data["closed"]:
        raise unexpected("This account is closed.", code="account_closed")


# What it may


def capability(row: Thing) -> str | None:
    """Whether it can be paid: active, pending, restricted, rejected; None if nobody asked for it."""
    balance = row.data["configuration"]["recipient"]["capabilities"]["stripe_balance"]
    return balance["stripe_transfers"]["status"] if balance is not None else None


def set_capability(row: Thing, status: str, *, now: datetime) -> None:
    """Stripe comes to think otherwise of the account, and says so if it does."""
    before = capability(row)
    if before in {None, status}:
        return
    store.change(row, configuration=_configuration(status, is_requested=True))
    _tell(CAPABILITY, row, now=now)


def onboard(row: Thing, outcome: str, *, now: datetime, name: str = "", bank: str = "pays") -> None:
    """What came of the onboarding page: active, pending for a moment, or restricted, as something is missing."""
    _must_be_open(row)
    if outcome not in OUTCOMES or bank not in BANKS:
        raise Refused("There is no such outcome.")
    row.hidden = {
        **row.hidden,
        "bank": bank,
        "submitted": True,
        "pending_since": now.timestamp() if outcome == "pending" else None,
    }
    given, _, surname = name.strip().partition(" ")
    person: Json = {}
    if given:
        words = {"id": f"person_{store.token(24)}", "object": "v2.core.account_person", "account": row.name}
        times = dict.fromkeys(("created", "updated"), store.v2_time(now))
        person = {"individual": {**words, **times, "given_name": given, "surname": surname}}
    left = sorted(ASKED)[:1] if outcome == "restricted" else []
    store.change(row, identity={**row.data["identity"], **person}, requirements=_requirements(left))
    _tell(REQUIREMENTS, row, now=now)
    set_capability(row, outcome, now=now)


def decide_pending(*, now: datetime, after: timedelta) -> int:
    """Accounts that were looked at long enough become active; how many."""
    rows = [
        row
        for row in Thing.objects.filter(kind=KIND, hidden__pending_since__lte=(now - after).timestamp())
        if capability(row) == "pending"
    ]
    for row in rows:
        row.hidden = {**row.hidden, "pending_since": None}
        set_capability(row, "active", now=now)
        store.change(row)
    return len(rows)


# The pages that it is led to


@serves("post", "/v2/core/account_links")
def create_link(call: Call) -> Json:
    row = find(call.params["account"], param="account")
    _must_be_open(row)
    use = call.params["use_case"]
    ways = use.get(use["type"])
    if ways is None or len(use) != 2:
        raise Refused(f"use_case must have {use['type']}, and no other.", param="use_case")
    for name in ("refresh_url", "return_url"):
        if ways.get(name) and urlsplit(ways[name]).scheme not in {"http", "https"}:
            raise Refused("Not a valid URL", param=f"use_case[{use['type']}][{name}]", code="url_invalid")
    ends = call.now + timedelta(minutes=LINK_MINUTES)
    token = store.token()
    link = store.put(
        LINK,
        {
            "id": f"alink_{token}",
            "account": row.name,
            "expires_at": store.v2_time(ends),
            "url": charges.page(f"onboarding/{token}"),
            "use_case": {"account_onboarding": None, "account_update": None, **use},
        },
        now=call.now,
        expires=ends.timestamp(),
        session=None,
    )
    return {name: value for name, value in link.data.items() if name != "id"}


def enter(token: str, *, now: datetime) -> tuple[Thing, bool]:
    """Follow a link: it opens once, and not after its time. Returns the link, and whether it opened.

    Raises Refused if there is no such link.
    """
    link = store.find(LINK, f"alink_{token}")
    if link.hidden["session"] is not None or link.hidden["expires"] <= now.timestamp():
        return link, False
    link.hidden = {**link.hidden, "session": store.token()}
    return store.change(link), True


def entered(session: str) -> Thing | None:
    """The link that was entered by this session; None for none."""
    return Thing.objects.filter(kind=LINK, hidden__session=session).first() if session else None


def ways_of(link: Thing) -> Json:
    """Where a link leads back to: `return_url` and `refresh_url`."""
    use = link.data["use_case"]
    ways: Json = use[use["type"]]
    return ways


def left(link: Thing, *, now: datetime) -> None:
    """The page was left, with everything said or not."""
    name = link.data["account"]
    url = f"/v2/core/accounts/{name}"
    events.tell_thinly("v2.core.account_link.returned", name, kind=KIND, url=url, now=now)


@serves("post", "/v1/accounts/{account}/login_links")
def login_link(call: Call) -> Json:
    row = find(call.named["account"], param="account")
    if row.data["dashboard"] != "express" or not row.hidden["submitted"]:
        raise Refused("Cannot create a login link for an account that has not completed onboarding.")
    token = store.token()
    row.hidden = {**row.hidden, "login": token, "login_until": call.now.timestamp() + 300}
    store.change(row)
    return {
        "object": "login_link",
        "created": int(call.now.timestamp()),
        "url": charges.page(f"express/{token}"),
    }


@serves("get", "/v1/accounts/{account}")
def as_first_version(call: Call) -> Json:
    row = find(call.named["account"], param="account")
    is_active = capability(row) == "active"
    due = [one["description"] for one in row.data["requirements"]["entries"]]
    return {
        **store.nulls("account"),
        "id": row.name,
        "object": "account",
        "capabilities": {"transfers": "active" if is_active else "inactive"},
        "charges_enabled": False,
        "country": row.data["identity"]["country"],
        "created": int(row.created_at.timestamp()),
        "default_currency": row.data["defaults"]["currency"],
        "details_submitted": row.hidden["submitted"],
        "email": row.data["contact_email"],
        "metadata": row.data["metadata"],
        "payouts_enabled": is_active,
        "requirements": {
            "currently_due": due,
            "disabled_reason": None,
            "eventually_due": due,
            "past_due": [],
        },
        "type": row.data["dashboard"] or "none",
    }
