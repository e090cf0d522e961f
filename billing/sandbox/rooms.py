"""Everything that answers operations, so that importing this registers it."""

from billing.sandbox import (
    accounts,
    balances,
    charges,
    checkout,
    customers,
    disputes,
    endpoints,
    events,
    intents,
    invoices,
    payouts,
    portal,
    refunds,
    setups,
    transfers,
)

__all__ = [
    "accounts",
    "balances",
    "charges",
    "checkout",
    "customers",
    "disputes",
    "endpoints",
    "events",
    "intents",
    "invoices",
    "payouts",
    "portal",
    "refunds",
    "setups",
    "transfers",
]
