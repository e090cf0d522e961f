"""What the documentation shows: requests and answers of a run of the model that every installation has."""

from __future__ import annotations

from typing import Any

PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"
_ID = "01ksa6w8r5e7vt4gq0m2h9xzcd"
_VERSION = "9f2c4d6e8a0b1c3d5e7f9a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f"
_AT = "https://vitrine.example/api/v1/predictions/p_" + _ID

QUOTE_REQUEST: dict[str, Any] = {"model": "vitrine/daylight", "input": {"prompt": PROMPT}}
PREDICTION_REQUEST: dict[str, Any] = {**QUOTE_REQUEST, "max_cost_micros": 10_000}
WEBHOOK_REQUEST: dict[str, Any] = {
    "url": "https://example.com/hooks/vitrine",
    "events": ["prediction.succeeded", "prediction.failed"],
    "description": "the catalogue's importer",
}
LIMIT_REQUEST: dict[str, Any] = {
    "scope": "model",
    "target": "vitrine/daylight",
    "period": "month",
    "limit_micros": 50_000_000,
    "alert_at": [50, 80, 100],
}
LIMIT: dict[str, Any] = {
    "id": "l_" + _ID,
    "scope": "model",
    "target": "vitrine/daylight",
    "name": "vitrine/daylight",
    "period": "month",
    "limit_micros": 50_000_000,
    "spent_micros": 12_400_000,
    "is_reached": False,
    "currency": "USD",
    "alert_at": [50, 80, 100],
    "resets_at": "2026-12-01T00:00:00+00:00",
    "created_at": "2026-11-02T08:30:00+00:00",
    "urls": {"get": "https://vitrine.example/api/v1/limits/l_" + _ID},
}
QUOTE: dict[str, Any] = {
    "id": "q_" + _ID,
    "model": "vitrine/daylight",
    "lines": [{"unit": "image", "quantity": "1", "unit_price": "0.004", "amount_micros": 4000}],
    "amount_micros": 4000,
    "currency": "USD",
    "is_bound": False,
    "expires_at": "2026-11-26T10:10:00+00:00",
}
PREDICTION: dict[str, Any] = {
    "id": "p_" + _ID,
    "model": "vitrine/daylight",
    "version": _VERSION,
    "status": "succeeded",
    "input": {"prompt": PROMPT, "steps": 16, "seed": 482193},
    "output": {
        "images": [
            {
                "id": "a_" + _ID,
                "url": "https://vitrine.example/media/…/a.png",
                "content_type": "image/png",
                "size": 48213,
                "width": 192,
                "height": 192,
                "sha256": _VERSION,
                "expires_at": "2026-12-26T10:00:03+00:00",
            }
        ],
        "seed": 482193,
    },
    "error": None,
    "logs": "",
    "quote": QUOTE,
    "held_micros": 0,
    "cost_micros": 4000,
    "currency": "USD",
    "attempt": 1,
    "step": 16,
    "steps": 16,
    "exact": False,
    "via": "api",
    "metrics": {"batch": 1},
    "webhook": None,
    "created_at": "2026-11-26T10:00:00+00:00",
    "started_at": "2026-11-26T10:00:00+00:00",
    "finished_at": "2026-11-26T10:00:03+00:00",
    "start_by": "2026-11-26T10:10:00+00:00",
    "urls": {
        "get": _AT,
        "cancel": _AT + "/cancel",
        "events": _AT + "/events",
        "page": "https://vitrine.example/p/p_" + _ID,
    },
}
BALANCE: dict[str, Any] = {
    "workspace": "northlight",
    "balance_micros": 31_480_000,
    "held_micros": 4000,
    "available_micros": 31_476_000,
    "granted_micros": 5_000_000,
    "currency": "USD",
}
WORKSPACE: dict[str, Any] = {
    "id": "ws_" + _ID,
    "slug": "northlight",
    "name": "Northlight",
    "member_count": 3,
    "members": [{"role": "owner", "count": 1}, {"role": "developer", "count": 2}],
    "caller": {"kind": "key", "scopes": ["models:read", "predictions:write", "workspace:read"], "role": None},
    "created_at": "2026-03-02T09:14:00+00:00",
}
_API = "https://vitrine.example/api/v1"
_KEY: dict[str, Any] = {
    "id": "k_" + _ID,
    "name": "catalogue import",
    "kind": "secret",
    "prefix": "vt_4tdc3ftnt53r",
    "scopes": ["models:read", "predictions:read", "predictions:write"],
    "origins": [],
    "models": [],
    "is_active": True,
    "limit_day_micros": 5_000_000,
    "limit_month_micros": None,
    "spent_day_micros": 0,
    "spent_month_micros": 0,
    "currency": "USD",
    "created_at": "2026-11-26T10:00:00+00:00",
    "expires_at": "2027-11-26T00:00:00+00:00",
    "revoked_at": None,
    "last_used_at": None,
    "previous_until": None,
    "urls": {"get": f"{_API}/keys/k_{_ID}"},
}
KEY_REQUEST: dict[str, Any] = {
    "name": _KEY["name"],
    "scopes": _KEY["scopes"],
    "expires_at": "2027-11-26T00:00:00Z",
    "limit_day_micros": 5_000_000,
}
KEY_WITH_SECRET: dict[str, Any] = {**_KEY, "key": "vt_4tdc3ftnt53r_…"}
_SUMS: dict[str, int] = {"runs": 12, "not_charged_runs": 1, "amount_micros": 44_000, "refunded_micros": 0}
USAGE: dict[str, Any] = {
    "from": "2026-11-26",
    "to": "2026-11-26",
    "group_by": "day",
    "currency": "USD",
    "total": _SUMS,
    "results": [{"day": "2026-11-26", **_SUMS}],
}
RECEIPT: dict[str, Any] = {
    "prediction": PREDICTION["id"],
    "is_deleted": False,
    "model": PREDICTION["model"],
    "version": _VERSION,
    "offer": {"kind": "lane", "lane": "cpu"},
    "status": "succeeded",
    "via": "api",
    "attempts": 1,
    "lines": QUOTE["lines"],
    "charged_lines": QUOTE["lines"],
    "quoted_micros": 4000,
    "held_micros": 4000,
    "charged_micros": 4000,
    "released_micros": 0,
    "granted_micros": 0,
    "bought_micros": 4000,
    "tax_micros": 0,
    "refunded_micros": 1000,
    "refunds": [
        {
            "id": "rf_" + _ID,
            "amount_micros": 1000,
            "granted_micros": 0,
            "bought_micros": 1000,
            "reason": "goodwill",
            "detail": "Goodwill",
            "note": "It took longer than it should have.",
            "by": "publisher",
            "created_at": "2026-11-27T08:30:00+00:00",
        }
    ],
    "currency": "USD",
    "why": [
        "It succeeded and its result was stored, so it was charged.",
        "1 image × $0.0040 = $0.0040. The price is the one that was in force when it was asked for.",
        "That is what it was quoted before it began.",
        "It was paid from credit that was bought.",
        "$0.0010 was given back on 27 Nov 2026 by the model's publisher: goodwill.",
    ],
    "queued_ms": 120,
    "ran_ms": 2880,
    "created_at": PREDICTION["created_at"],
    "started_at": PREDICTION["started_at"],
    "settled_at": PREDICTION["finished_at"],
    "urls": {
        "get": f"{_API}/receipts/p_{_ID}",
        "prediction": _AT,
        "page": PREDICTION["urls"]["page"],
    },
}
INVOICE: dict[str, Any] = {
    "month": "2026-11",
    "number": "2026-000042",
    "is_final": True,
    "workspace": "Northlight",
    "recipient": {"name": "Northlight Ltd", "address": "1 High Street\nLondon", "tax_id": "GB123456789"},
    "sender": ["Vitrine GmbH", "Hauptstraße 1, 10115 Berlin"],
    "lines": [
        {
            "model": "vitrine/daylight",
            "unit": "image",
            "quantity": "1284",
            "unit_price": "0.004",
            "amount_micros": 5_136_000,
            "runs": 1284,
            "is_part": False,
        }
    ],
    "movements": [{"kind": "purchase", "detail": "Credit bought", "amount_micros": 20_000_000}],
    "runs": 1301,
    "not_charged_runs": 17,
    "opening_micros": 1_200_000,
    "charged_micros": 5_136_000,
    "refunded_micros": 4000,
    "closing_micros": 16_068_000,
    "due_micros": 0,
    "projected_micros": None,
    "currency": "USD",
    "issued_at": "2026-12-01T02:00:05+00:00",
    "urls": {
        "get": f"{_API}/invoices/2026-11",
        "pdf": f"{_API}/invoices/2026-11/pdf",
        "page": "https://vitrine.example/dashboard/invoices/2026-11",
    },
}
_PUBLISHER = f"{_API}/publishers/northlight"
PUBLISHER_REQUEST: dict[str, Any] = {"name": "northlight", "title": "Northlight Studio", "terms": True}
PUBLISHER: dict[str, Any] = {
    "id": "northlight",
    "title": "Northlight Studio",
    "share_percent": "80",
    "is_closed": False,
    "can_be_renamed": True,
    "created_at": "2026-11-26T10:00:00+00:00",
    "urls": {
        "get": _PUBLISHER,
        "earnings": f"{_PUBLISHER}/earnings",
        "statements": f"{_PUBLISHER}/statements",
        "payouts": f"{_PUBLISHER}/payouts",
        "page": "https://vitrine.example/publish?publisher=northlight",
    },
}
_EARNED: dict[str, int] = {
    "runs": 12,
    "charged_micros": 48_000,
    "earned_micros": 38_400,
    "payable_micros": 35_200,
}
EARNINGS: dict[str, Any] = {
    "publisher": "northlight",
    "from": "2026-11-26",
    "to": "2026-11-26",
    "group_by": "model",
    "currency": "USD",
    "balance": {
        "pending_micros": 35_200,
        "payable_micros": 41_250_000,
        "in_transit_micros": 0,
        "paid_out_micros": 120_000_000,
        "unpayable_micros": 3_200,
        "next_payout_on": "2026-12-01",
        "least_payout_micros": 10_000_000,
        "obstacle": None,
        "maturing": [{"on": "2026-12-03", "amount_micros": 35_200}],
    },
    "total": _EARNED,
    "refunded_micros": 0,
    "results": [{"day": "2026-11-26", "model": "northlight/dusk", **_EARNED}],
}
STATEMENT: dict[str, Any] = {
    "month": "2026-10",
    "is_final": True,
    "runs": 10_312,
    "opening_micros": 20_000_000,
    "earned_micros": 41_500_000,
    "refunded_micros": 250_000,
    "disputes_micros": 0,
    "paid_out_micros": 20_000_000,
    "returned_micros": 0,
    "closing_micros": 41_250_000,
    "pending_micros": 9_100_000,
    "payable_micros": 32_150_000,
    "in_transit_micros": 0,
    "unpayable_micros": 1_204_000,
    "currency": "USD",
    "urls": {
        "get": f"{_PUBLISHER}/statements/2026-10",
        "page": "https://vitrine.example/publish/statements/2026-10?publisher=northlight",
    },
}
PAYOUT: dict[str, Any] = {
    "id": "po_" + _ID,
    "publisher": "northlight",
    "status": "new",
    "kind": "requested",
    "method": "stripe",
    "amount_micros": 41_250_000,
    "returned_micros": 0,
    "currency": "USD",
    "waits_for": None,
    "failure": None,
    "created_at": "2026-11-26T10:00:00+00:00",
    "settled_at": None,
    "urls": {
        "get": f"{_PUBLISHER}/payouts/po_{_ID}",
        "page": "https://vitrine.example/publish/payouts?publisher=northlight",
    },
}
ASSET_REQUEST: dict[str, Any] = {"url": "https://example.com/vase.png"}
ASSET: dict[str, Any] = {
    "id": "a_" + _ID,
    "kind": "upload",
    "filename": "vase.png",
    "content_type": "image/png",
    "size": 48213,
    "sha256": _VERSION,
    "width": 640,
    "height": 400,
    "duration_ms": None,
    "url": f"https://vitrine.example/media/…/a_{_ID}.png",
    "thumbnail_url": f"https://vitrine.example/media/…/a_{_ID}-small.webp",
    "prediction": None,
    "created_at": "2026-11-26T10:00:00+00:00",
    "expires_at": "2026-12-26T10:00:00+00:00",
}
UPLOAD_REQUEST: dict[str, Any] = {
    "size": 20_971_520,
    "filename": "orbit.mp4",
    "content_type": "video/mp4",
    "sha256": _VERSION,
}
UPLOAD: dict[str, Any] = {
    "id": "u_" + _ID,
    "filename": "orbit.mp4",
    "size": 20_971_520,
    "content_type": "video/mp4",
    "part_size": 8_388_608,
    "part_count": 3,
    "parts": [],
    "asset": None,
    "created_at": "2026-11-26T10:00:00+00:00",
    "expires_at": "2026-11-27T10:00:00+00:00",
    "urls": {
        "get": f"{_API}/assets/uploads/u_{_ID}",
        "part": f"{_API}/assets/uploads/u_{_ID}/parts/{{number}}",
        "complete": f"{_API}/assets/uploads/u_{_ID}/complete",
    },
}
