"""The history of a model as people see it."""

from __future__ import annotations

from tests.predictions import cast


def test_what_changed_in_a_recipe_is_told_in_lines_and_not_as_json(world):
    cast.shelve(recipe__dtype="float32", recipe__order=["a"])
    cast.shelve(recipe__accelerations={"compile": {"mode": "default"}}, recipe__dtype="<b>bfloat16</b>")
    body = world.nobody.get(f"{world.page}/versions").content.decode()
    lines = body.split('<dl class="altered">')[1].split("</dl>")[0]
    assert "<dt>accelerations.compile.mode</dt>" in lines
    assert "<ins>default</ins>" in lines
    assert "<del>float32</del>" in lines
    assert "<ins>&lt;b&gt;bfloat16&lt;/b&gt;</ins>" in lines
    assert "<dt>order</dt>" in lines
    assert "{" not in lines
