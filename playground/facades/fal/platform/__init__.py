"""fal's platform API, `api.fal.ai/v1`: the shelf, prices, usage, requests and keys, in its own shapes."""
