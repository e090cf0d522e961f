"""What a run may cost before it begins: refused without a trace, or at the price that was told."""

from __future__ import annotations

import pytest

from billing import ledger, pricing
from marketplace import catalog, schema
from playground import predictions
from playground.models import IdempotencyKey, Prediction
from tests.predictions import cast
from tests.predictions.cast import CREDIT, available


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"model": "kiln/none"}, catalog.NotFound),
        ({"steps": 99}, schema.InvalidInput),
        ({"max_cost_micros": 3_999}, predictions.CostAboveCap),
        ({"model": "kiln/priceless"}, pricing.CannotPrice),
        ({"model": "kiln/dear"}, ledger.InsufficientCredit),
        ({"model": "kiln/shut"}, predictions.CannotRun),
    ],
)
def test_a_refused_run_was_never_there(payer, asked, error):
    cast.shelve(name="priceless", prices=[{"unit": "second", "unit_price": "1"}])
    cast.shelve(name="dear", prices=[{"unit": "image", "unit_price": "2"}])
    cast.shelve(name="shut")
    from marketplace.models import Offer

    Offer.objects.filter(endpoint__version__listing__name="shut").update(is_enabled=False)
    catalog.forget()
    with pytest.raises(error):
        cast.submit(payer, idempotency_key="k", **asked)
    assert not Prediction.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert available(payer) == CREDIT


def test_a_cap_that_is_met_exactly(payer):
    assert cast.submit(payer, max_cost_micros=cast.PRICE_MICROS).status == "queued"


def test_a_free_model_runs_without_credit(db):
    cast.shelve(prices=[{"unit": "image", "unit_price": "0"}])
    poor = cast.payer(credit=0)
    row = cast.submit(poor)
    (job,) = cast.claim()
    assert cast.succeed(job)
    assert cast.again(row).cost_micros == 0
    cast.money_is_right()


def test_the_price_of_the_quote_is_the_price_of_the_run(payer):
    row = cast.submit(payer)
    cast.shelve(prices=[{"unit": "image", "unit_price": "0.5"}])
    (job,) = cast.claim()
    cast.succeed(job)
    assert cast.again(row).cost_micros == cast.PRICE_MICROS
