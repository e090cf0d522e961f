"""One JSON Schema per endpoint, six uses: it draws the form, cleans input from every door, documents the API,
feeds the snippets, gives pricing its quantities, and says what changed from one version to the next.

The dialect is a subset of JSON Schema 2020-12 that a form can show in full: an object whose properties are strings,
numbers, integers, booleans, arrays and objects with bounds, choices and defaults. Hints are `x-` keys: `x-order`
(place in the form), `x-advanced`, `x-secret`, `x-control` (textarea, slider, seed), `x-media` (a file, with the types
it takes) and `x-measure` (what pricing counts; `frame` over `fps` are seconds). A list of `{file, weight}` whose files
are `application/x-safetensors` is the endpoint's field for adapters.
"""

from __future__ import annotations

from marketplace.schema.adapters import ADAPTER_TYPE, adapter_field, adapters_in
from marketplace.schema.check import InvalidSchema, check
from marketplace.schema.clean import FieldError, FieldErrors, InvalidInput, clean, with_seeds
from marketplace.schema.describe import Parameter, example, media_property, media_taken, parameters, redact
from marketplace.schema.diff import Change, changes
from marketplace.schema.edit import InvalidJson, read_json, rearranged, secrets_in, write_json
from marketplace.schema.files import Schema, replace_files, takes
from marketplace.schema.form import Field, dotted, fields, from_form, label_of
from marketplace.schema.measure import quantities, units

__all__ = [
    "ADAPTER_TYPE",
    "Change",
    "Field",
    "FieldError",
    "FieldErrors",
    "InvalidInput",
    "InvalidJson",
    "InvalidSchema",
    "Parameter",
    "Schema",
    "adapter_field",
    "adapters_in",
    "changes",
    "check",
    "clean",
    "dotted",
    "example",
    "fields",
    "from_form",
    "label_of",
    "media_property",
    "media_taken",
    "parameters",
    "quantities",
    "read_json",
    "rearranged",
    "redact",
    "replace_files",
    "secrets_in",
    "takes",
    "units",
    "with_seeds",
    "write_json",
]
