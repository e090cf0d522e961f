"""One request of the API, from its words to its answer: checked, done once under its key, kept.

A request under a key that was used before is answered as it was then; one under the same key with other parameters is
refused. A refusal undoes what the call began; a decline is an outcome and stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing.sandbox import expanding, params, store, table
from billing.sandbox.models import Asked, Thing
from billing.sandbox.refusals import Declined, Json, Refused
from billing.sandbox.serving import Call, handlers

KEPT = timedelta(hours=24)  # that an idempotency key is remembered
KEY_LENGTH = 255
OF_ACCOUNTS = ("/v1/balance", "/v1/events", "/v1/payouts")  # what connected accounts have of their own


@dataclass(frozen=True)
class Answer:
    status: int
    body: Json
    is_replayed: bool = False


def answer(
    verb: str, path: str, given: Json, *, now: datetime, is_text: bool, account: str = "", key: str = "",
    request_id: str = "",
) -> Answer:  # fmt: skip
    """Do what is asked; every refusal is an answer too."""
    version = 2 if path.startswith("/v2/") else 1
    try:
        _refuse_unkeepable(path, given, account, key)
        found = table.find(verb, path)
        if found is None:
            message = f"Unrecognized request URL ({verb.upper()}: {path[:200]})."
            raise Refused(message, status=404, code="url_unknown")
        operation, named = found
        handler = handlers.get((operation.verb, operation.path))
        if handler is None:
            raise Refused(
                f"The sandbox does not play {verb.upper()} {operation.path}.", code="sandbox_unsupported"
            )
        _check_account(operation.path, account)
        checked = params.check(operation.parameters(), given, is_text=is_text)
        call = Call(checked, named, now, account=account, key=key, request_id=request_id)
        if verb == "get":
            return Answer(200, expanding.expand(handler(call), checked.get("expand"), account=account))
        with store.changing():
            return _once(verb, path, given, call, lambda: handler(call))
    except Refused as refused:
        return _refusal(refused, version)


def _check_account(path: str, account: str) -> None:
    """Refuse an account that is not there, and what connected accounts do not do here."""
    if account and not Thing.objects.filter(name=account, kind="v2.core.account").exists():
        message = f"The provided key does not have access to account '{account[:80]}'."
        raise Refused(message, status=403, code="account_invalid")
    if account and not path.startswith(OF_ACCOUNTS):
        message = f"The sandbox does not play {path} for connected accounts."
        raise Refused(message, code="sandbox_unsupported")


def _refuse_unkeepable(*words: object) -> None:
    """What no database keeps as text: half characters, and the one of no bits at all."""
    try:
        text = json.dumps(words, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        text = b"\\u0000"
    if b"\\u0000" in text:
        raise Refused("The request has characters that are none.", code="parameter_invalid")


def _once(verb: str, path: str, given: Json, call: Call, do: Callable[[], Json]) -> Answer:
    said = json.dumps([verb, path, given, call.account], sort_keys=True)
    digest = hashlib.sha256(said.encode()).hexdigest()
    if len(call.key) > KEY_LENGTH:
        raise Refused("Idempotency keys are limited to 255 characters.", type="idempotency_error")
    if call.key:
        Asked.objects.filter(asked_at__lt=call.now - KEPT).delete()
        before = Asked.objects.filter(key=call.key, account=call.account).first()
        if before is not None:
            if before.digest != digest:
                message = (
                    "Keys for idempotent requests can only be used with the same parameters they were first used "
                    f"with. Try using a key other than '{call.key[:80]}'."
                )
                raise Refused(message, type="idempotency_error")
            return Answer(before.status, before.answer, is_replayed=True)
    version = 2 if path.startswith("/v2/") else 1
    try:
        with transaction.atomic():
            done = _done(do, call)
    except Refused as refused:
        done = _refusal(refused, version)
    if call.key and (version == 1 or done.status < 300):
        Asked.objects.create(
            key=call.key,
            account=call.account,
            digest=digest,
            status=done.status,
            answer=done.body,
            asked_at=call.now,
        )
    return done


def _done(do: Callable[[], Json], call: Call) -> Answer:
    """A decline is an answer before the transaction hears of it, so what led to it stays."""
    try:
        return Answer(200, expanding.expand(do(), call.params.get("expand"), account=call.account))
    except Declined as declined:
        return _refusal(declined, 1)


def _refusal(refused: Refused, version: int) -> Answer:
    error = refused.error
    if version == 2:
        kept = {name: value for name, value in error.items() if name != "type"}
        return Answer(refused.status, {"error": {"code": error["type"], **kept}})
    return Answer(refused.status, {"error": error})
