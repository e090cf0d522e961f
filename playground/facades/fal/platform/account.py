"""`/v1/keys`, `/v1/account/billing` and `/v1/meta`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import ledger
from marketplace.models import ApiKey
from playground import keyring
from playground.api.authentication import IsAnybody
from playground.api.parsing import Text, read
from playground.api.view import caller
from playground.facades.fal.platform.asked import Json, PlatformView, dollars, expanded, paged
from playground.keyring import Wish

CREATOR, CREDITS = "creator_info", "credits"


class NewKey(serializers.Serializer[Any]):
    """The body of `POST /v1/keys`."""

    alias = Text(max_length=keyring.NAME_MAXIMUM)


class Keys(PlatformView):
    """`GET /v1/keys` lists the keys that work; `POST` makes one that runs models."""

    scopes = {"GET": "keys:read", "POST": "keys:write"}

    def get(self, request: Request) -> Response:
        has_creator = CREATOR in expanded(request, CREATOR)

        def show(found: list[ApiKey]) -> list[Json]:
            return [_key(row, has_creator=has_creator) for row in found]

        workspace = caller(request).workspace
        rows, all_of_them = keyring.working(workspace), keyring.keys_of(workspace)
        return Response(paged(request, "keys", rows, order=["-id"], show=show, anchors=all_of_them))

    def post(self, request: Request) -> Response:
        who, given = caller(request), read(NewKey, request.data)
        rights = keyring.rights_of(role=who.role, key=who.key)
        # A key gives no more than it has: of what runs models take what the caller may.
        scopes = [scope for scope in keyring.PRESETS["run"] if scope in rights.scopes]
        made = keyring.make(
            who.workspace, Wish(name=given["alias"], scopes=scopes), rights=rights, by=who.user
        )
        assert made is not None  # only a form that is sent twice is answered with nothing
        key_id, _, secret = made[1].rpartition("_")
        return Response({"key_id": key_id, "key_secret": secret, "key": f"{key_id}:{secret}"}, status=201)


class Key(PlatformView):
    """`DELETE /v1/keys/<id>`: it ends at once, for good, with the keys that it made."""

    scopes = {"DELETE": "keys:write"}

    def delete(self, request: Request, key_id: str) -> Response:
        named = key_id.removeprefix("vt_").replace("\0", "\ufffd")
        rows = keyring.keys_of(caller(request).workspace).filter(key_id=named)
        row = rows.select_related("workspace").first()
        if row is None:
            raise keyring.NotFound("There is no such key in this workspace.")
        keyring.revoke(row)
        return Response(status=204)


class Billing(PlatformView):
    """`GET /v1/account/billing`, with `expand=credits` the balance."""

    scopes = {"GET": "billing:read"}

    def get(self, request: Request) -> Response:
        more, workspace = expanded(request, CREDITS), caller(request).workspace
        answer: Json = {"username": workspace.slug}
        if CREDITS in more:
            now = ledger.balance(workspace.pk)
            answer[CREDITS] = {
                "current_balance": dollars(now.balance_micros),
                "available_balance": dollars(now.available_micros),
                "currency": "USD",
            }
        return Response(answer)


class Meta(PlatformView):
    """`GET /v1/meta`: webhooks come from wherever this server runs; it knows of no addresses of its own."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": None}

    def get(self, request: Request) -> Response:
        return Response({"webhook_ip_ranges": []})


def _key(row: ApiKey, *, has_creator: bool) -> Json:
    shown: Json = {
        "key_id": f"vt_{row.key_id}",
        "alias": row.name,
        "scope": "API",
        "created_at": row.created_at.isoformat(),
    }
    if has_creator and row.created_by is not None:
        shown["creator_nickname"] = row.created_by.get_short_name()
        shown["creator_email"] = row.created_by.email
    return shown
