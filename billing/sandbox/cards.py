"""Test cards: what each does when it is charged, by the names and numbers that Stripe's documentation has for them."""

from __future__ import annotations

from dataclasses import dataclass

from billing.sandbox.refusals import Json


@dataclass(frozen=True)
class Card:
    """A test card. `behaviour` is `pays`, `declines`, `authenticates` (each time), `authenticates_once` (until it was
    set up), `slow` and `slow_fails` (told later), `disputed` or `keeps_refund` (a refund fails)."""

    name: str  # after `pm_card_`; the page offers those with a sentence
    number: str
    brand: str
    behaviour: str
    code: str = ""
    decline_code: str = ""
    says: str = ""
    attaches: bool = True  # whether it can be saved at all

    @property
    def last4(self) -> str:
        return self.number[-4:]


def _declines(name: str, number: str, code: str, decline: str = "", says: str = "") -> Card:
    is_saved = name == "chargeCustomerFail"
    return Card(name, number, "visa", "declines", code, decline, says, attaches=is_saved)


CARDS = (
    Card("visa", "4242424242424242", "visa", "pays", says="Pays"),
    Card("mastercard", "5555555555554444", "mastercard", "pays"),
    Card("amex", "378282246310005", "amex", "pays"),
    Card("bypassPending", "4000000000000077", "visa", "pays"),
    Card(
        "authenticationRequired",
        "4000002760003184",
        "visa",
        "authenticates",
        says="Asks the holder, each time",
    ),
    Card(
        "authenticationRequiredOnSetup",
        "4000002500003155",
        "visa",
        "authenticates_once",
        says="Asks the holder once, then never again",
    ),
    _declines("chargeDeclined", "4000000000000002", "card_declined", "generic_decline", "Is declined"),
    _declines(
        "chargeDeclinedInsufficientFunds",
        "4000000000009995",
        "card_declined",
        "insufficient_funds",
        "Has not enough money",
    ),
    _declines("chargeDeclinedLostCard", "4000000000009987", "card_declined", "lost_card"),
    _declines("chargeDeclinedStolenCard", "4000000000009979", "card_declined", "stolen_card"),
    _declines("chargeDeclinedFraudulent", "4100000000000019", "card_declined", "fraudulent"),
    _declines("chargeDeclinedExpiredCard", "4000000000000069", "expired_card"),
    _declines("chargeDeclinedIncorrectCvc", "4000000000000127", "incorrect_cvc"),
    _declines("chargeDeclinedProcessingError", "4000000000000119", "processing_error"),
    _declines(
        "chargeCustomerFail",
        "4000000000000341",
        "card_declined",
        "generic_decline",
        "Can be saved, and is declined whenever it is charged",
    ),
    Card("slow", "4000000000000010", "visa", "slow", says="Pays some time later"),
    Card("slowFails", "4000000000000028", "visa", "slow_fails", says="Fails some time later"),
    Card(
        "createDispute",
        "4000000000000259",
        "visa",
        "disputed",
        says="Pays, and the holder disputes it at once",
    ),
    Card("refundFail", "4000000000005126", "visa", "keeps_refund", says="Pays; refunds of it fail"),
)
BY_NAME = {f"pm_card_{card.name}": card for card in CARDS}
BY_TOKEN = {f"tok_{card.name}": card for card in CARDS}
BY_NUMBER = {card.number: card for card in CARDS}
OFFERED = tuple(card for card in CARDS if card.says)

_MESSAGES = {
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


def message(code: str, decline_code: str = "") -> str:
    """Why a payment was not made, as Stripe says it to the payer."""
    return _MESSAGES.get(decline_code) or _MESSAGES.get(code) or "Your card was declined."


def as_charged(card: Json) -> Json:
    """The `card` of a charge, from that of the payment method."""
    kept = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    return {name: card[name] for name in (*kept, "regulated_status", "wallet")} | {"network": card["brand"]}


def described(card: Card, *, now_year: int) -> Json:
    """The `card` of a payment method."""
    return {
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": card.brand,
        "exp_month": 12,
        "exp_year": now_year + 4,
        "fingerprint": f"sandbox{card.number[-8:]}",
        "funding": "credit",
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
