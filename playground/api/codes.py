"""Every error code that `/api/v1` answers with, as data: the documentation and the tests read the same list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of error. `code` never changes its meaning; `extras` are the members it adds to the answer."""

    code: str
    status: int
    title: str
    meaning: str
    extras: tuple[str, ...] = ()


_ALL = (
    Code(
        "malformed_request",
        400,
        "Malformed request",
        "The body is no JSON that can be relied on: broken, twice the same name, NaN, a null character, or nested too "
        "deep; or a header is out of shape.",
    ),
    Code(
        "invalid_cursor",
        400,
        "Invalid cursor",
        "The cursor of a list is none that this list gave out. Start again without one.",
    ),
    Code(
        "not_authenticated",
        401,
        "Not authenticated",
        "The request carries no API key. Send it as `Authorization: Bearer <key>`.",
    ),
    Code(
        "invalid_key",
        401,
        "Invalid API key",
        "The key is unknown, damaged, revoked or expired. `detail` says which.",
    ),
    Code(
        "insufficient_credit",
        402,
        "Insufficient credit",
        "The workspace cannot pay for the run. Nothing was started.",
        ("balance_micros", "held_micros", "available_micros", "needed_micros", "currency"),
    ),
    Code(
        "limit_reached",
        402,
        "Spend limit reached",
        "A spend limit of the workspace, key, member or model forbids the run until `resets_at` (null: for good).",
        ("scope", "period", "limit_micros", "spent_micros", "resets_at", "currency"),
    ),
    Code(
        "cost_above_cap",
        402,
        "Cost above the cap",
        "The quote is above the request's own `max_cost_micros`. Nothing was started.",
        ("quote_micros", "max_cost_micros", "currency"),
    ),
    Code(
        "missing_scope",
        403,
        "Missing scope",
        "The key is valid but was not made for this. `needed_scope` names what it lacks.",
        ("needed_scope",),
    ),
    Code(
        "origin_not_allowed",
        403,
        "Origin not allowed",
        "A publishable key works in requests of the origins that it names only; this request is from another or names "
        "none.",
    ),
    Code(
        "model_not_allowed",
        403,
        "Model not allowed",
        "A publishable key runs the models that it names only.",
    ),
    Code(
        "forbidden",
        403,
        "Forbidden",
        "The key or the signed-in session may not do this; from a page, the CSRF token is missing or old.",
    ),
    Code(
        "not_found",
        404,
        "Not found",
        "No such thing, or none that this workspace can see.",
    ),
    Code(
        "method_not_allowed",
        405,
        "Method not allowed",
        "The address exists but does not take this method; `Allow` names those it takes.",
    ),
    Code(
        "upload_stalled",
        408,
        "Upload stalled",
        "No byte of the file came for a minute, or they came too slowly. Send it again; of an upload in parts, only "
        "the missing ones.",
    ),
    Code(
        "request_timeout",
        408,
        "Request too slow",
        "The headers or the body came too slowly, or stopped. Send the request again.",
    ),
    Code(
        "topup_refused",
        409,
        "Top-up refused",
        "So much credit cannot be bought at once, or too many payments wait to be paid; `detail` says which.",
    ),
    Code(
        "publisher_refused",
        409,
        "Publisher refused",
        "The workspace publishes under a name already, or the name has models and stays; `detail` says which.",
    ),
    Code(
        "payout_refused",
        409,
        "Payout refused",
        "Nothing can be paid out now; `detail` says why. Nothing was begun.",
    ),
    Code(
        "prediction_open",
        409,
        "Still open",
        "The prediction is queued or running. Cancel it before it is deleted, or delete with `?cancel=true`.",
    ),
    Code(
        "asset_in_use",
        409,
        "Asset in use",
        "A run that is not over takes the asset in. Wait for its end, or cancel it.",
    ),
    Code(
        "upload_incomplete",
        409,
        "Upload incomplete",
        "Parts are missing; `missing_parts` names up to a hundred of them.",
        ("missing_parts",),
    ),
    Code(
        "quota_reached",
        409,
        "Quota reached",
        "The workspace keeps as many bytes of uploads as it may. Delete some, or wait until they expire.",
        ("used_bytes", "quota_bytes", "needed_bytes"),
    ),
    Code(
        "idempotency_conflict",
        409,
        "Idempotency key in use",
        "The Idempotency-Key was used for another request within the last day, or what it made was deleted.",
    ),
    Code(
        "idempotency_in_flight",
        409,
        "Request in flight",
        "A request with this Idempotency-Key is being handled. Repeat it after `Retry-After` seconds.",
    ),
    Code(
        "too_many",
        409,
        "Too many",
        "The workspace has as many of these as it may. Delete one that is not needed.",
    ),
    Code(
        "length_required",
        411,
        "Length required",
        "A file was sent in chunks, without a Content-Length. Other bodies may come in chunks.",
    ),
    Code(
        "body_too_large", 413, "Body too large", "The body is larger than this server reads.", ("max_bytes",)
    ),
    Code(
        "uri_too_long",
        414,
        "Address too long",
        "The address with its query is longer than this server reads. Send what is long in a body.",
        ("max_bytes",),
    ),
    Code(
        "unsupported_media_type",
        415,
        "Unsupported media type",
        "Bodies are JSON: send `Content-Type: application/json`.",
    ),
    Code(
        "unusable_file",
        422,
        "Unusable file",
        "The file cannot be kept. `reason` is `empty`, `truncated`, `broken`, `unsupported`, `mismatch` (not what it "
        "was declared as), `checksum`, `too_many_pixels`, `too_many_frames` or `too_complex`.",
        ("reason",),
    ),
    Code(
        "url_not_fetched",
        422,
        "URL not fetched",
        "The file at the address could not be fetched. `reason` says why: `private`, `unknown_host`, `refused`, `tls`, "
        "`timeout`, `too_large`, `redirects`, `status`, `media_type`, `encoding`, `broken`, `url`, `scheme` or `port`.",
        ("reason",),
    ),
    Code(
        "invalid_input",
        422,
        "Invalid input",
        "Some fields are wrong. `errors` names each of them, what is wrong, and what is allowed.",
    ),
    Code(
        "too_broad", 422, "Too broad", "The list would take too long to find. Narrow it by `from` and `to`."
    ),
    Code("cannot_price", 422, "No price", "The run has no computable price, so it is refused."),
    Code(
        "throttled",
        429,
        "Too many requests",
        "The key sends more requests than it may, or larger ones at once. Go on after `Retry-After` seconds.",
    ),
    Code(
        "too_many_runs",
        429,
        "Too many open runs",
        "The workspace has as many runs queued or running as it may at once. Send it again when one has ended.",
        ("max_open_runs",),
    ),
    Code(
        "too_many_uploads",
        429,
        "Too many uploads",
        "The workspace has as many unfinished uploads, or as many at once, as it may.",
    ),
    Code(
        "headers_too_large",
        431,
        "Headers too large",
        "The headers are larger, or more, than this server reads.",
        ("max_bytes",),
    ),
    Code(
        "internal_error",
        500,
        "Internal error",
        "Our fault. Nothing was charged; quote `request_id` when you tell us.",
    ),
    Code(
        "model_unavailable",
        503,
        "Model unavailable",
        "The model exists but nothing serves it at present.",
    ),
    Code(
        "unavailable",
        503,
        "Unavailable",
        "A part of the server does not answer, or has its hands full. Repeat after `Retry-After` seconds.",
    ),
    Code(
        "storage_full",
        507,
        "Storage full",
        "The server has no room for the file. Nothing was kept; the operator must make some.",
    ),
)

CODES: dict[str, Code] = {one.code: one for one in _ALL}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a prediction's own `error.code` may be: the run was accepted, and failed. None of them is charged.

    `is_retried`: it fails of this only after it was tried again, twice at most and by itself.
    """

    code: str
    meaning: str
    is_retried: bool = False


_FAILURES = (
    Failure("invalid_input", "The model refuses the input for a reason that its schema cannot tell."),
    Failure(
        "unusable_input",
        "A file of the input could not be fetched from its address, or is no file that the field takes.",
    ),
    Failure(
        "unusable_output",
        "What the model made is unusable: black, not a number, or no file that can be opened.",
    ),
    Failure("start_deadline", "The run did not start within the time it was given."),
    Failure("timeout", "The run took longer than its endpoint allows."),
    Failure("worker_lost", "The run was lost several times with its worker.", is_retried=True),
    Failure("hung", "A step of it came to no end, several times.", is_retried=True),
    Failure("out_of_memory", "The memory of the worker was too small for it.", is_retried=True),
    Failure("engine_failed", "The engine failed while making it.", is_retried=True),
    Failure("not_started", "The worker could not start it.", is_retried=True),
    Failure(
        "not_stored", "The result could not be stored, three times over more than a minute.", is_retried=True
    ),
    Failure("bad_weights", "The weights of the model are damaged, incomplete or not there."),
    Failure("ended_by_operator", "The operator of the site ended it."),
)
FAILURES: dict[str, Failure] = {one.code: one for one in _FAILURES}

# What `errors[].code` may be.
FIELD_CODES: dict[str, str] = {
    "required": "The field is missing.",
    "unknown": "There is no such field; `allowed` lists those there are.",
    "type": "The value has the wrong type.",
    "too_small": "Below the minimum.",
    "too_large": "Above the maximum.",
    "multiple_of": "Not on the grid of allowed values.",
    "too_short": "Too few characters.",
    "too_long": "Too many characters.",
    "too_few": "Too few items.",
    "too_many": "Too many items.",
    "pattern": "Does not match the pattern.",
    "not_allowed": "None of the choices.",
    "file": "No file: a data: address, an http(s) address, an address of our media, or the id of an asset is.",
    "media_type": "The file has another type than the field takes.",
    "not_found": "There is no such thing in this workspace, or it has expired.",
    "repeated": "The same is named by an earlier entry of the list.",
    "taken": "Somebody has this name, or one that looks like it.",
}
