"""Hugging Face's inference endpoints, so that its clients work unmodified: one address a model, one file an answer."""
