"""What the API's answers look like, as JSON Schema: for the OpenAPI document, which tests hold the answers to."""

from __future__ import annotations

from marketplace.keys import SCOPES
from playground.api import schema_billing, schema_keys, schema_media, schema_publishers
from playground.api.codes import CODES, FAILURES, FIELD_CODES
from playground.api.schema_measured import MEASUREMENT
from playground.api.schema_words import (
    ADDRESS,
    ANYTHING,
    CURRENCY,
    LINE,
    MICROS,
    STRING,
    TIME,
    WHOLE,
    YES_NO,
    Schema,
    array,
    identifier,
    maybe,
    page_of,
    record,
    ref,
    said,
)
from playground.models import Delivery, Event, Prediction
from playground.webhooks import EVENTS

PRICE = record(
    "A price line. `unit_price` is a decimal in USD.",
    unit=STRING,
    unit_price={"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
    currency=CURRENCY,
    conditions=said(ANYTHING, "input values under which the line counts; empty: always"),
    from_runs=said(
        WHOLE,
        "after how many runs of the model in the month (UTC) the line counts for a workspace; 0: at once",
    ),
)
_MODEL: dict[str, Schema] = {
    "id": said(STRING, "`publisher/name`, what `model` takes in a request"),
    "publisher": STRING,
    "name": STRING,
    "tagline": STRING,
    "task": STRING,
    "license": STRING,
    "cover_url": maybe(ADDRESS),
    "run_count": WHOLE,
    "is_paused": said(YES_NO, "whether its publisher takes no new runs of it at present"),
    "version": maybe(said(STRING, "the default version: the sha256 of its manifest")),
    "prices": said(array(ref("Price")), "those in force; of several for one unit the last that fits counts"),
    "created_at": TIME,
    "urls": record("Where it is.", get=ADDRESS, page=ADDRESS),
}
_WHOLE_MODEL: dict[str, Schema] = {
    **_MODEL,
    "readme": STRING,
    "endpoint": STRING,
    "input_schema": said(ANYTHING, "JSON Schema of `input`"),
    "output_schema": said(ANYTHING, "JSON Schema of `output`"),
    "example_input": said(ANYTHING, "an input that runs"),
    "limits": record(
        "What bounds a run.",
        max_seconds=WHOLE,
        start_within_seconds=WHOLE,
        max_batch=WHOLE,
        granularity={"enum": ["step", "run"]},
    ),
    "next_prices": maybe(
        record(
            "The price list that follows, where one is scheduled.",
            effective_from=TIME,
            prices=array(ref("Price")),
        )
    ),
    "typical_ms": said(WHOLE, "the median run of late, in milliseconds"),
    "is_available": said(YES_NO, "whether anything serves it now"),
    "versions": array(
        record(
            "One build. `measurements`: how fast it ran on which machine; empty if nobody measured it.",
            id=STRING,
            created_at=TIME,
            is_default=YES_NO,
            measurements=array(MEASUREMENT),
        )
    ),
}
QUOTE = record(
    "What a run costs. `is_bound`: it may turn out cheaper.",
    id=STRING,
    model=STRING,
    lines=array(LINE),
    amount_micros=MICROS,
    currency=CURRENCY,
    is_bound=YES_NO,
    expires_at=maybe(TIME),
)
SECONDS: Schema = {"type": "number", "minimum": 0}
METRICS: Schema = {
    "type": "object",
    "description": "What took the time, in seconds, and under which conditions; what is not known is not there. Those "
    "from `encode_s` to `total_s` are of the whole batch.",
    "properties": {
        "wait_s": said(SECONDS, "from the request to the start of the latest attempt"),
        "load_s": said(SECONDS, "waiting for the weights; 0 when they were loaded"),
        "encode_s": said(SECONDS, "reading the prompt"),
        "steps_s": said(SECONDS, "all steps"),
        "preview_s": said(SECONDS, "the part of `steps_s` that went into previews"),
        "decode_s": said(SECONDS, "from the last step to pixels"),
        "file_s": said(SECONDS, "writing the files"),
        "total_s": said(SECONDS, "the model at work: all of these but waiting, loading and storing"),
        "store_s": said(SECONDS, "storing the files"),
        "steps": WHOLE,
        "steps_per_second": SECONDS,
        "peak_memory_bytes": said(WHOLE, "of the GPU during the run; of the whole process on a CPU"),
        "batch": said(WHOLE, "how many pictures were made at once, this run's included"),
        "threads": WHOLE,
        "device": STRING,
        "dtype": STRING,
        "versions": said(ANYTHING, "of the libraries that can change a pixel"),
    },
}
PREDICTION = record(
    "One run, as it is now.",
    id=identifier("p"),
    model=STRING,
    version=STRING,
    status={"enum": list(Prediction.Status.values)},
    input=said(ANYTHING, "as it was understood, with defaults and seed; secrets are not shown"),
    output=said(
        {}, "by the model's output schema; null before success. A medium has a `url` that needs no key"
    ),
    error=maybe(
        record(
            "Why it failed. Codes of ours: " + ", ".join(f"`{code}`" for code in FAILURES) + ".",
            code=STRING,
            message=STRING,
        )
    ),
    logs=STRING,
    quote=ANYTHING,
    held_micros=said(MICROS, "set aside while it is open"),
    cost_micros=maybe(said(MICROS, "what was charged; null while it is open")),
    currency=CURRENCY,
    attempt=WHOLE,
    step=WHOLE,
    steps=WHOLE,
    exact=YES_NO,
    via=STRING,
    metrics=METRICS,
    webhook=maybe(said(STRING, "the address that the request named")),
    created_at=TIME,
    started_at=maybe(TIME),
    finished_at=maybe(TIME),
    start_by=said(TIME, "it fails without a charge if it has not started by then"),
    urls=record("What can be done with it.", get=ADDRESS, cancel=ADDRESS, events=ADDRESS, page=ADDRESS),
)
EVENT = record(
    "One server-sent event: the whole present state. `logs` are the lines since the last event.",
    type={"const": "state"},
    seq=WHOLE,
    id=identifier("p"),
    status={"enum": list(Prediction.Status.values)},
    attempt=WHOLE,
    step=WHOLE,
    steps=WHOLE,
    queue_position=maybe(said(WHOLE, "how many runs are ahead of it")),
    reason=maybe(said(STRING, "why it waits, in words")),
    preview=maybe(said(STRING, "a `data:` address of the picture so far")),
    elapsed_ms=maybe(WHOLE),
    logs=array(STRING),
    output={},
    error=maybe(ANYTHING),
    cost_micros=maybe(MICROS),
)
BALANCE = record(
    "Credit. `available` is what can be spent: the balance without what open runs hold.",
    workspace=STRING,
    balance_micros=MICROS,
    held_micros=MICROS,
    available_micros=MICROS,
    granted_micros=said(MICROS, "the part of the balance that was a gift; it is spent first"),
    currency=CURRENCY,
)
WORKSPACE = record(
    "The caller's own workspace.",
    id=identifier("ws"),
    slug=STRING,
    name=STRING,
    member_count=WHOLE,
    members=array(record("How many have this role.", role=STRING, count=WHOLE)),
    caller=record(
        "Who asked.",
        kind={"enum": ["key", "person"]},
        scopes=maybe(said(array({"enum": list(SCOPES)}), "those of the key; null for a person")),
        role=maybe(STRING),
    ),
    created_at=TIME,
)
WEBHOOK = record(
    "An address that is told. `secret` stands here when it is made or replaced, and is null else.",
    id=identifier("wh"),
    url=STRING,
    description=STRING,
    events=array({"enum": list(Event.values)}),
    is_enabled=YES_NO,
    disabled_reason=said(STRING, "why we stopped; empty where a person did, or while it is enabled"),
    failing_since=maybe(TIME),
    secret=maybe(said({"type": "string"}, "`whsec_` and base64")),
    previous_secret_until=maybe(said(TIME, "until then a replaced secret signs too")),
    created_at=TIME,
    urls=record("Where it is.", get=ADDRESS, deliveries=ADDRESS, page=ADDRESS),
)
DELIVERY = record(
    "One event on its way to one address.",
    id=identifier("d"),
    event_id=said(identifier("evt"), "the `webhook-id` header, the same in every attempt"),
    event={"enum": list(EVENTS)},
    prediction=maybe(STRING),
    url=STRING,
    status={"enum": list(Delivery.Status.values)},
    attempts=array(
        record(
            "One try. `error` says why there was no good answer.",
            at=TIME,
            url=STRING,
            status=maybe(WHOLE),
            duration_ms=WHOLE,
            answer=said(STRING, "the beginning of the answer's body"),
            error=maybe(STRING),
        )
    ),
    next_attempt_at=maybe(TIME),
    delivered_at=maybe(TIME),
    created_at=TIME,
    payload=ref("WebhookPayload"),
)
PAYLOAD = record(
    "What a webhook receives. `data` is the prediction as the API shows it, in `prediction.refunded` its receipt with "
    "the `refund` that it is about, in `limit.alert` a `LimitAlert`, in `credit.added` the credit; `trimmed` "
    "names its members that were left out because the whole would be above 256 KiB: get them at `data.urls.get`.",
    type={"enum": list(EVENTS)},
    timestamp=TIME,
    data=ANYTHING,
    trimmed=array(STRING),
)
SECRET = record("A signing secret.", secret=STRING, previous_secret_until=maybe(TIME))
PROBLEM: Schema = {
    "type": "object",
    "description": "An error (RFC 9457). `code` is stable, `detail` is a sentence for people.",
    "properties": {
        "type": STRING,
        "title": STRING,
        "status": WHOLE,
        "detail": STRING,
        "code": STRING,
        "errors": array(
            record(
                "One field that is wrong.",
                field=STRING,
                code=said(STRING, "one of " + ", ".join(f"`{code}`" for code in FIELD_CODES)),
                message=STRING,
                allowed=said({}, "what would do"),
            )
        ),
        "request_id": said(STRING, "quote it when you tell us; also in `X-Request-Id`"),
    },
    "required": ["type", "title", "status", "detail", "code", "errors", "request_id"],
}
_EXTRAS: dict[str, Schema] = {
    "currency": CURRENCY,
    "scope": STRING,
    "period": STRING,
    "resets_at": maybe(TIME),
    "needed_scope": {"enum": list(SCOPES)},
    "max_bytes": WHOLE,
    "reason": STRING,
    "missing_parts": array(WHOLE),
    "max_open_runs": WHOLE,
    "used_bytes": WHOLE,
    "quota_bytes": WHOLE,
    "needed_bytes": WHOLE,
}


def _problem(code: str) -> Schema:
    kind = CODES[code]
    members = {name: MICROS if name.endswith("_micros") else _EXTRAS[name] for name in kind.extras}
    return {
        "allOf": [
            ref("Problem"),
            {
                "type": "object",
                "description": kind.meaning,
                "properties": {"code": {"const": code}, "status": {"const": kind.status}, **members},
                "required": ["code", "status", *members],
            },
        ]
    }


SCHEMAS: dict[str, Schema] = {
    "Price": PRICE,
    "Model": record("A model on the shelf, in short.", **_MODEL),
    "ModelInFull": record("Everything a caller needs to know of a model.", **_WHOLE_MODEL),
    "Quote": QUOTE,
    "Prediction": PREDICTION,
    "Event": EVENT,
    "Balance": BALANCE,
    "Workspace": WORKSPACE,
    "Webhook": WEBHOOK,
    "Delivery": DELIVERY,
    "WebhookPayload": PAYLOAD,
    "Secret": SECRET,
    **schema_billing.SCHEMAS,
    **schema_keys.SCHEMAS,
    **schema_media.SCHEMAS,
    **schema_publishers.SCHEMAS,
    "ModelPage": page_of("Model"),
    "PredictionPage": page_of("Prediction"),
    "WebhookPage": page_of("Webhook"),
    "DeliveryPage": page_of("Delivery"),
    "Problem": PROBLEM,
    **{f"Problem_{code}": _problem(code) for code in CODES},
}
