"""Measurements lie beside a version: one of each machine, the newest first, and no part of what it is."""

from __future__ import annotations

import pytest

from marketplace import catalog
from marketplace.models import Version
from tests.predictions import cast

pytestmark = pytest.mark.django_db


def measured(machine: str, taken_at: str) -> catalog.Measurement:
    return {
        "taken_at": taken_at,
        "machine": {"device": "cpu", "name": machine, "threads": 2, "memory_bytes": 2**34},
        "versions": {},
        "input": {},
        "seeds": [0],
        "runs": 1,
        "rows": [],
    }


def test_one_of_each_machine_the_newest_first():
    cast.shelve()
    version = Version.objects.get()
    for machine, taken_at in (("a", "1"), ("b", "2"), ("a", "3"), *((f"m{n}", str(n)) for n in range(4))):
        catalog.record_measurement(version, measured(machine, taken_at))
    version.refresh_from_db()
    kept = [(one["machine"]["name"], one["taken_at"]) for one in version.measurements]
    assert kept == [("m3", "3"), ("m2", "2"), ("m1", "1"), ("m0", "0"), ("a", "3")]


def test_publishing_again_keeps_them_and_the_name_of_the_version():
    cast.shelve()
    version = Version.objects.get()
    catalog.record_measurement(version, measured("a", "1"))
    cast.shelve()
    assert [(one.sha256, len(one.measurements)) for one in Version.objects.all()] == [(version.sha256, 1)]
