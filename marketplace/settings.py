"""Every setting of Vitrine, by environment variable. Development, tests and production differ by environment only.

| variable | default | meaning |
|---|---|---|
| VITRINE_LANES | cpu:2; cpu with a GPU or below 8 GB | lanes that `manage.py dev` runs engines for, and how many |
| VITRINE_DATA | var/ | data of the one-machine install: embedded servers, media, mail, keys, logs |
| HOST, PORT | 127.0.0.1, 8000 | where the web process listens |
| TLS_PORT, CONNECT_PORT | 8443, 8444; 0: none | where `manage.py dev` takes clients that insist on https |
| PUBLIC_URL | http://HOST:PORT | the address people use; links in mails, and to media, start with it |
| DATABASE_URL | embedded PostgreSQL | postgres://user:password@host:port/name; a pooler only in session mode |
| REDIS_URL | embedded Redis | redis://, rediss:// or unix:// |
| CELERY_BROKER_URL | REDIS_URL | the Celery broker; amqp:// works too |
| SECRET_KEY | made once under keys/ | signs sessions and media addresses |
| WEBHOOK_SEEDS | made once under keys/ | Ed25519 seeds of fal webhooks, 64 hex digits each, by comma; the first signs |
| ALLOWED_HOSTS | loopback names and HOST | comma-separated host names |
| DEBUG | 0 | Django's debug pages |
| MEDIA_BUCKET, MEDIA_ENDPOINT | - | an S3-compatible bucket for media instead of the folder; needs the extra `s3` |
| MAX_BODY_BYTES | 10485760 | largest request body, but for those that hold files |
| BODY_ROOM_BYTES | 268435456 | bytes of bodies in a web process at once; a caller or a form with files has a quarter |
| MAX_UPLOAD_BYTES | 536870912 | largest file that can be uploaded |
| UPLOAD_QUOTA_BYTES | 10737418240 | bytes of uploads that a workspace may keep |
| UPLOAD_DAYS | 7 | days until an upload expires, from its last use |
| OUTBOUND_PRIVATE | - | loopback: requests to addresses that users name (input URLs, webhooks) may reach this machine |
| LEDGER_BOOK | test; live with a live key | the book that money is written to: test or live |
| STRIPE_SECRET_KEY | - | sk_test_… or sk_live_… of Stripe; without one, money is play money of the sandbox |
| STRIPE_WEBHOOK_SECRET | made for the sandbox | whsec_… of Stripe's webhook endpoints, comma-separated |
| STRIPE_SANDBOX | 1 without a key | the play Stripe of this site; 0: without a key nothing is bought and nobody paid |
| STRIPE_SANDBOX_URL | http://HOST:PORT | where our own processes reach this site, for the sandbox and its webhooks |
| OUTPUT_DAYS, INPUT_DAYS | 30, 30 | days until an output expires, and until the input of a run is forgotten |
| FREE_CANCELS_PER_DAY | 20 | running predictions a workspace may cancel a day without a charge |
| ENGINE_THREADS | number of cores | torch threads of an engine; fewer while others compute on the same machine |
| ENGINE_MEMORY_MB | half of the memory, 4/5 by several, 9/10 of a GPU's | for resident models and their runs |
| ENGINE_PARKING_MB | 0 | of the machine's memory, for weights that wait there to come back to a GPU |
| ENGINE_DRAIN_SECONDS | 5 | in which a stopped engine may finish a run; a longer one goes back to the queue |
| ENGINE_FAMILIES | - | a folder with more engine families, one Python file each |
| STARTER_CREDIT_MICROS | 5000000 | credit of a newcomer's own workspace, in micro-dollars; granted once to a person |
| STARTER_CREDITS_PER_DAY | 200 | newcomers that are given it in a day of UTC, later ones the day after; 0 is no limit |
| STARTER_CREDITS_PER_NETWORK | 5 | of them, from one IPv4 address or IPv6 /64 but this machine's; 0 is no limit |
| MAX_OPEN_RUNS | 5000 | runs that a workspace may have open at once, queued or running; 0 is no limit |
| GRANTED_OPEN_RUNS | 0 | the same while it has no bought credit; 0 is as MAX_OPEN_RUNS |
| SIGNUP_OPEN | 1 | anybody may make an account; 0: only who was invited to a workspace |
| SIGNUPS_PER_DAY | 20 | accounts that may be made from one IPv4 address or IPv6 /64 a day; 0 is no limit |
| EMAIL_URL | files under mail/ | smtp://user:password@host:port (STARTTLS unless ?tls=0), smtps:// or file:///folder |
| EMAIL_FROM | Vitrine at PUBLIC_URL's host | the sender of mails |
| EMAIL_VERIFICATION | optional; mandatory with smtp | must newcomers prove their address before they are let in |
| TRUSTED_PROXIES | 0 | proxies in front, whose X-Forwarded-For tells where a visitor comes from |
| TOPUP_LEAST_MICROS, TOPUP_MOST_MICROS | 5000000, 2000000000 | credit that is bought at once, in micro-dollars |
| STRIPE_TAX | 0 | Stripe works out tax on the payment page and adds it; nothing is bought by itself then |
| STRIPE_TAX_CODE | - | what credit is to the tax office, txcd_…; without it Stripe's default |
| REFUND_DAYS | 14 | days in which a buyer may take unspent credit back; 0: through the operator only |
| PUBLISHER_SHARE_PERCENT | 80 | what new publishers get of each charge; `manage.py payouts share` changes one's |
| PUBLISHER_TERMS_URL | - | the operator's own terms for publishers, linked where one becomes one |
| PAYOUT_METHODS | stripe | how publishers are paid, comma-separated: stripe, manual (the operator pays, and says so) |
| PAYOUT_DELAY_DAYS | 7 | days until what was earned can be paid out |
| PAYOUT_DAY | 1 | the day of the month, 1 to 28, of automatic payouts |
| PAYOUT_LEAST_MICROS | 10000000 | the smallest payout, in micro-dollars |
| LOW_BALANCE_MICROS | 500000 | below which a workspace is warned until it sets a threshold of its own; 0 is never |
| PUBLISHER_REFUNDS_MICROS | 50000000 | what a publisher may give back a day; beyond it the operator does |
| INVOICE_FROM | Vitrine at PUBLIC_URL's host | who issues invoices: name; address; tax number, a line each |
| API_REQUESTS_PER_MINUTE | 6000 | API requests a key may send a minute; 0 is no limit |
| DB_POOL_SIZE | 20 | PostgreSQL connections per process at most |
| ADAPTERS_MB | 4096 | disk for the files of adapters beside an engine |
| WEIGHTS_DIR | workers/weights | folder that recipes name their weights in |
| METRICS_TOKEN | - | who sends it after `Authorization: Bearer` may read /-/metrics from elsewhere |
| LOG_LEVEL | INFO | least level that is logged |
"""

from __future__ import annotations

import hmac
import logging
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from marketplace.host.places import Places

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def env_int(name: str, default: int, *, least: int = 0) -> int:
    text = env(name)
    try:
        number = int(text) if text else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {text!r}") from None
    if number < least:
        raise ImproperlyConfigured(f"{name} must be at least {least}, not {number}")
    return number


def env_bool(name: str, *, default: bool = False) -> bool:
    text = env(name).lower()
    if text not in {"", "0", "1", "true", "false", "yes", "no"}:
        raise ImproperlyConfigured(f"{name} must be 1 or 0, not {text!r}")
    return default if not text else text in {"1", "true", "yes"}


def database(url: str) -> dict[str, Any]:
    """Django's settings for a `postgres://` address; a `host` in the query may be a socket folder."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must start with postgres://")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    host = options.pop("host", "") or unquote(parts.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "DISABLE_SERVER_SIDE_CURSORS": True,
        # Persistent connections leak one per request thread under ASGI; the pool does not.
        "CONN_MAX_AGE": 0,
        # One more round trip per connection taken, so that a restart of the server fails no request after it.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **options,
            # Statements that repeat are planned once for each connection.
            "server_side_binding": True,
            "prepare_threshold": 5,
            "pool": {"min_size": 1, "max_size": env_int("DB_POOL_SIZE", 20, least=2), "timeout": 8},
        },
    }


def email(url: str) -> dict[str, Any]:
    """What an EMAIL_URL says, by the second half of Django's names; without one, files in a folder."""
    parts = urlsplit(url or places.mail.as_uri())
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return {"BACKEND": "marketplace.mail.Folder", "FOLDER": unquote(parts.path)}
    try:
        port, host = parts.port, parts.hostname
    except ValueError:
        port = host = None
    if parts.scheme not in {"smtp", "smtps"} or not host:
        raise ImproperlyConfigured("EMAIL_URL must be smtp://…, smtps://… or file:///folder")
    is_wrapped = parts.scheme == "smtps"
    return {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "HOST": host,
        "PORT": port or (465 if is_wrapped else 587),
        "HOST_USER": unquote(parts.username or ""),
        "HOST_PASSWORD": unquote(parts.password or ""),
        "USE_SSL": is_wrapped,
        "USE_TLS": not is_wrapped and dict(parse_qsl(parts.query)).get("tls", "1") != "0",
    }


places = Places.at(Path(env("VITRINE_DATA", str(BASE_DIR / "var"))))

HOST = env("HOST", "127.0.0.1")
PORT = env_int("PORT", 8000)
# Who listens everywhere is reached on this machine by the loopback name.
_reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(HOST, HOST)  # noqa: S104 - a comparison, no binding
_here = f"{f'[{_reachable}]' if ':' in _reachable else _reachable}:{PORT}"
PUBLIC_URL = env("PUBLIC_URL", f"http://{_here}").rstrip("/")
# Of `manage.py dev`, which tells those that it starts where it listens indeed. 0: there is none.
TLS_PORT = env_int("TLS_PORT", 0)
CONNECT_PORT = env_int("CONNECT_PORT", 0)

SECRET_KEY = env("SECRET_KEY") or places.secret("django")
WEBHOOK_SEEDS = [s.strip() for s in env("WEBHOOK_SEEDS").split(",") if s.strip()] or [
    places.secret("webhooks")
]
if not all(re.fullmatch("[0-9a-f]{64}", seed) for seed in WEBHOOK_SEEDS):
    raise ImproperlyConfigured("WEBHOOK_SEEDS must be 64 hex digits each, comma-separated")
DEBUG = env_bool("DEBUG")
ALLOWED_HOSTS = [h.strip() for h in env("ALLOWED_HOSTS").split(",") if h.strip()] or [
    "localhost",
    "127.0.0.1",
    "[::1]",
    *([] if HOST in {"127.0.0.1", "0.0.0.0", "::"} else [HOST]),  # noqa: S104 - a comparison, no binding
    *([urlsplit(PUBLIC_URL).hostname or ""] if env("PUBLIC_URL") else []),
]
# By these names fal's clients come, see `playground.facades.fal.hosts`; at none of them is there a page.
ALLOWED_HOSTS += [".fal.run", ".fal.ai", ".fal.media"]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if env("PUBLIC_URL") else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_HTTPONLY = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SESSION_COOKIE_SECURE else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "channels",
    "rest_framework",
    "marketplace",
    "billing",
    "billing.sandbox",
    "playground",
    "workers",
]

MIDDLEWARE = [
    "playground.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "playground.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "playground.middleware.WorkspaceMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "playground.pages.errors.MethodNotAllowedPage",
]

ROOT_URLCONF = "playground.urls"
ASGI_APPLICATION = "playground.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "playground.pages.context.page",
            ],
            "libraries": {"vitrine": "playground.pages.tags"},
        },
    }
]

DATABASES = {"default": database(env("DATABASE_URL") or places.postgres_url())}
REDIS_URL = env("REDIS_URL") or places.redis_url()
CELERY_BROKER_URL = env("CELERY_BROKER_URL") or env("REDIS_URL") or places.broker_url()

# What counts and remembers for all processes together: limits of sign-ins, mails and codes, codes that were used.
CACHES = {
    "default": {
        "BACKEND": "marketplace.cache.SharedCache",
        "LOCATION": [REDIS_URL],
        "KEY_PREFIX": "cache",
        "OPTIONS": {
            "serializer": "marketplace.cache.Json",
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
        },
    }
}

_email = email(env("EMAIL_URL"))
EMAIL_BACKEND: str = _email["BACKEND"]
MAIL_FOLDER = str(_email.get("FOLDER", ""))
EMAIL_HOST: str = _email.get("HOST", "localhost")
EMAIL_PORT: int = _email.get("PORT", 25)
EMAIL_HOST_USER: str = _email.get("HOST_USER", "")
EMAIL_HOST_PASSWORD: str = _email.get("HOST_PASSWORD", "")
EMAIL_USE_SSL: bool = _email.get("USE_SSL", False)
EMAIL_USE_TLS: bool = _email.get("USE_TLS", False)
EMAIL_TIMEOUT = 10
MAIL_IS_FILED = bool(MAIL_FOLDER)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = (
    env("EMAIL_FROM") or f"Vitrine <no-reply@{urlsplit(PUBLIC_URL).hostname or 'localhost'}>"
)

AUTH_USER_MODEL = "marketplace.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
CSRF_FAILURE_VIEW = "playground.pages.errors.csrf_failure"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "gallery"
LOGOUT_REDIRECT_URL = "gallery"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
]

SIGNUP_OPEN = env_bool("SIGNUP_OPEN", default=True)
SIGNUPS_PER_DAY = env_int("SIGNUPS_PER_DAY", 20)
ACCOUNT_ADAPTER = "playground.pages.adapter.Accounts"
ACCOUNT_FORMS = {"login": "playground.pages.sign_in.SignIn", "signup": "playground.pages.sign_in.SignUp"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_EMAIL_VERIFICATION = env("EMAIL_VERIFICATION", "optional" if MAIL_IS_FILED else "mandatory")
if ACCOUNT_EMAIL_VERIFICATION not in {"optional", "mandatory"}:
    raise ImproperlyConfigured("EMAIL_VERIFICATION must be optional or mandatory")
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_CHANGE_EMAIL = True  # one address for a person; the old one stays until the new one is proved
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = urlsplit(PUBLIC_URL).scheme
# Wrong passwords are counted by `playground.pages.attempts`, as a limit for each e-mail address alone would let any
# stranger lock its owner out. Second factors are counted there too.
ACCOUNT_RATE_LIMITS = {"login_failed": None}
ALLAUTH_TRUSTED_PROXY_COUNT = env_int("TRUSTED_PROXIES", 0)
# No passkeys. The content security policy would let them be: their data stand in the page as JSON, which it takes for
# no script. But browsers make passkeys for a domain name only, and what `make run` opens is the address 127.0.0.1: they
# could neither be used nor seen to work on one machine; and an installation that moves takes everybody's passkeys away.
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_ADAPTER = "playground.pages.adapter.SecondFactors"
MFA_FORMS = {
    "authenticate": "playground.pages.sign_in.SecondFactor",
    "reauthenticate": "playground.pages.sign_in.SecondFactorAgain",
}
MFA_TOTP_ISSUER = "Vitrine"
MFA_TOTP_TOLERANCE = 1  # steps of half a minute by which a phone's clock may be wrong

MEDIA_BUCKET = env("MEDIA_BUCKET")
MEDIA_ROOT = places.media
_media = urlsplit(env("MEDIA_ENDPOINT") or f"https://{MEDIA_BUCKET}.s3.amazonaws.com")
MEDIA_ORIGIN = f"{_media.scheme}://{_media.netloc}" if MEDIA_BUCKET else ""
STORAGES: dict[str, dict[str, Any]] = {
    "default": (
        {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": MEDIA_BUCKET,
                "endpoint_url": env("MEDIA_ENDPOINT") or None,
                "file_overwrite": False,
                "querystring_auth": True,
                "max_memory_size": 2**20,  # of a file that is read; the rest of it waits on the disk
            },
        }
        if MEDIA_BUCKET
        else {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": MEDIA_ROOT}}
    ),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = places.root / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]

MAX_BODY_BYTES = env_int("MAX_BODY_BYTES", 10 * 1024 * 1024, least=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
BODY_ROOM_BYTES = env_int("BODY_ROOM_BYTES", max(256 * 1024 * 1024, 4 * MAX_BODY_BYTES), least=MAX_BODY_BYTES)

MAX_UPLOAD_BYTES = env_int("MAX_UPLOAD_BYTES", 512 * 1024 * 1024)
UPLOAD_QUOTA_BYTES = env_int("UPLOAD_QUOTA_BYTES", 10 * 1024**3)
UPLOAD_DAYS = env_int("UPLOAD_DAYS", 7)

OUTBOUND_PRIVATE = env("OUTBOUND_PRIVATE")
if OUTBOUND_PRIVATE not in {"", "loopback"}:
    raise ImproperlyConfigured("OUTBOUND_PRIVATE must be loopback or nothing")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["playground.api.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["playground.api.authentication.HasWorkspace"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "playground.api.problems.handler",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": ["playground.api.openapi.finish"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SORT_OPERATIONS": False,  # as in the map of the site
}

STRIPE_SECRET_KEY = env("STRIPE_SECRET_KEY")
if STRIPE_SECRET_KEY and not STRIPE_SECRET_KEY.startswith(("sk_test_", "rk_test_", "sk_live_", "rk_live_")):
    raise ImproperlyConfigured("STRIPE_SECRET_KEY must start with sk_test_, rk_test_, sk_live_ or rk_live_")
STRIPE_IS_LIVE = STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))
LEDGER_BOOK = env("LEDGER_BOOK", "live" if STRIPE_IS_LIVE else "test")
if LEDGER_BOOK not in {"test", "live"}:
    raise ImproperlyConfigured("LEDGER_BOOK must be test or live")
if STRIPE_SECRET_KEY and (LEDGER_BOOK == "live") != STRIPE_IS_LIVE:
    raise ImproperlyConfigured(
        "Real and play money never share a book: LEDGER_BOOK must be as STRIPE_SECRET_KEY is"
    )
STRIPE_SANDBOX = env_bool("STRIPE_SANDBOX", default=not STRIPE_SECRET_KEY and LEDGER_BOOK == "test")
if STRIPE_SANDBOX and LEDGER_BOOK == "live":
    raise ImproperlyConfigured(
        "STRIPE_SANDBOX sells play money: it must be 0 with a live key or the live book"
    )
STRIPE_SANDBOX_URL = env("STRIPE_SANDBOX_URL", f"http://{_here}").rstrip("/")
STRIPE_WEBHOOK_SECRETS = [one.strip() for one in env("STRIPE_WEBHOOK_SECRET").split(",") if one.strip()]
if STRIPE_SANDBOX:
    # Every process knows them without being told; nobody else does, though the sandbox is open to the network.
    STRIPE_SECRET_KEY = (
        f"sk_test_sandbox{hmac.digest(SECRET_KEY.encode(), b'sandbox key', 'sha256').hex()[:48]}"
    )
    _signing = hmac.digest(SECRET_KEY.encode(), b"sandbox webhooks", "sha256").hex()
    STRIPE_WEBHOOK_SECRETS = [*STRIPE_WEBHOOK_SECRETS, f"whsec_{_signing}"]
    # Our own processes ask under that name, which the site's visitors may not know.
    _near = urlsplit(STRIPE_SANDBOX_URL).hostname or ""
    ALLOWED_HOSTS = [*ALLOWED_HOSTS, f"[{_near}]" if ":" in _near else _near]

OUTPUT_DAYS = env_int("OUTPUT_DAYS", 30, least=1)
INPUT_DAYS = env_int("INPUT_DAYS", 30, least=1)
FREE_CANCELS_PER_DAY = env_int("FREE_CANCELS_PER_DAY", 20)
STARTER_CREDIT_MICROS = env_int("STARTER_CREDIT_MICROS", 5_000_000)
STARTER_CREDITS_PER_DAY = env_int("STARTER_CREDITS_PER_DAY", 200)
STARTER_CREDITS_PER_NETWORK = env_int("STARTER_CREDITS_PER_NETWORK", 5)
MAX_OPEN_RUNS = env_int("MAX_OPEN_RUNS", 5000)
GRANTED_OPEN_RUNS = env_int("GRANTED_OPEN_RUNS", 0)
TOPUP_LEAST_MICROS = env_int("TOPUP_LEAST_MICROS", 5_000_000, least=500_000)  # Stripe charges no less
TOPUP_MOST_MICROS = env_int("TOPUP_MOST_MICROS", 2_000_000_000, least=TOPUP_LEAST_MICROS)
STRIPE_TAX = env_bool("STRIPE_TAX")
STRIPE_TAX_CODE = env("STRIPE_TAX_CODE")
REFUND_DAYS = env_int("REFUND_DAYS", 14)
PUBLISHER_SHARE_PERCENT = env_int("PUBLISHER_SHARE_PERCENT", 80)
if PUBLISHER_SHARE_PERCENT > 100:
    raise ImproperlyConfigured("PUBLISHER_SHARE_PERCENT must be 0 to 100")
PUBLISHER_TERMS_URL = env("PUBLISHER_TERMS_URL")
if PUBLISHER_TERMS_URL and not PUBLISHER_TERMS_URL.startswith(("https://", "http://", "/")):
    raise ImproperlyConfigured("PUBLISHER_TERMS_URL must be an http(s) address or a path of this site")
PAYOUT_METHODS = [one.strip() for one in env("PAYOUT_METHODS", "stripe").split(",") if one.strip()]
if not set(PAYOUT_METHODS) <= {"stripe", "manual"}:
    raise ImproperlyConfigured("PAYOUT_METHODS must be stripe, manual or both")
PAYOUT_DELAY_DAYS = env_int("PAYOUT_DELAY_DAYS", 7)
PAYOUT_DAY = env_int("PAYOUT_DAY", 1, least=1)
if PAYOUT_DAY > 28:
    raise ImproperlyConfigured("PAYOUT_DAY must be 1 to 28: not every month has more days")
PAYOUT_LEAST_MICROS = env_int("PAYOUT_LEAST_MICROS", 10_000_000, least=10_000)
LOW_BALANCE_MICROS = env_int("LOW_BALANCE_MICROS", 500_000)
INVOICE_FROM = env("INVOICE_FROM", f"Vitrine at {urlsplit(PUBLIC_URL).hostname}")
PUBLISHER_REFUNDS_MICROS = env_int("PUBLISHER_REFUNDS_MICROS", 50_000_000)
API_REQUESTS_PER_MINUTE = env_int("API_REQUESTS_PER_MINUTE", 6000)
METRICS_TOKEN = env("METRICS_TOKEN")
ENGINE_THREADS = env_int("ENGINE_THREADS", os.cpu_count() or 1, least=1)
ENGINE_MEMORY_MB = env_int("ENGINE_MEMORY_MB", 0)  # 0: the engine looks at its device
ENGINE_PARKING_MB = env_int("ENGINE_PARKING_MB", 0)
CORES_DIR = places.run / "cores"  # where the engines of this machine see which of them compute now
ADAPTERS_DIR = places.root / "adapters"
# What torch compiled, for the next start. By itself it takes a folder in /tmp that anybody could have made before, and
# believes what lies there.
COMPILED_DIR = places.root / "compiled"
ADAPTERS_MB = env_int("ADAPTERS_MB", 4096)
ENGINE_DRAIN_SECONDS = env_int("ENGINE_DRAIN_SECONDS", 5)
ENGINE_FAMILIES = Path(env("ENGINE_FAMILIES")) if env("ENGINE_FAMILIES") else None
if ENGINE_FAMILIES is not None and not ENGINE_FAMILIES.is_dir():
    raise ImproperlyConfigured("ENGINE_FAMILIES must be a folder")
WEIGHTS_DIR = Path(env("WEIGHTS_DIR", str(BASE_DIR / "workers" / "weights")))

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """What of Django's line about an answer in the five hundreds is logged: 501 is a sentence to who asked for what is
    not here, no error; 504 is said of every run that goes on, mostly to the edge, which then waits for its end."""
    status = getattr(record, "status_code", None)
    if status == 501:
        record.levelno, record.levelname = logging.INFO, "INFO"
    return status != 504 and logging.getLogger().isEnabledFor(record.levelno)


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"worth": {"()": "django.utils.log.CallbackFilter", "callback": is_worth_a_line}},
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", "INFO")},
    "loggers": {
        "daphne": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
        "django.request": {"level": "ERROR", "filters": ["worth"]},
        # Anybody may send another Host, and is told so: no line of ours, and no trace of the stack.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "django.security.TooManyFieldsSent": {"level": "CRITICAL"},
        "httpx": {"level": "WARNING"},
        "stripe": {"level": "WARNING"},
    },
}
