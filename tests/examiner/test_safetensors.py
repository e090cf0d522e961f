"""Safetensors are walked: every byte is of one tensor, and nothing in them is run."""

from __future__ import annotations

import io
import pickle
import struct

import pytest

from playground.examiner import Refusal, child, examine
from playground.examiner import safetensors as walker
from tests.examiner import files
from tests.examiner.test_examiner import reason

KIND = "application/x-safetensors"


def one(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def look(data: bytes):
    """What the process would say; most of it needs no process."""
    return child.look(io.BytesIO(data), len(data))


def refused(data: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        look(data)
    return caught.value.reason


def test_a_whole_one_is_known_by_its_own_process(tmp_path):
    path = tmp_path / "one"
    path.write_bytes(files.safetensors())
    with path.open("rb") as file:
        found = examine(file)
    assert (found.media_type, found.meta, found.thumbnail) == (KIND, {"tensors": 2}, b"")
    assert reason(files.safetensors()[:-1]) == "truncated"


def test_tensors_without_numbers_and_without_sides_are_tensors_too():
    described = {
        "none": {"dtype": "F16", "shape": [0, 4], "data_offsets": [0, 0]},
        "number": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]},
    }
    assert look(files.safetensors(described, b"\0" * 8)) == {"media_type": KIND, "tensors": 2}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (files.safetensors()[:-1], "truncated"),
        (files.safetensors()[:40], "truncated"),
        (files.safetensors() + b"\0", "broken"),
        (files.safetensors(one(), b"\0" * 24), "broken"),
        (files.safetensors(one(data_offsets=[8, 16]), b"\0" * 16), "broken"),
        (files.safetensors(one(data_offsets=[0, 9]), b"\0" * 9), "broken"),
        (files.safetensors(one(data_offsets=[8, 0]), b"\0" * 8), "broken"),
        (files.safetensors(one(data_offsets=[0, 8.0]), b"\0" * 8), "broken"),
        (files.safetensors(one(shape=[-2]), b"\0" * 8), "broken"),
        (files.safetensors(one(shape=[2**60, 2**60]), b"\0" * 8), "broken"),
        (files.safetensors(one(shape=[True, 2]), b"\0" * 8), "broken"),
        (files.safetensors(one(shape=[1] * 9), b"\0" * 4), "broken"),
        (files.safetensors(one(more=1), b"\0" * 8), "broken"),
        (files.safetensors(one(dtype="PICKLE"), b"\0" * 8), "unsupported"),
        (files.safetensors(one(dtype=[1]), b"\0" * 8), "unsupported"),
        (files.safetensors({**one(), "b": one()["a"]}, b"\0" * 8), "broken"),
        (files.safetensors({"a" * 600: one()["a"]}, b"\0" * 8), "broken"),
        (files.safetensors({"__metadata__": {"x": 1}, **one()}, b"\0" * 8), "broken"),
        (files.safetensors({"__metadata__": {}}, b""), "empty"),
        (files.safetensors(text=b'{"a": 1, "a": 2}'), "broken"),
        (files.safetensors(text=b'{"a": ' + b"[" * 100_000), "broken"),
        (files.safetensors(text=b"{not json}"), "broken"),
        (struct.pack("<Q", walker.MAX_HEADER + 1) + b"{" + b" " * 64, "too_complex"),
        (pickle.dumps({"a": 1}, protocol=4), "unsupported"),
        (b"PK\x03\x04" + b"\0" * 60, "unsupported"),
    ],
)
def test_a_hostile_or_damaged_one_is_refused(data, why):
    assert refused(data) == why


def test_more_tensors_than_anything_has_are_too_many():
    empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    many = {f"{n}": empty for n in range(walker.MAX_TENSORS + 1)}
    assert refused(files.safetensors(many, b"")) == "too_complex"
