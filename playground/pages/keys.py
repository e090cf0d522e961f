"""The keys of a workspace: the list, making one, one key's own page. A secret is in one answer, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from marketplace.ids import uuid7
from marketplace.keys import SCOPES
from marketplace.models import ApiKey, User
from marketplace.people import Act
from playground import keyring
from playground.keyring import PRESETS, Rights, Spending, Wish
from playground.middleware import VitrineRequest
from playground.pages.access import member, own, private
from playground.pages.key_forms import GRACES, LIVES, PRESET_WORDS, KeyForm, initial_of, preset_of
from playground.pages.key_snippets import check_snippets

OVER_SHOWN = 50
NEAR_END = timedelta(days=14)
FORM_SECONDS = 24 * 3600
NEW: dict[str, Any] = {"kind": "secret", "preset": "run", "life": "never"}


@dataclass(frozen=True, slots=True)
class Line:
    """One key in the list."""

    key: ApiKey
    spent: Spending

    @property
    def is_ending(self) -> bool:
        """Whether it expires soon."""
        ends = self.key.expires_at
        return ends is not None and ends < timezone.now() + NEAR_END

    @property
    def preset(self) -> str:
        """What its scopes are called together; empty where they were chosen one by one."""
        name = preset_of(self.key.scopes)
        return PRESET_WORDS[name][0].lower() if name in PRESETS else ""

    @property
    def may(self) -> list[str]:
        """Its scopes in a few words: `predictions` for both of them, `usage, read` for one that only reads."""
        whole = dict.fromkeys(scope.partition(":")[0] for scope in self.key.scopes)
        return [name if f"{name}:write" in self.key.scopes else f"{name}, read" for name in whole]


@require_safe
@member(Act.KEYS)
def keys(request: HttpRequest) -> HttpResponse:
    """All keys of the workspace."""
    return _list(request)


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.KEYS)
def new(request: HttpRequest) -> HttpResponse:
    """Make a key. The answer to the form shows the secret, once."""
    workspace = own(request)
    if request.method != "POST":
        return _form(request, KeyForm(initial=NEW))
    form = KeyForm(request.POST)
    try:
        if form.is_valid():
            made = keyring.make(
                workspace,
                Wish(**form.fields_of_wish(allowed=_rights(request).scopes)),
                rights=_rights(request),
                by=cast("User", request.user),
                public_id=_once(request),
            )
            if made is None:
                messages.info(request, "This key was made before. Its secret was shown then and is not kept.")
                return redirect("keys")
            return _list(request, made=made[0], secret=made[1])
    except keyring.Invalid as error:
        form.complain(error)
    except signing.BadSignature:
        form.add_error(
            None, "This form is too old or was changed on its way. Look it over and send it again."
        )
    except keyring.NotAllowed as error:
        form.add_error(None, str(error))
    return _form(request, form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.KEYS)
def one(request: HttpRequest, key_id: str) -> HttpResponse:
    """One key: what it may and did, its settings, rotation and end."""
    key = _own(request, key_id)
    present = keyring.wish_of(key)
    if request.method != "POST":
        return _page(request, key, KeyForm(initial=initial_of(present)))
    form = KeyForm(request.POST)
    try:
        if form.is_valid():
            rights = _rights(request)
            fields = form.fields_of_wish(present, allowed={*rights.scopes, *present.scopes})
            keyring.change(key, fields, rights=rights)
            messages.success(request, "Saved. It is in force everywhere within a few seconds.")
            return redirect("key", key.uid)
    except keyring.Invalid as error:
        form.complain(error)
    except keyring.NotAllowed as error:
        form.add_error(None, str(error))
    return _page(request, key, form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.KEYS)
def rotate(request: HttpRequest, key_id: str) -> HttpResponse:
    """A new secret for the key; the answer shows it, once."""
    key = _own(request, key_id)
    grace, seen = request.POST.get("grace", ""), request.POST.get("seen", "")
    if request.method != "POST" or grace not in GRACES or not (seen.isascii() and seen.isdigit()):
        return redirect("key", key.uid)
    try:
        secret = keyring.rotate(
            key, grace=timedelta(seconds=int(grace)), rights=_rights(request), seen=int(seen[:9])
        )
    except keyring.NotAllowed as error:
        messages.error(request, str(error))
        return redirect("key", key.uid)
    if secret is None:
        messages.info(request, "It was rotated before. The secret was shown then and is not kept.")
        return redirect("key", key.uid)
    return _list(request, made=_own(request, key_id), secret=secret)


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.KEYS)
def revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    """End the key for good."""
    key = _own(request, key_id)
    if request.method != "POST":
        return redirect("key", key.uid)
    others = keyring.revoke(key) - 1
    with_them = f" So are the {others} that it made." if others > 0 else ""
    messages.success(request, f"“{key.name}” is revoked.{with_them}")
    return redirect("keys")


def _list(request: HttpRequest, *, made: ApiKey | None = None, secret: str = "") -> HttpResponse:
    workspace = own(request)
    rows, over = list(keyring.working(workspace)), keyring.over(workspace)
    spent = keyring.spending(workspace, rows)
    context = {
        "active": [Line(row, spent[row.pk]) for row in rows],
        "over": over[:OVER_SHOWN],
        "over_count": over.count(),
        "made": made,
        "secret": secret,
        "snippets": _snippets(made, secret),
    }
    return private(render(request, "dashboard/keys/list.html", context))


def _form(request: HttpRequest, form: KeyForm, *, status: int = 200) -> HttpResponse:
    context = _choices(request, form) | {"once": _new_once(request)}
    return private(render(request, "dashboard/keys/new.html", context, status=status))


def _page(request: HttpRequest, key: ApiKey, form: KeyForm, *, status: int = 200) -> HttpResponse:
    made = [] if key.is_over else list(keyring.made_by(key))
    context = _choices(request, form) | {
        "key": key,
        "line": Line(key, keyring.spending(key.workspace, [key])[key.pk]),
        "words": {scope: SCOPES.get(scope, "") for scope in key.scopes},
        "graces": GRACES,
        "made_count": len(made),
        "snippets": _snippets(key, ""),
    }
    return private(render(request, "dashboard/keys/one.html", context, status=status))


def _choices(request: HttpRequest, form: KeyForm) -> dict[str, Any]:
    """What the form offers, and what of it is chosen."""
    scopes = form["scopes"].value() or []
    allowed = _rights(request).scopes
    return {
        "form": form,
        "presets": [(value, *words) for value, words in PRESET_WORDS.items()],
        "scopes": [
            {"name": name, "words": words, "is_chosen": name in scopes, "is_allowed": name in allowed}
            for name, words in SCOPES.items()
        ],
        "lives": LIVES,
    }


def _snippets(key: ApiKey | None, secret: str) -> list[Any]:
    origin = key.origins[0] if key is not None and key.origins else ""
    return list(check_snippets(settings.PUBLIC_URL, text=secret, origin=origin))


def _rights(request: HttpRequest) -> Rights:
    membership = cast("VitrineRequest", request).membership
    return keyring.rights_of(role=membership.role if membership else None)


def _own(request: HttpRequest, key_id: str) -> ApiKey:
    """The workspace's own key; for everybody else there is none."""
    try:
        return keyring.find(own(request), key_id[:64])
    except keyring.NotFound as error:
        raise Http404(str(error)) from None


def _salt(request: HttpRequest) -> str:
    return f"key:{own(request).pk}:{request.user.pk}"


def _new_once(request: HttpRequest) -> str:
    """The id that the key of this form will have, so that a form which is sent twice makes one key."""
    return signing.dumps(uuid7().hex, salt=_salt(request))


def _once(request: HttpRequest) -> UUID:
    """Raises signing.BadSignature for an id that no form of this person here had."""
    return UUID(signing.loads(request.POST.get("once", ""), salt=_salt(request), max_age=FORM_SECONDS))
