"""Stripe as far as Vitrine uses it, played by this site: for installs without a key, for tests, never for real money.

It checks every request against the parameter types of the pinned library, keeps what it was told in tables of its own,
goes through the same states, tells of them by signed webhooks and shows the pages that Stripe hosts. What it cannot
prove are Stripe's own rules: where these are not known from the library, it refuses rather than guesses.
"""
