"""Keys over the API: the calling key, and the keys of the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.models import ApiKey
from playground import keyring
from playground.api.authentication import caller_of
from playground.api.key_bodies import KeyChange, KeyRequest, Rotation
from playground.api.paging import page
from playground.api.parsing import read
from playground.api.problems import Problem
from playground.api.view import ApiView
from playground.keyring import Spending, Wish
from playground.predictions import Caller

Json = dict[str, Any]


def as_json(key: ApiKey, spent: Spending) -> Json:
    """A key as the API shows it: never its secret."""
    return {
        "id": key.uid,
        "name": key.name,
        "kind": key.kind,
        "prefix": f"vt_{key.key_id}",
        "scopes": key.scopes,
        "origins": key.origins,
        "models": key.model_ids,
        "is_active": not key.is_over,
        "limit_day_micros": spent.day.limit_micros if spent.day else None,
        "limit_month_micros": spent.month.limit_micros if spent.month else None,
        "spent_day_micros": spent.day_micros,
        "spent_month_micros": spent.month_micros,
        "currency": "USD",
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        "previous_until": key.previous_until.isoformat() if key.has_previous and key.previous_until else None,
        "urls": {"get": settings.PUBLIC_URL + reverse("api-key-one", args=[key.uid])},
    }


def _shown(key: ApiKey) -> Json:
    return as_json(key, keyring.spending(key.workspace, [key])[key.pk])


def _caller(request: Request) -> Caller:
    caller = caller_of(request)
    if caller is None:  # HasWorkspace lets nobody through without one
        raise Problem("not_authenticated", "Send an API key.")
    return caller


def _rights(request: Request) -> keyring.Rights:
    caller = _caller(request)
    return keyring.rights_of(role=caller.role, key=caller.key)


def _fields(given: Mapping[str, Any]) -> Json:
    """The fields of a body by the names of a Wish."""
    return {{"models": "model_ids"}.get(name, name): value for name, value in given.items()}


class CallingKey(ApiView):
    """`GET /api/v1/key`: the key that asks. Every key may."""

    for_browsers = True

    def get(self, request: Request) -> Response:
        key = _caller(request).key
        if key is None:
            raise Problem("forbidden", "This tells a key of itself; you came with a session.")
        return Response({**_shown(key), "workspace": key.workspace.slug})


class Keys(ApiView):
    """`GET /api/v1/keys` lists the workspace's keys, newest first; `POST` makes one."""

    scopes = {"GET": "keys:read", "POST": "keys:write"}

    def get(self, request: Request) -> Response:
        workspace = _caller(request).workspace
        found = page(request, keyring.keys_of(workspace), order=["-id"], show=lambda key: key)
        spent = keyring.spending(workspace, found["results"])
        found["results"] = [as_json(key, spent[key.pk]) for key in found["results"]]
        return Response(found)

    def post(self, request: Request) -> Response:
        caller, given = _caller(request), read(KeyRequest, request.data)
        is_publishable = given.pop("kind") == ApiKey.Kind.PUBLISHABLE
        if is_publishable:
            given.setdefault("scopes", [])
        wish = Wish(is_publishable=is_publishable, **_fields(given))
        made = keyring.make(caller.workspace, wish, rights=_rights(request), by=caller.user)
        assert made is not None  # only a form that is sent twice is answered with nothing
        key, text = made
        shown = _shown(key)
        return Response({**shown, "key": text}, status=201, headers={"Location": shown["urls"]["get"]})


class Key(ApiView):
    """`/api/v1/keys/<id>`: one key; `PATCH` changes it, `DELETE` revokes it for good."""

    scopes = {"GET": "keys:read", "PATCH": "keys:write", "DELETE": "keys:write"}

    def get(self, request: Request, key_id: str) -> Response:
        return Response(_shown(keyring.find(_caller(request).workspace, key_id)))

    def patch(self, request: Request, key_id: str) -> Response:
        key = keyring.find(_caller(request).workspace, key_id)
        given = _fields(read(KeyChange, request.data))
        return Response(_shown(keyring.change(key, given, rights=_rights(request))))

    def delete(self, request: Request, key_id: str) -> Response:
        workspace = _caller(request).workspace
        keyring.revoke(keyring.find(workspace, key_id))
        return Response(_shown(keyring.find(workspace, key_id)))


class RotateKey(ApiView):
    """`POST /api/v1/keys/<id>/rotate`: a new secret for the same key."""

    scopes = {"POST": "keys:write"}

    def post(self, request: Request, key_id: str) -> Response:
        workspace = _caller(request).workspace
        key = keyring.find(workspace, key_id)
        given = read(Rotation, request.data)
        grace = timedelta(seconds=given["grace_seconds"])
        text = keyring.rotate(key, grace=grace, rights=_rights(request))
        if text is None:
            raise Problem("forbidden", "The key was rotated by somebody else in this moment.")
        return Response({**_shown(keyring.find(workspace, key_id)), "key": text})
