"""What the API's answers look like, as JSON Schema: for the OpenAPI document, which tests hold the answers to."""

from __future__ import annotations

from marketplace.keys import SCOPES
from playground.api import schema_billing, schema_keys, schema_media, schema_publishers, schema_usage
from playground.api import schema_words as w
from playground.api.codes import CODES, FAILURES, FIELD_CODES
from playground.api.schema_measured import MEASUREMENT
from playground.models import Delivery, Event, Prediction
from playground.webhooks import EVENTS

PRICE = w.record(
    "A price line. `unit_price` is a decimal in USD.",
    unit=w.STRING,
    unit_price={"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
    currency=w.CURRENCY,
    conditions=w.said(w.ANYTHING, "input values under which the line counts; empty: always"),
    from_runs=w.said(
        w.WHOLE,
        "after how many runs of the model in the month (UTC) the line counts for a workspace; 0: at once",
    ),
)
_MODEL: dict[str, w.Schema] = {
    "id": w.said(w.STRING, "`publisher/name`, what `model` takes in a request"),
    "publisher": w.STRING,
    "name": w.STRING,
    "tagline": w.STRING,
    "task": w.STRING,
    "license": w.STRING,
    "cover_url": w.maybe(w.ADDRESS),
    "run_count": w.WHOLE,
    "is_paused": w.said(w.YES_NO, "whether its publisher takes no new runs of it at present"),
    "version": w.maybe(w.said(w.STRING, "the default version: the sha256 of its manifest")),
    "prices": w.said(
        w.array(w.ref("Price")), "those in force; of several for one unit the last that fits counts"
    ),
    "created_at": w.TIME,
    "urls": w.record("Where it is.", get=w.ADDRESS, page=w.ADDRESS),
}
_WHOLE_MODEL: dict[str, w.Schema] = {
    **_MODEL,
    "readme": w.STRING,
    "endpoint": w.STRING,
    "input_schema": w.said(w.ANYTHING, "JSON Schema of `input`"),
    "output_schema": w.said(w.ANYTHING, "JSON Schema of `output`"),
    "example_input": w.said(w.ANYTHING, "an input that runs"),
    "limits": w.record(
        "What bounds a run.",
        max_seconds=w.WHOLE,
        start_within_seconds=w.WHOLE,
        max_batch=w.WHOLE,
        granularity={"enum": ["step", "run"]},
    ),
    "next_prices": w.maybe(
        w.record(
            "The price list that follows, where one is scheduled.",
            effective_from=w.TIME,
            prices=w.array(w.ref("Price")),
        )
    ),
    "typical_ms": w.said(w.WHOLE, "the median run of late, in milliseconds"),
    "is_available": w.said(w.YES_NO, "whether anything serves it now"),
    "versions": w.array(
        w.record(
            "One build. `measurements`: how fast it ran on which machine; empty if nobody measured it.",
            id=w.STRING,
            created_at=w.TIME,
            is_default=w.YES_NO,
            measurements=w.array(MEASUREMENT),
        )
    ),
}
QUOTE = w.record(
    "What a run costs. `is_bound`: it may turn out cheaper.",
    id=w.STRING,
    model=w.STRING,
    lines=w.array(w.LINE),
    amount_micros=w.MICROS,
    currency=w.CURRENCY,
    is_bound=w.YES_NO,
    expires_at=w.maybe(w.TIME),
)
SECONDS: w.Schema = {"type": "number", "minimum": 0}
METRICS: w.Schema = {
    "type": "object",
    "description": "What took the time, in seconds, and under which conditions; what is not known is not there. Those "
    "from `encode_s` to `total_s` are of the whole batch.",
    "properties": {
        "wait_s": w.said(SECONDS, "from the request to the start of the latest attempt"),
        "load_s": w.said(SECONDS, "waiting for the weights; 0 when they were loaded"),
        "encode_s": w.said(SECONDS, "reading the prompt"),
        "steps_s": w.said(SECONDS, "all steps"),
        "preview_s": w.said(SECONDS, "the part of `steps_s` that went into previews"),
        "decode_s": w.said(SECONDS, "from the last step to pixels"),
        "file_s": w.said(SECONDS, "writing the files"),
        "total_s": w.said(SECONDS, "the model at work: all of these but waiting, loading and storing"),
        "store_s": w.said(SECONDS, "storing the files"),
        "steps": w.WHOLE,
        "steps_per_second": SECONDS,
        "peak_memory_bytes": w.said(w.WHOLE, "of the GPU during the run; of the whole process on a CPU"),
        "batch": w.said(w.WHOLE, "how many pictures were made at once, this run's included"),
        "threads": w.WHOLE,
        "device": w.STRING,
        "dtype": w.STRING,
        "versions": w.said(w.ANYTHING, "of the libraries that can change a pixel"),
    },
}
PREDICTION = w.record(
    "One run, as it is now.",
    id=w.identifier("p"),
    model=w.STRING,
    version=w.STRING,
    status={"enum": list(Prediction.Status.values)},
    input=w.said(w.ANYTHING, "as it was understood, with defaults and seed; secrets are not shown"),
    output=w.said(
        {}, "by the model's output schema; null before success. A medium has a `url` that needs no key"
    ),
    error=w.maybe(
        w.record(
            "Why it failed. Codes of ours: " + ", ".join(f"`{code}`" for code in FAILURES) + ".",
            code=w.STRING,
            message=w.STRING,
        )
    ),
    logs=w.STRING,
    quote=w.ANYTHING,
    held_micros=w.said(w.MICROS, "set aside while it is open"),
    cost_micros=w.maybe(w.said(w.MICROS, "what was charged; null while it is open")),
    currency=w.CURRENCY,
    attempt=w.WHOLE,
    step=w.WHOLE,
    steps=w.WHOLE,
    exact=w.YES_NO,
    via=w.STRING,
    metrics=METRICS,
    webhook=w.maybe(w.said(w.STRING, "the address that the request named")),
    created_at=w.TIME,
    started_at=w.maybe(w.TIME),
    finished_at=w.maybe(w.TIME),
    start_by=w.said(w.TIME, "it fails without a charge if it has not started by then"),
    urls=w.record(
        "What can be done with it.", get=w.ADDRESS, cancel=w.ADDRESS, events=w.ADDRESS, page=w.ADDRESS
    ),
)
EVENT = w.record(
    "One server-sent event: the whole present state. `logs` are the lines since the last event.",
    type={"const": "state"},
    seq=w.WHOLE,
    id=w.identifier("p"),
    status={"enum": list(Prediction.Status.values)},
    attempt=w.WHOLE,
    step=w.WHOLE,
    steps=w.WHOLE,
    queue_position=w.maybe(w.said(w.WHOLE, "how many runs are ahead of it")),
    reason=w.maybe(w.said(w.STRING, "why it waits, in words")),
    preview=w.maybe(w.said(w.STRING, "a `data:` address of the picture so far")),
    elapsed_ms=w.maybe(w.WHOLE),
    logs=w.array(w.STRING),
    output={},
    error=w.maybe(w.ANYTHING),
    cost_micros=w.maybe(w.MICROS),
)
WORKSPACE = w.record(
    "The caller's own workspace.",
    id=w.identifier("ws"),
    slug=w.STRING,
    name=w.STRING,
    member_count=w.WHOLE,
    members=w.array(w.record("How many have this role.", role=w.STRING, count=w.WHOLE)),
    caller=w.record(
        "Who asked.",
        kind={"enum": ["key", "person"]},
        scopes=w.maybe(w.said(w.array({"enum": list(SCOPES)}), "those of the key; null for a person")),
        role=w.maybe(w.STRING),
    ),
    created_at=w.TIME,
)
WEBHOOK = w.record(
    "An address that is told. `secret` stands here when it is made or replaced, and is null else.",
    id=w.identifier("wh"),
    url=w.STRING,
    description=w.STRING,
    events=w.array({"enum": list(Event.values)}),
    is_enabled=w.YES_NO,
    disabled_reason=w.said(w.STRING, "why we stopped; empty where a person did, or while it is enabled"),
    failing_since=w.maybe(w.TIME),
    secret=w.maybe(w.said({"type": "string"}, "`whsec_` and base64")),
    previous_secret_until=w.maybe(w.said(w.TIME, "until then a replaced secret signs too")),
    created_at=w.TIME,
    urls=w.record("Where it is.", get=w.ADDRESS, deliveries=w.ADDRESS, page=w.ADDRESS),
)
DELIVERY = w.record(
    "One event on its way to one address.",
    id=w.identifier("d"),
    event_id=w.said(w.identifier("evt"), "the `webhook-id` header, the same in every attempt"),
    event={"enum": list(EVENTS)},
    prediction=w.maybe(w.STRING),
    url=w.STRING,
    status={"enum": list(Delivery.Status.values)},
    attempts=w.array(
        w.record(
            "One try. `error` says why there was no good answer.",
            at=w.TIME,
            url=w.STRING,
            status=w.maybe(w.WHOLE),
            duration_ms=w.WHOLE,
            answer=w.said(w.STRING, "the beginning of the answer's body"),
            error=w.maybe(w.STRING),
        )
    ),
    next_attempt_at=w.maybe(w.TIME),
    delivered_at=w.maybe(w.TIME),
    created_at=w.TIME,
    payload=w.ref("WebhookPayload"),
)
PAYLOAD = w.record(
    "What a webhook receives. `data` is the prediction as the API shows it, in `prediction.refunded` its receipt with "
    "the `refund` that it is about, in `limit.alert` a `LimitAlert`, in `credit.added` a `CreditAdded`, in "
    "`payout.paid`, `payout.failed` and `payout.returned` the payout, in `webhook.test` a `message`; `trimmed` names "
    "its members that were left out because the whole would be above 256 KiB: get them at `data.urls.get`.",
    type={"enum": list(EVENTS)},
    timestamp=w.TIME,
    data=w.ANYTHING,
    trimmed=w.array(w.STRING),
)
SECRET = w.record("A signing secret.", secret=w.STRING, previous_secret_until=w.maybe(w.TIME))
PROBLEM: w.Schema = {
    "type": "object",
    "description": "An error (RFC 9457). `code` is stable, `detail` is a sentence for people.",
    "properties": {
        "type": w.STRING,
        "title": w.STRING,
        "status": w.WHOLE,
        "detail": w.STRING,
        "code": w.STRING,
        "errors": w.array(
            w.record(
                "One field that is wrong.",
                field=w.STRING,
                code=w.said(w.STRING, "one of " + ", ".join(f"`{code}`" for code in FIELD_CODES)),
                message=w.STRING,
                allowed=w.said({}, "what would do"),
            )
        ),
        "request_id": w.said(w.STRING, "quote it when you tell us; also in `X-Request-Id`"),
    },
    "required": ["type", "title", "status", "detail", "code", "errors", "request_id"],
}
_EXTRAS: dict[str, w.Schema] = {
    "currency": w.CURRENCY,
    "scope": w.STRING,
    "period": w.STRING,
    "resets_at": w.maybe(w.TIME),
    "needed_scope": {"enum": list(SCOPES)},
    "max_bytes": w.WHOLE,
    "reason": w.STRING,
    "missing_parts": w.array(w.WHOLE),
    "max_open_runs": w.WHOLE,
    "used_bytes": w.WHOLE,
    "quota_bytes": w.WHOLE,
    "needed_bytes": w.WHOLE,
}


def _problem(code: str) -> w.Schema:
    kind = CODES[code]
    members = {name: w.MICROS if name.endswith("_micros") else _EXTRAS[name] for name in kind.extras}
    return {
        "allOf": [
            w.ref("Problem"),
            {
                "type": "object",
                "description": kind.meaning,
                "properties": {"code": {"const": code}, "status": {"const": kind.status}, **members},
                "required": ["code", "status", *members],
            },
        ]
    }


SCHEMAS: dict[str, w.Schema] = {
    "Price": PRICE,
    "Model": w.record("A model on the shelf, in short.", **_MODEL),
    "ModelInFull": w.record("Everything a caller needs to know of a model.", **_WHOLE_MODEL),
    "Quote": QUOTE,
    "Prediction": PREDICTION,
    "Event": EVENT,
    "Workspace": WORKSPACE,
    "Webhook": WEBHOOK,
    "Delivery": DELIVERY,
    "WebhookPayload": PAYLOAD,
    "Secret": SECRET,
    **schema_billing.SCHEMAS,
    **schema_keys.SCHEMAS,
    **schema_usage.SCHEMAS,
    **schema_media.SCHEMAS,
    **schema_publishers.SCHEMAS,
    "ModelPage": w.page_of("Model"),
    "PredictionPage": w.page_of("Prediction"),
    "WebhookPage": w.page_of("Webhook"),
    "DeliveryPage": w.page_of("Delivery"),
    "Problem": PROBLEM,
    **{f"Problem_{code}": _problem(code) for code in CODES},
}
