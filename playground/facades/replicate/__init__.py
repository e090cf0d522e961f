"""Replicate's protocol under `/v1`: what its Python clients (1 and 2) and its JavaScript client say and read."""
