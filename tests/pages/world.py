"""People with browsers, and a model whose form shows every control."""

from __future__ import annotations

from dataclasses import dataclass

from django.test import Client

from marketplace.models import Membership, User, Workspace
from playground.models import Prediction
from tests.predictions import cast

README = """# Vase

A *narrow* model with **two** subjects: `a < b`.

| attribute | accuracy |
|---|---|
| glaze | 98 % |

- first
- second

```
<script>alert(1)</script>
```

<script>alert(2)</script> [home](/m/kiln/vase) [out](https://example.test/?a=1&b="2) [bad](javascript:alert(3))
"""
WORDS = {
    "ceramics": {"vessel": ["vase", "jug"], "glaze": ["teal", "cobalt"]},
    "examples": ["a teal vase", "a cobalt jug"],
    "understood": ["a", "the"],
}
INPUT = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "maxLength": 200, "default": "a teal vase", "x-control": "textarea"},
        "title": {"type": "string", "description": "A line of text."},
        "num_images": {
            "type": "integer",
            "title": "Images",
            "default": 1,
            "minimum": 1,
            "maximum": 4,
            "enum": [1, 2, 3, 4],
            "x-measure": "image",
        },
        "steps": {"type": "integer", "default": 4, "minimum": 1, "maximum": 40},
        "strength": {"type": "number", "minimum": 0},
        "style": {"type": "string", "enum": ["a", "b", "c", "d", "e", "f"], "default": "b"},
        "tile": {"type": "boolean", "default": False},
        "seed": {"type": "integer", "minimum": 0, "x-control": "seed"},
        "token": {"type": "string", "x-secret": True, "x-advanced": True},
        "picture": {"type": "string", "x-media": ["image/png"], "x-advanced": True},
        "extra": {"type": "array", "items": {"type": "integer"}, "x-advanced": True},
    },
}
for _order, _one in enumerate(INPUT["properties"].values()):
    _one["x-order"] = _order


@dataclass
class World:
    model: str
    page: str
    ada: Client
    mal: Client
    nobody: Client
    workspace: Workspace

    def run(self, **values: object) -> Prediction:
        """One of Ada's runs, waiting."""
        return cast.submit(self.workspace, model=self.model, **values)

    def made(self, **values: object) -> Prediction:
        """One of Ada's runs that has succeeded."""
        row = self.run(**values)
        job = cast.claim()[0]
        cast.step(job, 4)
        assert cast.succeed(job, pictures=int(str(values.get("num_images", 1))))
        return cast.again(row)

    def failed(self, **values: object) -> Prediction:
        row = self.run(**values)
        assert cast.fail(cast.claim()[0])
        return cast.again(row)


def person(workspace: Workspace, email: str) -> Client:
    """A browser in which somebody of the workspace is signed in."""
    user = User.objects.create_user(email, "a long password")
    Membership.objects.create(workspace=workspace, user=user)
    client = Client()
    client.force_login(user)
    return client


def build() -> World:
    model = cast.shelve(endpoint__input=INPUT, words=WORDS, readme=README, recipe__words=1)
    workspace = cast.payer(name="ada")
    return World(
        model=model,
        page=f"/m/{model}",
        ada=person(workspace, "ada@example.test"),
        mal=person(cast.payer(name="mal"), "mal@example.test"),
        nobody=Client(),
        workspace=workspace,
    )
