"""What the sandbox takes: the library's own operations and types, and every call that our code makes."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import typing
from pathlib import Path

import pytest
import stripe
import typing_extensions

from billing.sandbox import forms, params, rooms, table
from billing.sandbox.refusals import Refused
from billing.sandbox.serving import handlers
from tests.at_once import at_once

ROOT = Path(__file__).resolve().parent.parent.parent
CALL = re.compile(r"\.(v[12])\.([a-z_]+(?:\.[a-z_]+)+)\(")


def test_the_library_is_the_one_that_this_was_written_for():
    """A newer one may take and answer other things: read its changelog, then move the pin here."""
    assert stripe.api_version == "2026-10-28.endive"


def test_the_table_is_whole():
    assert len(rooms.__all__) == 15
    assert len(table.operations()) > 600
    assert {key for key in handlers if key not in table.operations()} == set()


def test_first_requests_that_come_at_once_read_the_library_once(monkeypatch):
    """Python 3.11 raises SystemError now and then where several threads parse."""
    parse, at_it, most = ast.parse, [], []

    def parsed(source):
        at_it.append(source)
        most.append(len(at_it))
        try:
            return parse(source)
        finally:
            at_it.remove(source)

    known = len(table.operations())
    table._operations.cache_clear()
    monkeypatch.setattr(table.ast, "parse", parsed)
    assert [len(found) for found in at_once(*[table.operations] * 6)] == [known] * 6
    assert max(most) == 1


def test_every_type_of_a_parameter_is_understood():
    seen, plain = set(), set()

    def walk(hint):
        if typing_extensions.is_typeddict(hint):
            if hint not in seen:
                seen.add(hint)
                for inner, _ in params._fields(hint).values():
                    walk(inner)
            return
        if typing_extensions.get_origin(hint) is typing.Literal:
            return
        for inner in typing_extensions.get_args(hint):
            walk(inner)
        if not typing_extensions.get_args(hint):
            plain.add(hint)

    for key in handlers:
        walk(table.operations()[key].parameters())
    assert len(seen) > 300
    assert plain <= {str, int, bool, float, params.Decimal, type(None), typing.Any}


def calls():
    """The calls of the library in our code and tests: where, and as it is written."""
    for folder in ("billing", "playground", "tests/billing"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for version, chain in CALL.findall(path.read_text()):
                yield path.name, version, chain


def test_every_call_of_ours_is_played():
    client, unplayed, found = stripe.StripeClient("sk_test_nobody"), set(), set()
    for where, version, chain in calls():
        service = getattr(client, version)
        *way, last = chain.split(".")
        for name in way:
            service = getattr(service, name)
        source = textwrap.dedent(inspect.getsource(getattr(type(service), last)))
        (operation,) = table._of(source)
        found.add(chain)
        if (operation.verb, operation.path) not in handlers:
            unplayed.add((where, chain))
    assert {"checkout.sessions.create", "core.accounts.create", "transfers.reversals.create"} <= found
    assert unplayed == set()


def test_no_call_is_hidden_from_this():
    """`client.v1` is written out wherever it is used, so that the test above sees it."""
    hidden = [
        f"{path.name}:{node.lineno}"
        for folder in ("billing", "playground")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in {"v1", "v2"}
    ]
    assert hidden == []


@pytest.mark.parametrize(
    ("form", "means"),
    [
        ("", {}),
        ("a=1&b=", {"a": "1", "b": ""}),
        ("l[0][p][c]=usd&l[0][q]=2&l[1][q]=3", {"l": [{"p": {"c": "usd"}, "q": "2"}, {"q": "3"}]}),
        ("e[]=x&e[]=y", {"e": ["x", "y"]}),
        ("m[10]=x", {"m": {"10": "x"}}),
        ("a%5Bb%5D=%C3%A4+o", {"a": {"b": "ä o"}}),
    ],
)
def test_forms(form, means):
    assert forms.decode(form) == means


@pytest.mark.parametrize(
    "form",
    [
        "a=1&a[b]=2",
        "a[b]=2&a=1",
        "a[=1",
        "[a]=1",
        "a=1&a=2",
        "a" + "[b]" * 20 + "=1",
        "x=%ff",
        "&".join(["a[]=1"] * 2000),
    ],
)
def test_what_is_no_form(form):
    with pytest.raises(Refused):
        forms.decode(form)


@pytest.mark.parametrize(
    ("verb", "path", "given", "param"),
    [
        ("post", "/v1/transfers", {"amount": "1.5", "currency": "usd", "destination": "acct_1"}, "amount"),
        ("post", "/v1/transfers", {"amount": "1e3", "currency": "usd", "destination": "acct_1"}, "amount"),
        ("post", "/v1/transfers", {"amount": "9" * 30, "currency": "usd", "destination": "a"}, "amount"),
        ("post", "/v1/transfers", {"amount": "5", "currency": "usd"}, "destination"),
        (
            "post",
            "/v1/transfers",
            {"currency": "usd", "destination": "a", "stripe_account": "b"},
            "stripe_account",
        ),
        ("post", "/v1/refunds", {"reason": "because"}, "reason"),
        ("post", "/v1/payment_intents", {"amount": "500", "currency": "usd", "confirm": "yes"}, "confirm"),
        ("get", "/v1/events", {"types": "a"}, "types"),
        ("post", "/v1/customers", {"address": {"street": "x"}}, "address[street]"),
        ("post", "/v1/customers", {"name": "x" * 5001}, "name"),
    ],
)
def test_wrong_parameters(verb, path, given, param):
    operation, _ = table.find(verb, path)
    with pytest.raises(Refused) as caught:
        params.check(operation.parameters(), given, is_text=True)
    assert caught.value.error["param"] == param


@pytest.mark.parametrize("wrong", [{"requested": "true"}, {"requested": 1}, {"requested": None}])
def test_json_has_its_types_already(wrong):
    operation, _ = table.find("post", "/v2/core/accounts")
    given = {
        "configuration": {"recipient": {"capabilities": {"stripe_balance": {"stripe_transfers": wrong}}}}
    }
    with pytest.raises(Refused, match="requested"):
        params.check(operation.parameters(), given, is_text=False)


def test_fixed_paths_come_before_names():
    assert table.find("get", "/v1/invoices/in_1")[1] == {"invoice": "in_1"}
    assert table.find("get", "/v1/nothing") is None
    assert table.find("delete", "/v1/transfers/tr_1") is None
