"""The adapters of a run: files of the workspace, told apart from the input, alike in a batch, and on the receipt."""

from __future__ import annotations

import base64
import hashlib
import io
import struct

import pytest

from marketplace import schema
from marketplace.schema import InvalidInput
from playground import assets
from playground.models import Asset
from playground.predictions import adapters
from tests.examiner import files
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)
LORAS = {
    "type": "array",
    "maxItems": 3,
    "x-order": 5,
    "items": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "x-media": [schema.ADAPTER_TYPE]},
            "weight": {"type": "number", "default": 1.0, "minimum": -2, "maximum": 2},
        },
    },
}
INPUT = {**cast.MANIFEST["endpoint"]["input"]}
INPUT["properties"] = {**INPUT["properties"], "loras": LORAS}


@pytest.fixture
def ada():
    cast.shelve(name="worn", endpoint__input=INPUT)
    return cast.payer(name="ada")


def weights(number: int = 0) -> bytes:
    return files.safetensors(data=struct.pack("<6f", *[number] * 6))


def sent(number: int = 0) -> str:
    return f"data:{schema.ADAPTER_TYPE};base64,{base64.b64encode(weights(number)).decode()}"


def submit(workspace, *loras, **named):
    return cast.submit(workspace, model="kiln/worn", loras=list(loras), **named)


def test_the_worker_is_told_which_files_and_gets_their_bytes_apart_from_the_input(ada):
    row = submit(ada, {"file": sent(1), "weight": 0.5}, {"file": sent(2), "weight": 0})
    first, second = row.input["loras"]
    asset = Asset.objects.get(media_type=schema.ADAPTER_TYPE, sha256=hashlib.sha256(weights(1)).hexdigest())
    assert first == {"file": asset.uid, "weight": 0.5}
    (job,) = cast.claim()
    assert "loras" not in job["input"]
    (one,) = job["adapters"]  # of weight 0 is none
    assert (one["asset"], one["name"], one["weight"]) == (asset.uid, asset.uid, 0.5)
    assert (one["sha256"], one["size"]) == (asset.sha256, len(weights(1)))
    assert assets.address(asset) in one["url"]
    copied = io.BytesIO()
    adapters.copy(one, copied)
    assert copied.getvalue() == weights(1)
    assert {source.path for source in row.sources.all()} == {"loras[0].file", "loras[1].file"}
    assert second["weight"] == 0


def test_only_runs_with_the_same_files_and_weights_may_share_a_batch(ada):
    mal = cast.payer(name="mal")
    asked = {
        "none": (ada, []),
        "zero": (ada, [{"file": sent(1), "weight": 0}]),
        "one": (ada, [{"file": sent(1)}]),
        "theirs": (mal, [{"file": sent(1), "weight": 1}]),
        "weaker": (ada, [{"file": sent(1), "weight": 0.9}]),
        "other": (ada, [{"file": sent(2)}]),
        "both": (ada, [{"file": sent(1)}, {"file": sent(2)}]),
        "turned": (mal, [{"file": sent(2)}, {"file": sent(1)}]),
    }
    keys = {name: submit(workspace, *loras).batch_key for name, (workspace, loras) in asked.items()}
    assert keys["none"] == keys["zero"] == cast.submit(ada, model="kiln/worn").batch_key
    assert keys["one"] == keys["theirs"]
    assert keys["both"] == keys["turned"]
    assert len(set(keys.values())) == 5


def test_the_same_file_twice_is_an_error_of_the_second(ada):
    with pytest.raises(InvalidInput) as caught:
        submit(ada, {"file": sent(1)}, {"file": sent(1), "weight": 0.5})
    assert [(error.field, error.code) for error in caught.value.errors] == [("loras[1].file", "repeated")]
    cast.money_is_right()


def test_another_ones_file_and_what_is_no_safetensors_are_refused(ada):
    mal = cast.payer(name="mal")
    theirs = submit(mal, {"file": sent(3)}).input["loras"][0]["file"]
    pickled = f"data:{schema.ADAPTER_TYPE};base64,{base64.b64encode(b'PK' + bytes(60)).decode()}"
    for value, code in ((theirs, "not_found"), (pickled, "file")):
        with pytest.raises(InvalidInput) as caught:
            submit(ada, {"file": value})
        assert [(error.field, error.code) for error in caught.value.errors] == [("loras[0].file", code)]
    picture = "data:image/png;base64," + base64.b64encode(cast.png(3)).decode()
    with pytest.raises(InvalidInput):
        submit(ada, {"file": picture})
    cast.money_is_right()


def test_a_file_that_is_gone_is_told_to_the_worker(ada):
    submit(ada, {"file": sent(1)})
    Asset.objects.filter(media_type=schema.ADAPTER_TYPE).delete()
    (job,) = cast.claim()
    (one,) = job["adapters"]
    assert one["sha256"] == ""
    with pytest.raises(FileNotFoundError):
        adapters.copy(one, io.BytesIO())
