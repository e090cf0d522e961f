"""From an exception to problem+json (RFC 9457): one table, for every error that `/api/v1` answers with."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis
from django.conf import settings
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest
from rest_framework import exceptions
from rest_framework.response import Response

from billing import ledger, limits, payouts, pricing, topups
from marketplace import catalog, keys, outbound, publishers, schema
from playground import assets, examiner, invoices, keyring, predictions, receipts, webhooks
from playground.api.codes import CODES
from playground.assets import uploads

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 2
OPEN_SECONDS = 5  # after which one of very many open runs may have ended
Members = dict[str, Any]


class Problem(Exception):
    """An error that an interface itself finds: a code of the list, a sentence, and what goes with it."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Iterable[schema.FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def invalid(errors: Iterable[schema.FieldError]) -> Problem:
    """The problem of a request with wrong fields."""
    found = list(errors)
    names = ", ".join(dict.fromkeys(error.field for error in found))
    return Problem("invalid_input", f"Correct {names}: see errors."[:500], errors=found)


def handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's exception handler: answers everything, so that no caller ever gets a page instead of an error."""
    problem = problem_of(error)
    if problem.code == "internal_error":
        log.error("%s failed", context["request"].path, exc_info=error)
    return response(problem, request=context["request"])


def response(problem: Problem, *, request: HttpRequest | Any) -> Response:
    """The answer that tells of `problem`."""
    return Response(
        body(problem, request_id=getattr(request, "request_id", "")),
        status=CODES[problem.code].status,
        headers=problem.headers,
        content_type=CONTENT_TYPE,
    )


def body(problem: Problem, *, request_id: str) -> Members:
    """The members of the answer, in the order people read them."""
    kind = CODES[problem.code]
    return {
        "type": f"urn:vitrine:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": kind.code,
        **problem.members,
        "errors": [error.as_json() for error in problem.errors],
        "request_id": request_id,
    }


def _invalid_input(error: schema.InvalidInput) -> Problem:
    return invalid(schema.FieldError(f"input.{e.field}", e.code, e.message, e.allowed) for e in error.errors)


def _insufficient(error: ledger.InsufficientCredit) -> Problem:
    return Problem(
        "insufficient_credit",
        f"This run needs {error.needed_micros:,} micro-dollars; {error.available_micros:,} are available.",
        members={
            "balance_micros": error.balance_micros,
            "held_micros": error.held_micros,
            "available_micros": error.available_micros,
            "needed_micros": error.needed_micros,
            "currency": "USD",
        },
    )


def _limit_reached(error: ledger.LimitReached) -> Problem:
    resets_at = error.resets_at.isoformat() if error.resets_at else None
    until = f"It resets at {resets_at}." if resets_at else "It does not reset."
    return Problem(
        "limit_reached",
        f"The {error.period} spend limit of this {error.scope.kind} would be passed. {until}",
        members={
            "scope": error.scope.kind,
            "period": error.period,
            "limit_micros": error.limit_micros,
            "spent_micros": error.spent_micros,
            "resets_at": resets_at,
            "currency": "USD",
        },
    )


def _too_many_open(error: ledger.TooManyOpen) -> Problem:
    members = {"max_open_runs": error.most}
    detail = (
        f"{error.most:,} runs of this workspace are open, as many as may be at once. Nothing was started."
    )
    return Problem("too_many_runs", detail, members=members, headers={"Retry-After": str(OPEN_SECONDS)})


def _above_cap(error: predictions.CostAboveCap) -> Problem:
    amounts = {"quote_micros": error.quote_micros, "max_cost_micros": error.cap_micros, "currency": "USD"}
    return Problem("cost_above_cap", str(error), members=amounts)


def _in_flight(error: predictions.IdempotencyInFlight) -> Problem:
    return Problem(
        "idempotency_in_flight", str(error), headers={"Retry-After": str(error.retry_after_seconds)}
    )


def _unauthorized(code: str) -> Callable[[exceptions.APIException], Problem]:
    # DRF puts the scheme on the exception of a request that its authenticators refused.
    def make(error: exceptions.APIException) -> Problem:
        return Problem(code, str(error.detail), headers={"WWW-Authenticate": 'Bearer realm="vitrine"'})

    return make


def _throttled(error: exceptions.Throttled) -> Problem:
    seconds = max(1, round(getattr(error, "wait", None) or 1))
    detail = f"Too many requests; go on in {seconds} s."
    return Problem("throttled", detail, headers={"Retry-After": str(seconds)})


def _too_large(_: Exception) -> Problem:
    limit = int(settings.MAX_BODY_BYTES)
    detail = f"The body may have at most {limit:,} bytes."
    return Problem("body_too_large", detail, members={"max_bytes": limit})


def _too_many(what: str, setting: str) -> Callable[[Exception], Problem]:
    """Django's own sentences of these name its settings."""

    def make(_: Exception) -> Problem:
        most = int(getattr(settings, setting))
        return Problem("malformed_request", f"A form may have at most {most:,} {what}{'s' * (most != 1)}.")

    return make


def _unusable(error: examiner.Refusal) -> Problem:
    text = str(error)
    return Problem("unusable_file", f"{text[:1].upper()}{text[1:]}.", members={"reason": error.reason})


def _too_large_file(error: uploads.TooLarge) -> Problem:
    return Problem("body_too_large", str(error), members={"max_bytes": error.max_bytes})


def _quota(error: uploads.QuotaReached) -> Problem:
    names = ("used_bytes", "quota_bytes", "needed_bytes")
    return Problem("quota_reached", str(error), members={name: getattr(error, name) for name in names})


def _incomplete(error: uploads.Incomplete) -> Problem:
    return Problem("upload_incomplete", str(error), members={"missing_parts": error.missing[:100]})


def _not_fetched(error: outbound.Failed) -> Problem:
    return Problem("url_not_fetched", str(error), members={"reason": error.code})


def _busy(error: Exception) -> Problem:
    return Problem("unavailable", str(error), headers={"Retry-After": "5"})


def _disk(error: OSError) -> Problem:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        log.error("the disk is full: %s", error)
        return Problem("storage_full", "The server has no room for this file. Nothing was kept.")
    return _unavailable(error)


def _unavailable(error: Exception) -> Problem:
    log.warning("a part does not answer: %s", error)
    detail = "The server is not fully up. Try again in a moment."
    return Problem("unavailable", detail, headers={"Retry-After": str(RETRY_SECONDS)})


def _later(error: Exception) -> Problem:
    return Problem("unavailable", str(error), headers={"Retry-After": "30"})


def _plain(code: str, detail: str = "") -> Callable[[Exception], Problem]:
    return lambda error: Problem(code, detail or str(error) or CODES[code].meaning)


# The first that fits counts: special ones before general ones.
_TABLE: tuple[tuple[tuple[type[Exception], ...], Callable[[Any], Problem]], ...] = (
    ((schema.InvalidInput,), _invalid_input),
    ((schema.FieldErrors,), lambda error: invalid(error.errors)),
    ((catalog.NotFound, predictions.NotFound, uploads.NotFound, receipts.NoSuchRun), _plain("not_found")),
    ((keyring.NotFound, limits.NotFound, publishers.NotFound, webhooks.NotFound), _plain("not_found")),
    ((topups.NotFound, invoices.BadMonth), _plain("not_found")),
    ((keyring.TooMany, limits.TooMany, webhooks.TooMany), _plain("too_many")),
    ((publishers.Refused,), _plain("publisher_refused")),
    ((payouts.Refused,), _plain("payout_refused")),
    ((keyring.NotAllowed, limits.NotAllowed), _plain("forbidden")),
    ((predictions.WorkspaceClosed, webhooks.WorkspaceClosed), _plain("forbidden")),
    ((keys.OriginRefused,), _plain("origin_not_allowed")),
    ((predictions.ModelNotAllowed,), _plain("model_not_allowed")),
    ((pricing.CannotPrice,), _plain("cannot_price")),
    ((predictions.CannotRun,), _plain("model_unavailable")),
    ((predictions.CostAboveCap,), _above_cap),
    ((ledger.InsufficientCredit,), _insufficient),
    ((ledger.LimitReached,), _limit_reached),
    ((ledger.TooManyOpen,), _too_many_open),
    ((predictions.StillOpen,), _plain("prediction_open")),
    ((predictions.TooBroad,), _plain("too_broad")),
    ((predictions.IdempotencyConflict,), _plain("idempotency_conflict")),
    ((predictions.IdempotencyInFlight,), _in_flight),
    ((examiner.Refusal,), _unusable),
    ((examiner.Busy, invoices.Busy), _busy),
    ((uploads.TooLarge,), _too_large_file),
    ((uploads.QuotaReached,), _quota),
    ((uploads.TooManyUploads,), _plain("too_many_uploads")),
    ((uploads.Incomplete,), _incomplete),
    ((uploads.Occupied,), _plain("forbidden")),
    ((topups.Refused,), _plain("topup_refused")),
    ((topups.Unavailable,), _later),
    ((uploads.WrongPart,), _plain("malformed_request")),
    ((assets.InUse,), _plain("asset_in_use")),
    ((outbound.Failed,), _not_fetched),
    ((RequestDataTooBig,), _too_large),
    ((exceptions.AuthenticationFailed,), _unauthorized("invalid_key")),
    ((exceptions.NotAuthenticated,), _unauthorized("not_authenticated")),
    ((exceptions.PermissionDenied,), _plain("forbidden")),
    ((PermissionDenied,), _plain("forbidden", "This session may not do that.")),
    ((exceptions.NotFound, Http404), _plain("not_found", "There is nothing at this address.")),
    ((exceptions.MethodNotAllowed,), _plain("method_not_allowed")),
    (
        (exceptions.UnsupportedMediaType,),
        _plain("unsupported_media_type", "Send a JSON body with Content-Type: application/json."),
    ),
    ((exceptions.Throttled,), _throttled),
    ((TooManyFieldsSent,), _too_many("field", "DATA_UPLOAD_MAX_NUMBER_FIELDS")),
    ((TooManyFilesSent,), _too_many("file", "DATA_UPLOAD_MAX_NUMBER_FILES")),
    ((exceptions.ParseError, SuspiciousOperation), _plain("malformed_request")),
    ((OperationalError, InterfaceError, redis.RedisError), _unavailable),
    ((OSError,), _disk),
)


def problem_of(error: Exception) -> Problem:
    """What to tell of an error."""
    if isinstance(error, Problem):
        return error
    for kinds, make in _TABLE:
        if isinstance(error, kinds):
            return make(error)
    return Problem("internal_error", "Something went wrong on our side. Nothing was charged.")
