"""The way to Stripe: its client, and what it tells us. Never taken inside a database transaction."""
