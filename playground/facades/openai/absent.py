"""What of OpenAI's media this house has not: each address answers 501 with a sentence that says what to do instead."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from rest_framework.request import Request

from playground.facades.openai.errors import Absent
from playground.facades.openai.view import View


class Nothing(View):
    """An address of which nothing is here, whatever is asked of it."""

    scopes = dict.fromkeys(("GET", "POST", "DELETE"))
    why: ClassVar[str]

    def get(self, request: Request, **named: Any) -> NoReturn:
        raise Absent(self.why)

    post = delete = get


class Characters(Nothing):
    why = (
        "Characters cannot be kept here. Send the picture of one with each film, as input_reference, to a model that "
        "takes it."
    )


class Listening(Nothing):
    why = "Nothing is transcribed or translated here: the models make pictures, films and sounds."


class Voices(Nothing):
    why = "Voices cannot be made here. A model that speaks lists its own, as the values of its field voice."


class Uploads(Nothing):
    why = (
        "Files are not put together here. Send one whole with files.create, or, where it is too large for that, in "
        "parts to /api/v1/assets/uploads; its id, with file- for a_, is a file_id."
    )


class Provenance(Nothing):
    why = "Where a picture comes from cannot be told here."
