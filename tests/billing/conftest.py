"""Who buys credit and who earns in the tests of the money."""

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


@pytest.fixture
def pia(stripe_sandbox: Sandbox) -> Any:
    """A publisher with an owner; not connected yet."""
    from marketplace.models import Membership, User
    from tests.billing.cast import new_publisher

    publisher = new_publisher()
    user = User.objects.create_user(f"pia-{publisher.pk}@example.test", "a long password", name="Pia")
    Membership.objects.create(workspace=publisher.workspace, user=user, role="owner")
    return publisher


@pytest.fixture
def by_hand(db: None, settings: Any) -> Any:
    """A publisher that the operator pays."""
    from billing import payouts
    from tests.billing.cast import new_publisher

    settings.PAYOUT_METHODS = ["manual"]
    publisher = new_publisher()
    payouts.set_method(publisher, "manual", bank_details="Pia Pub\nIBAN DE00 1234", by=None)
    return publisher
