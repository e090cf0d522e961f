"""Objects that are read one by one and in lists, as most are."""

from __future__ import annotations

from collections.abc import Collection

from billing.sandbox import store
from billing.sandbox.refusals import Json
from billing.sandbox.serving import Call, serves


def reads(kind: str, path: str, named: str, *, by: Collection[str] = ()) -> None:
    """Answer `GET path/{named}` and `GET path`; `by` names what the list can be asked for by. Connected accounts read
    their own objects."""

    @serves("get", f"{path}/{{{named}}}")
    def one(call: Call) -> Json:
        return dict(store.find(kind, call.named[named], account=call.account).data)

    @serves("get", path)
    def some(call: Call) -> Json:
        return store.listed(kind, call.params, url=path, account=call.account, by=by)
