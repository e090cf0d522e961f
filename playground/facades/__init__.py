"""Other people's protocols: what an app sends that was written for another service is understood and answered here.

No rules in a facade: it translates in (`words`, `asking`), makes one domain call, and translates out (its `show`).
One directory per protocol, found by being there. Each has a module `dialect` with `DIALECT`, which the edge asks how to
answer what waits, polls and streams, and a module `routes` with `urlpatterns`, which are part of the site's map.

Where the faces are not as they were agreed on first:

- `dialects` (and not `dialect`) has the registry, because a dialect imports `dialect`. A directory registers itself by
  existing: nothing to add, neither there nor in `playground.urls`.
- `Dialect` has `words` besides, its table, which `asking.submit` looks up by `Call.dialect`; and `place`, which gives a
  request by Host its address on the map (identity for protocols that live at a prefix). `talk` is a websocket by which
  programs ask: what is said by it is in the protocol's directory, and the edge lends it what it needs (`Floor`).
- `Call.repeat_of` has `Call.is_again` beside it: True or False where the client says which time it sends the request
  (`x-stainless-retry-count`), None where it does not. Two equal requests are one only if the client says so, or if it
  left before it heard of the first; so four equal requests at once are four pictures.
- A view answers `self.shown(row, ...)`: with that the edge knows the run, without a header to parse; `wait=` and
  `frames=` there decide for what only the body tells (OpenAI's `stream: true`). `X-Vitrine-Prediction` is public.
- `waits` may be overruled by the view; `show` gets a document that has `queue_position` (int or None) while it waits.
- In the errors of the input, fields are the caller's own words after `input.` (as in `/api/v1`).
"""
