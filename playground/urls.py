"""The site's whole map on one page. What waits or streams is answered before Django, see `playground.edge`."""

from __future__ import annotations

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery
from allauth.mfa.totp import views as totp
from django.conf import settings
from django.urls import path, re_path

from billing.sandbox import api as sandbox
from billing.sandbox import pages as hosted
from playground import docs
from playground.api import billing as api_billing
from playground.api import invoices as api_invoices
from playground.api import keys as api_keys
from playground.api import limits as api_limits
from playground.api import media as api_media
from playground.api import payouts as api_payouts
from playground.api import publishers as api_publishers
from playground.api import usage as api_usage
from playground.api import views as api
from playground.api import webhooks as api_webhooks
from playground.calling import page as calling
from playground.facades.dialects import routes
from playground.pages import billing as billing_pages
from playground.pages import books as book_pages
from playground.pages import console as console_pages
from playground.pages import earnings as earning_pages
from playground.pages import invoices as invoice_pages
from playground.pages import keys as key_pages
from playground.pages import limits as limit_pages
from playground.pages import listings as listing_pages
from playground.pages import payouts as payout_pages
from playground.pages import prices as price_pages
from playground.pages import publish as publish_pages
from playground.pages import refunds as refund_pages
from playground.pages import sandbox as sandbox_pages
from playground.pages import stripe as stripe_pages
from playground.pages import usage as usage_pages
from playground.pages import views as pages

handler400 = "playground.pages.errors.bad_request"
handler403 = "playground.pages.errors.forbidden"
handler404 = "playground.pages.errors.not_found"
handler429 = "playground.pages.errors.too_many"
handler500 = "playground.pages.errors.server_error"

# Stripe, as the sandbox plays it: with a key of Stripe's there is nothing of it.
SANDBOX = [
    re_path(r"^-/stripe/(?P<path>v[12]/.+)$", sandbox.ask, name="hosted-api"),
    path("-/stripe", sandbox_pages.sandbox, name="sandbox"),
    path("-/stripe/act/<slug:act>", sandbox_pages.act, name="sandbox-act"),
    path("-/stripe/control", sandbox_pages.control, name="hosted-control"),
    path("-/stripe/checkout/<str:session>", hosted.pay, name="hosted-checkout"),
    path("-/stripe/authenticate/<str:secret>", hosted.authenticate, name="hosted-authenticate"),
    path("-/stripe/onboarding/<str:token>", hosted.onboarding, name="hosted-onboarding"),
    path("-/stripe/onboarding/page/<str:session>", hosted.onboarding_page, name="hosted-onboarding-page"),
    path("-/stripe/express/<str:token>", hosted.express, name="hosted-express"),
    path("-/stripe/portal/<str:token>", hosted.billing, name="hosted-portal"),
    path("-/stripe/receipts/<str:name>", hosted.receipt, name="hosted-receipt"),
    path("-/stripe/invoices/<str:name>", hosted.invoice, name="hosted-invoice"),
]

urlpatterns = [
    *(SANDBOX if settings.STRIPE_SANDBOX else []),
    # Pages
    path("", pages.gallery, name="gallery"),
    path("m/<slug:publisher>/<slug:name>", pages.model, name="model"),
    path("m/<slug:publisher>/<slug:name>/api", calling.model_api, name="model-api"),
    path("m/<slug:publisher>/<slug:name>/readme", pages.model_readme, name="model-readme"),
    path("m/<slug:publisher>/<slug:name>/examples", pages.model_examples, name="model-examples"),
    path("m/<slug:publisher>/<slug:name>/versions", pages.model_versions, name="model-versions"),
    path("m/<slug:publisher>/<slug:name>/form", pages.model_form, name="model-form"),
    path("m/<slug:publisher>/<slug:name>/estimate", pages.estimate, name="model-estimate"),
    path("m/<slug:publisher>/<slug:name>/run", pages.run, name="model-run"),
    path("m/<slug:publisher>/<slug:name>/runs", pages.model_runs, name="model-runs"),
    path("p/<str:prediction_id>", pages.prediction, name="prediction"),
    path("p/<str:prediction_id>/card", pages.prediction_card, name="prediction-card"),
    path("p/<str:prediction_id>/cancel", pages.cancel, name="prediction-cancel"),
    path("p/<str:prediction_id>/again", pages.again, name="prediction-again"),
    path("p/<str:prediction_id>/delete", pages.delete, name="prediction-delete"),
    path("p/<str:prediction_id>/receipt", pages.receipt, name="prediction-receipt"),
    path("p/<str:prediction_id>/revoke", pages.revoke, name="prediction-revoke"),
    path("p/<str:prediction_id>/share", pages.share, name="prediction-share"),
    path("s/<str:token>", pages.shared, name="shared"),
    path("s/<str:token>/<int:number>", pages.shared_media, name="shared-media"),
    path("p/<str:prediction_id>/acts", pages.prediction_acts, name="prediction-acts"),
    path("p/<str:prediction_id>/example", pages.prediction_example, name="prediction-example"),
    path("p/<str:prediction_id>/zip", pages.prediction_zip, name="prediction-zip"),
    path("dashboard/balance", pages.balance, name="balance"),
    path("dashboard/history", pages.history, name="history"),
    path("dashboard/usage", usage_pages.usage, name="usage"),
    path("dashboard/usage.csv", usage_pages.usage_csv, name="usage-csv"),
    path("dashboard/usage/books.jsonl", usage_pages.usage_books, name="usage-books"),
    path("dashboard/usage/limits", usage_pages.limits, name="usage-limits"),
    path("dashboard/limits", limit_pages.limits, name="limits"),
    path("dashboard/limits/<str:limit_id>", limit_pages.limit, name="limit"),
    path("publish", publish_pages.publish, name="publish"),
    path("publish/settings", publish_pages.publisher_settings, name="publisher-settings"),
    path("publish/close", publish_pages.publisher_close, name="publisher-close"),
    path("publish/reopen", publish_pages.publisher_reopen, name="publisher-reopen"),
    path("publish/models/<slug:publisher>/<slug:name>", listing_pages.listing, name="publish-model"),
    path(
        "publish/models/<slug:publisher>/<slug:name>/pause",
        listing_pages.listing_pause,
        name="publish-model-pause",
    ),
    path("publish/prices", price_pages.models, name="publish-prices"),
    path("publish/<slug:publisher>/<slug:name>/prices", price_pages.prices, name="model-prices"),
    path(
        "publish/<slug:publisher>/<slug:name>/prices/preview",
        price_pages.preview,
        name="model-prices-preview",
    ),
    path("dashboard/billing", billing_pages.billing, name="billing"),
    path("dashboard/billing/automatic", billing_pages.automatic, name="billing-automatic"),
    path("dashboard/billing/card", billing_pages.card, name="billing-card"),
    path("dashboard/billing/card/remove", billing_pages.card_remove, name="billing-card-remove"),
    path("dashboard/billing/coupon", billing_pages.coupon, name="billing-coupon"),
    path("dashboard/billing/portal", billing_pages.portal, name="billing-portal"),
    path("dashboard/billing/topups", billing_pages.top_up_new, name="topup-new"),
    path("dashboard/billing/topups/<str:topup_id>", billing_pages.top_up, name="topup"),
    path("dashboard/billing/topups/<str:topup_id>/refund", billing_pages.top_up_refund, name="topup-refund"),
    path("publish/earnings", earning_pages.earnings, name="earnings"),
    path("publish/earnings.csv", earning_pages.earnings_csv, name="earnings-csv"),
    path("publish/earnings/books.jsonl", earning_pages.earnings_books, name="earnings-books"),
    path("publish/statements/<str:month>.csv", earning_pages.statement_csv, name="statement-csv"),
    path("publish/statements/<str:month>", earning_pages.statement, name="statement"),
    path("publish/payouts", payout_pages.payouts, name="payouts"),
    path("publish/payouts/request", payout_pages.payout_request, name="payout-request"),
    path("publish/payouts/settings", payout_pages.payout_wishes, name="payout-wishes"),
    path("publish/payouts/method", payout_pages.payout_method, name="payout-method"),
    path("publish/payouts/connect", payout_pages.payout_connect, name="payout-connect"),
    path("publish/payouts/again", payout_pages.payout_again, name="payout-again"),
    path("publish/payouts/return", payout_pages.payout_return, name="payout-return"),
    path("publish/payouts/stripe", payout_pages.payout_dashboard, name="payout-dashboard"),
    path("dashboard/invoices", invoice_pages.invoices, name="invoices"),
    path("dashboard/invoices/recipient", invoice_pages.invoice_recipient, name="invoice-recipient"),
    path("dashboard/invoices/<str:month>", invoice_pages.invoice, name="invoice"),
    path("dashboard/invoices/<str:month>/pdf", invoice_pages.invoice_pdf, name="invoice-pdf"),
    path("dashboard/keys", key_pages.keys, name="keys"),
    path("dashboard/keys/new", key_pages.new, name="key-new"),
    path("dashboard/keys/<str:key_id>", key_pages.one, name="key"),
    path("dashboard/keys/<str:key_id>/rotate", key_pages.rotate, name="key-rotate"),
    path("dashboard/keys/<str:key_id>/revoke", key_pages.revoke, name="key-revoke"),
    path("dashboard/history/all", pages.history_all, name="history-all"),
    path("dashboard/history/cancel", pages.history_cancel, name="history-cancel"),
    path("dashboard/history/delete", pages.history_delete, name="history-delete"),
    path("dashboard/history/download", pages.history_download, name="history-download"),
    path("dashboard/history/export/<str:form>", pages.history_export, name="history-export"),
    path("dashboard/history/rows", pages.history_rows, name="history-rows"),
    path("dashboard/history/undo", pages.history_undo, name="history-undo"),
    path("dashboard/webhooks", pages.webhooks, name="webhooks"),
    path("dashboard/webhooks/request-secret/<slug:act>", pages.request_secret, name="request-secret"),
    path("dashboard/webhooks/single-runs", pages.request_deliveries, name="request-deliveries"),
    path("dashboard/webhooks/single-runs/<str:delivery_id>", pages.request_delivery, name="request-delivery"),
    path(
        "dashboard/webhooks/single-runs/<str:delivery_id>/again",
        pages.request_redeliver,
        name="request-redeliver",
    ),
    path("dashboard/webhooks/<str:webhook_id>", pages.webhook, name="webhook"),
    path("dashboard/webhooks/<str:webhook_id>/<slug:act>", pages.webhook_act, name="webhook-act"),
    path("dashboard/webhooks/<str:webhook_id>/log/<str:delivery_id>", pages.delivery, name="delivery"),
    path(
        "dashboard/webhooks/<str:webhook_id>/log/<str:delivery_id>/again", pages.redeliver, name="redeliver"
    ),
    path("publish/runs/<str:prediction_id>", refund_pages.publisher_run, name="publisher-run"),
    path("publish/runs/<str:prediction_id>/refund", refund_pages.publisher_refund, name="publisher-refund"),
    path("docs", docs.docs, name="docs"),
    path("llms.txt", docs.llms, name="llms"),
    path("llms-full.txt", docs.llms_full, name="llms-full"),
    path("healthz", pages.healthz, name="healthz"),
    # People: workspaces and members
    path("dashboard/members", pages.members, name="members"),
    path("dashboard/members/invite", pages.invite, name="member-invite"),
    path("dashboard/members/leave", pages.leave, name="member-leave"),
    path("dashboard/members/<str:member_id>/role", pages.member_role, name="member-role"),
    path("dashboard/members/<str:member_id>/remove", pages.member_remove, name="member-remove"),
    path(
        "dashboard/invitations/<str:invitation_id>/resend", pages.invitation_resend, name="invitation-resend"
    ),
    path(
        "dashboard/invitations/<str:invitation_id>/revoke", pages.invitation_revoke, name="invitation-revoke"
    ),
    path("dashboard/settings", pages.workspace_settings, name="settings"),
    path("dashboard/settings/delete", pages.workspace_delete, name="workspace-delete"),
    path("dashboard/switch", pages.switch, name="switch"),
    path("dashboard/workspaces", pages.workspaces, name="workspaces"),
    path("dashboard/workspaces/new", pages.workspace_new, name="workspace-new"),
    path("invitations/<str:token>", pages.invitation, name="invitation"),
    # People: the account. django-allauth's views under its names, at addresses like all others: without a last slash
    path("accounts/login", account.login, name="account_login"),
    path("accounts/logout", account.logout, name="account_logout"),
    path("accounts/signup", account.signup, name="account_signup"),
    path("accounts/inactive", account.account_inactive, name="account_inactive"),
    path("accounts/confirm", account.reauthenticate, name="account_reauthenticate"),
    path("accounts/email", account.email, name="account_email"),
    path("accounts/email/sent", account.email_verification_sent, name="account_email_verification_sent"),
    path("accounts/email/confirm/<str:key>", account.confirm_email, name="account_confirm_email"),
    path("accounts/password", account.password_change, name="account_change_password"),
    path("accounts/password/set", account.password_set, name="account_set_password"),
    path("accounts/password/reset", account.password_reset, name="account_reset_password"),
    path("accounts/password/reset/sent", account.password_reset_done, name="account_reset_password_done"),
    path(
        "accounts/password/reset/done",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    re_path(
        r"^accounts/password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[^/]+)$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("accounts/two-factor", mfa.index, name="mfa_index"),
    path("accounts/two-factor/sign-in", mfa.authenticate, name="mfa_authenticate"),
    path("accounts/two-factor/confirm", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("accounts/two-factor/app", totp.activate_totp, name="mfa_activate_totp"),
    path("accounts/two-factor/app/off", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("accounts/two-factor/codes", recovery.view_recovery_codes, name="mfa_view_recovery_codes"),
    path(
        "accounts/two-factor/codes/new", recovery.generate_recovery_codes, name="mfa_generate_recovery_codes"
    ),
    path(
        "accounts/two-factor/codes/file", recovery.download_recovery_codes, name="mfa_download_recovery_codes"
    ),
    path("accounts/sessions", pages.sessions, name="usersessions_list"),
    path("accounts/sessions/<str:session>/end", pages.session_end, name="usersessions_end"),
    path("accounts/profile", pages.profile, name="account"),
    path("accounts/delete", pages.account_delete, name="account-delete"),
    # Staff, and whoever sits at the machine
    path("-/components", pages.components, name="components"),
    path("-/mail", pages.mailbox, name="mailbox"),
    path("-/mail/<str:name>", pages.letter, name="letter"),
    path("-/engines", console_pages.engines, name="engines"),
    path("-/engines/<slug:act>/<str:target>", console_pages.engine_act, name="engine-act"),
    path("-/refunds", refund_pages.refunds, name="refunds"),
    path("-/refunds/<str:prediction_id>", refund_pages.refund, name="refund"),
    path("-/books", book_pages.books, name="books"),
    path("-/books/run", book_pages.books_run, name="books-run"),
    path("-/books/event", book_pages.books_event, name="books-event"),
    path("-/metrics", console_pages.metrics, name="metrics"),
    path("-/payouts", payout_pages.console, name="payouts-console"),
    path("-/payouts/act", payout_pages.console_act, name="payouts-console-act"),
    # What Stripe tells
    path("stripe/webhook", stripe_pages.webhook, name="stripe-webhook"),
    # The API
    path("api/v1/models", api.Models.as_view(), name="api-models"),
    path("api/v1/models/<slug:publisher>/<slug:name>", api.Model.as_view(), name="api-model"),
    path(
        "api/v1/models/<slug:publisher>/<slug:name>/schema",
        api.ModelSchema.as_view(),
        name="api-model-schema",
    ),
    path("api/v1/quotes", api.Quotes.as_view(), name="api-quotes"),
    path("api/v1/predictions", api.Predictions.as_view(), name="api-predictions"),
    path("api/v1/predictions/<str:prediction_id>", api.Prediction.as_view(), name="api-prediction"),
    path("api/v1/predictions/<str:prediction_id>/events", api.Events.as_view(), name="api-prediction-events"),
    path("api/v1/predictions/<str:prediction_id>/cancel", api.Cancel.as_view(), name="api-prediction-cancel"),
    path("api/v1/balance", api.Balance.as_view(), name="api-balance"),
    path("api/v1/billing", api_billing.Billing.as_view(), name="api-billing"),
    path("api/v1/billing/topups", api_billing.TopUps.as_view(), name="api-topups"),
    path("api/v1/billing/topups/<str:topup_id>", api_billing.TopUp.as_view(), name="api-topup"),
    path("api/v1/publishers", api_publishers.Publishers.as_view(), name="api-publishers"),
    path("api/v1/publishers/<slug:publisher>", api_publishers.Publisher.as_view(), name="api-publisher"),
    path(
        "api/v1/publishers/<slug:publisher>/earnings", api_publishers.Earnings.as_view(), name="api-earnings"
    ),
    path(
        "api/v1/publishers/<slug:publisher>/statements",
        api_publishers.Statements.as_view(),
        name="api-statements",
    ),
    path(
        "api/v1/publishers/<slug:publisher>/statements/<str:month>",
        api_publishers.Statement.as_view(),
        name="api-statement",
    ),
    path("api/v1/publishers/<slug:publisher>/payouts", api_payouts.Payouts.as_view(), name="api-payouts"),
    path(
        "api/v1/publishers/<slug:publisher>/payouts/<str:payout_id>",
        api_payouts.Payout.as_view(),
        name="api-payout",
    ),
    path("api/v1/key", api_keys.CallingKey.as_view(), name="api-key"),
    path("api/v1/keys", api_keys.Keys.as_view(), name="api-keys"),
    path("api/v1/keys/<str:key_id>", api_keys.Key.as_view(), name="api-key-one"),
    path("api/v1/keys/<str:key_id>/rotate", api_keys.RotateKey.as_view(), name="api-key-rotate"),
    path("api/v1/limits", api_limits.Limits.as_view(), name="api-limits"),
    path("api/v1/limits/<str:limit_id>", api_limits.Limit.as_view(), name="api-limit"),
    path("api/v1/usage", api_usage.Usage.as_view(), name="api-usage"),
    path("api/v1/usage.csv", api_usage.UsageCsv.as_view(), name="api-usage-csv"),
    path("api/v1/receipts", api_usage.Receipts.as_view(), name="api-receipts"),
    path("api/v1/receipts/<str:prediction_id>", api_usage.Receipt.as_view(), name="api-receipt"),
    path("api/v1/invoices", api_invoices.Invoices.as_view(), name="api-invoices"),
    path("api/v1/invoices/<str:month>", api_invoices.Invoice.as_view(), name="api-invoice"),
    path("api/v1/invoices/<str:month>/pdf", api_invoices.InvoicePdf.as_view(), name="api-invoice-pdf"),
    path("api/v1/assets", api_media.Assets.as_view(), name="api-assets"),
    path("api/v1/assets/uploads", api_media.Uploads.as_view(), name="api-uploads"),
    path("api/v1/assets/uploads/<str:upload_id>", api_media.Upload.as_view(), name="api-upload"),
    path(
        "api/v1/assets/uploads/<str:upload_id>/parts/<int:number>",
        api_media.UploadPart.as_view(),
        name="api-upload-part",
    ),
    path(
        "api/v1/assets/uploads/<str:upload_id>/complete",
        api_media.CompleteUpload.as_view(),
        name="api-upload-complete",
    ),
    path("api/v1/assets/<str:asset_id>", api_media.Asset.as_view(), name="api-asset"),
    path("api/v1/workspace", api.Workspace.as_view(), name="api-workspace"),
    path("api/v1/openapi.json", api.OpenApi.as_view(), name="openapi"),
    path("api/v1/webhooks", api_webhooks.Webhooks.as_view(), name="api-webhooks"),
    path("api/v1/webhooks/request-secret", api_webhooks.RequestSecret.as_view(), name="api-request-secret"),
    path("api/v1/webhooks/<str:webhook_id>", api_webhooks.Webhook.as_view(), name="api-webhook"),
    path("api/v1/webhooks/<str:webhook_id>/rotate", api_webhooks.Rotate.as_view(), name="api-webhook-rotate"),
    path("api/v1/webhooks/<str:webhook_id>/test", api_webhooks.Test.as_view(), name="api-webhook-test"),
    path(
        "api/v1/webhooks/<str:webhook_id>/deliveries",
        api_webhooks.Deliveries.as_view(),
        name="api-deliveries",
    ),
    path(
        "api/v1/webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/redeliver",
        api_webhooks.Redeliver.as_view(),
        name="api-redeliver",
    ),
    # The protocols of others: each has its own page of addresses, see `playground.facades`
    *routes(),
]
