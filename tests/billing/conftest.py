"""Who buys credit in the tests of the money."""

from __future__ import annotations

from typing import Any

import pytest

from tests.billing.stripe import Sandbox


@pytest.fixture
def ada(stripe_sandbox: Sandbox, settings: Any) -> Any:
    """Somebody who buys credit, in a workspace of her own, at a site with the sandbox."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    from marketplace.models import Membership, User
    from tests.billing.cast import new_workspace

    workspace = new_workspace()
    user = User.objects.create_user(f"ada-{workspace.pk}@example.test", "a long password", name="Ada")
    Membership.objects.create(workspace=workspace, user=user, role="owner")
    return workspace
