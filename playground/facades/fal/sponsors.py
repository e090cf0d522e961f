"""Who answers for a body where no key does: so much is known before a byte of it is read."""

from __future__ import annotations

from marketplace import keys
from playground.api.problems import Problem
from playground.assets import growing, uploads
from playground.assets.address import open_place
from playground.facades.fal import tokens

PLACE = "/fal/rest/storage/put/"


def sponsor(path: str, authorization: str, token: str = "") -> int | None:
    """The workspace of the upload that a file is put to, or of the token that comes with it, in a header or, `token`,
    in the address; None for nobody's.

    Raises Problem for an address to which nothing can be put.
    """
    if path.startswith(PLACE):
        try:
            return growing.find(open_place(path.removeprefix(PLACE).partition("/")[0])).workspace_id
        except uploads.NotFound as error:
            raise Problem("not_found", str(error)) from None
    scheme, _, text = authorization.strip().partition(" ")
    purpose = tokens.Purpose.UPLOAD
    if not authorization and token:
        purpose, text = tokens.Purpose.REALTIME, token
    elif scheme.lower() != "bearer":
        return None
    try:
        return tokens.opened(purpose, text.strip()).key.workspace_id
    except keys.InvalidKey:
        return None
