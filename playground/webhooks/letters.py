"""The mail that says that we stopped: nobody looks at a page of webhooks for days while nothing arrives."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse

from marketplace import people
from marketplace.people import Act
from playground.models import Webhook


def tell_disabled(webhook: Webhook) -> None:
    """Mail those who may mend it that a webhook was disabled, in the transaction that disables it, and so once.

    The mail names the server and not the whole address, whose path or query may hold a secret.
    """
    workspace = webhook.workspace
    named = f" ({webhook.description})" if webhook.description else ""
    text = (
        f"We have disabled the webhook of {workspace.name} to {webhook.host}{named}.\n"
        f"{webhook.disabled_reason}\n\n"
        "Runs go on as before, but this server is told of none of them. What was on its way to it is held.\n"
        "Mend the server, then enable the webhook: what was held goes out then, and what had failed can be sent again "
        "from its log.\n\n"
        f"The webhook and its log: {settings.PUBLIC_URL}{reverse('webhook', args=[webhook.uid])}\n"
    )
    subject = f"{workspace.name}: the webhook to {webhook.host} is disabled"
    people.tell(workspace, Act.WEBHOOKS, subject=subject, body=text)
