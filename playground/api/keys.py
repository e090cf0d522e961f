"""Keys over the API: the calling key, and the keys of the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypedDict
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.models import ApiKey
from playground import keyring, predictions
from playground.api import examples
from playground.api.authentication import KeyAuthentication
from playground.api.described import Answer, Operation
from playground.api.key_bodies import KeyChange, KeyRequest, Rotation
from playground.api.paging import page_at_once
from playground.api.parsing import idempotency_key, read
from playground.api.problems import Problem
from playground.api.view import ApiView, caller
from playground.keyring import Spending, Wish

READ, WRITE = "keys:read", "keys:write"


class KeyJson(TypedDict):
    """A key in `/api/v1`. Amounts are integer micro-dollars, times ISO 8601 in UTC."""

    id: str
    name: str
    kind: str
    prefix: str
    scopes: list[str]
    origins: list[str]
    models: list[str]
    is_active: bool
    limit_day_micros: int | None
    limit_month_micros: int | None
    spent_day_micros: int
    spent_month_micros: int
    currency: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    previous_until: str | None
    urls: dict[str, str]


class KeyWithSecretJson(KeyJson):
    """A key that was just made or rotated. `key` is its whole text; null in the answer to a repeated request."""

    key: str | None


class CallingKeyJson(KeyJson):
    """The key that asks, and the slug of the workspace that it is of."""

    workspace: str


def as_json(key: ApiKey, spent: Spending) -> KeyJson:
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


def _shown(key: ApiKey) -> KeyJson:
    return as_json(key, keyring.spending(key.workspace, [key])[key.pk])


def _rights(request: Request) -> keyring.Rights:
    who = caller(request)
    return keyring.rights_of(role=who.role, key=who.key)


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a body by the names of a Wish."""
    return {{"models": "model_ids"}.get(name, name): value for name, value in given.items()}


class CallingKey(ApiView):
    """`GET /api/v1/key`: the key that asks. Every key may."""

    authentication_classes = (KeyAuthentication,)
    scopes = {"GET": None}
    for_browsers = True
    described = {
        "GET": Operation(
            summary="Get the calling key",
            detail="What the key that you send is called, may do and has spent. Every key may ask, publishable ones "
            "too; whoever sends none is nobody here, signed in or not.",
            answers={200: Answer("CallingKey", "The key that asks.")},
            tag="Keys",
        )
    }

    def get(self, request: Request) -> Response:
        key = caller(request).key
        assert key is not None  # nobody else is let in
        told: CallingKeyJson = {**_shown(key), "workspace": key.workspace.slug}
        return Response(told)


class Keys(ApiView):
    """`GET /api/v1/keys` lists the workspace's keys, newest first; `POST` makes one."""

    scopes = {"GET": READ, "POST": WRITE}
    described = {
        "GET": Operation(
            summary="List keys",
            detail="All keys of the workspace, also those that are revoked or have expired, newest first.",
            answers={200: Answer("KeyPage", "A page of keys.")},
            pages=True,
        ),
        "POST": Operation(
            summary="Make a key",
            detail="The answer has the whole key in `key`, this once: keep it. A request that is repeated with its "
            "`Idempotency-Key` makes no second key, and its answer has null there: rotate a key whose text was lost. "
            "A key gives at most the scopes and the life that it has; the key it makes ends with it. `scopes` is what "
            "runs models if it is left out. A publishable key names `origins`, `models` and a `limit_day_micros`.",
            body=KeyRequest,
            body_example=examples.KEY_REQUEST,
            answers={
                201: Answer(
                    "KeyWithSecret", "The key.", ("Location", "Idempotent-Replayed"), examples.KEY_WITH_SECRET
                )
            },
            once=True,
            problems=("too_many",),
        ),
    }

    def get(self, request: Request) -> Response:
        workspace = caller(request).workspace

        def show(rows: list[ApiKey]) -> list[KeyJson]:
            spent = keyring.spending(workspace, rows)
            return [as_json(key, spent[key.pk]) for key in rows]

        return Response(page_at_once(request, keyring.keys_of(workspace), order=["-id"], show=show))

    def post(self, request: Request) -> Response:
        repeats, who = idempotency_key(request), caller(request)
        given = read(KeyRequest, request.data)
        asked = {"make": "key", **given}
        is_publishable = given.pop("kind") == ApiKey.Kind.PUBLISHABLE
        if is_publishable:
            given.setdefault("scopes", [])
        wish = Wish(is_publishable=is_publishable, **_fields(given))
        texts: list[str] = []  # only whoever makes the key sees it: what is repeated finds none here

        def make() -> UUID:
            made = keyring.make(who.workspace, wish, rights=_rights(request), by=who.user)
            assert made is not None  # only a form that is sent twice is answered with nothing
            key, text = made
            texts.append(text)
            return key.public_id

        key, is_replay = predictions.once(
            who.workspace, repeats, asked, make, lambda made: keyring.find(who.workspace, str(made))
        )
        shown = _shown(key)
        told: KeyWithSecretJson = {**shown, "key": None if is_replay else texts[0]}
        headers = {"Location": shown["urls"]["get"]} | ({"Idempotent-Replayed": "true"} if is_replay else {})
        return Response(told, status=201, headers=headers)


class Key(ApiView):
    """`/api/v1/keys/<id>`: one key; `PATCH` changes it, `DELETE` revokes it for good."""

    scopes = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}
    described = {
        "GET": Operation(summary="Get a key", answers={200: Answer("Key", "The key.")}),
        "PATCH": Operation(
            summary="Change a key",
            detail="Fields that are left out stay. A key changes itself, where it can only lower its limits, and the "
            "keys that it made.",
            body=KeyChange,
            body_example={"limit_day_micros": 5_000_000},
            answers={200: Answer("Key", "The key, changed.")},
        ),
        "DELETE": Operation(
            summary="Revoke a key",
            detail="At once and for good, with all keys that it made. It stays in the list. Revoking it again changes "
            "nothing.",
            answers={200: Answer("Key", "The key, revoked.")},
        ),
    }

    def get(self, request: Request, key_id: str) -> Response:
        return Response(_shown(keyring.find(caller(request).workspace, key_id)))

    def patch(self, request: Request, key_id: str) -> Response:
        key = keyring.find(caller(request).workspace, key_id)
        given = _fields(read(KeyChange, request.data))
        return Response(_shown(keyring.change(key, given, rights=_rights(request))))

    def delete(self, request: Request, key_id: str) -> Response:
        workspace = caller(request).workspace
        keyring.revoke(keyring.find(workspace, key_id))
        return Response(_shown(keyring.find(workspace, key_id)))


class RotateKey(ApiView):
    """`POST /api/v1/keys/<id>/rotate`: a new secret for the same key."""

    scopes = {"POST": WRITE}
    described = {
        "POST": Operation(
            summary="Rotate a key",
            detail="A new secret for the same key; its answer is the only one that has it. With `grace_seconds` the "
            "former secret works on for so long, without it it ends now.",
            body=Rotation,
            body_is_optional=True,
            body_example={"grace_seconds": 86_400},
            answers={200: Answer("KeyWithSecret", "The key with its new secret.")},
        )
    }

    def post(self, request: Request, key_id: str) -> Response:
        workspace = caller(request).workspace
        key = keyring.find(workspace, key_id)
        given = read(Rotation, request.data)
        grace = timedelta(seconds=given["grace_seconds"])
        text = keyring.rotate(key, grace=grace, rights=_rights(request))
        if text is None:
            raise Problem("forbidden", "The key was rotated by somebody else in this moment.")
        told: KeyWithSecretJson = {**_shown(keyring.find(workspace, key_id)), "key": text}
        return Response(told)
