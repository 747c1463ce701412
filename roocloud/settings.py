"""Settings, all of them from the environment. docs/configuration.md has the table."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import django_stubs_ext
from celery.schedules import crontab
from csp.constants import NONCE, NONE, SELF
from environs import FileAwareEnv
from marshmallow.validate import ContainsOnly, OneOf, Range, Regexp
from whitenoise.compress import Compressor

from roocloud.local_secrets import load_or_make

django_stubs_ext.monkeypatch()  # generic admin classes and managers, also at run time

env = FileAwareEnv()

BASE_DIR = Path(__file__).resolve().parent.parent

# --- The deployment ---------------------------------------------------------------------------
ROOCLOUD_MODE = env.str("ROOCLOUD_MODE", "embedded", validate=OneOf(["embedded", "production"]))
PRODUCTION = ROOCLOUD_MODE == "production"
ROOCLOUD_DATA_DIR = env.path("ROOCLOUD_DATA_DIR", BASE_DIR / "data").absolute()
HOST = env.str("HOST", "127.0.0.1")
PORT = env.int("PORT", 3000, validate=Range(1, 65535))
#: How long requests under way may go on at SIGTERM.
ROOCLOUD_DRAIN_S = env.int("ROOCLOUD_DRAIN_S", 30 if PRODUCTION else 5, validate=Range(0, 3600))
ROOCLOUD_PUBLIC_URL = env.str("ROOCLOUD_PUBLIC_URL", f"http://localhost:{PORT}").rstrip("/")
_public = urlsplit(ROOCLOUD_PUBLIC_URL)

DEBUG = env.bool("ROOCLOUD_DEBUG", False)
_made = {} if PRODUCTION else load_or_make(ROOCLOUD_DATA_DIR)
#: "unset" is not a key: production refuses it together with whatever else is unsafe.
SECRET_KEY = env.str("ROOCLOUD_SECRET_KEY", _made.get("secret_key", "unset"))
#: The first seals; the others still open (roocloud.lib.crypto).
ROOCLOUD_FIELD_KEYS = env.list("ROOCLOUD_FIELD_KEYS", [_made["field_key"]] if _made else [])
ALLOWED_HOSTS = env.list(
    "ROOCLOUD_ALLOWED_HOSTS",
    [_public.hostname or "localhost", "localhost", "127.0.0.1", "[::1]"],
)
ROOCLOUD_TRUSTED_PROXIES = env.int("ROOCLOUD_TRUSTED_PROXIES", 0, validate=Range(0, 5))

#: The first administrator; made at the first start of the embedded deployment.
ROOCLOUD_ADMIN_EMAIL = env.str("ROOCLOUD_ADMIN_EMAIL", "")
ROOCLOUD_ADMIN_PASSWORD = env.str("ROOCLOUD_ADMIN_PASSWORD", "")

# --- Names on the wire and on pages -----------------------------------------------------------
ROOCLOUD_PRODUCT_NAME = env.str("ROOCLOUD_PRODUCT_NAME", "Roo Cloud")
#: URI schemes of editors and what people call them. A sign-in returns to one of these schemes …
ROOCLOUD_EDITORS = env.dict(
    "ROOCLOUD_EDITORS",
    {
        "vscode": "VS Code",
        "vscode-insiders": "VS Code Insiders",
        "vscodium": "VSCodium",
        "vscodium-insiders": "VSCodium Insiders",
        "code-oss": "Code - OSS",
        "cursor": "Cursor",
        "windsurf": "Windsurf",
        "trae": "Trae",
        "trae-cn": "Trae CN",
        "kiro": "Kiro",
        "positron": "Positron",
    },
)
#: … and to one of these extensions, as ``publisher.name``.
ROOCLOUD_EDITOR_EXTENSIONS = env.list(
    "ROOCLOUD_EDITOR_EXTENSIONS",
    ["RooVeterinaryInc.roo-cline", "RooVeterinaryInc.roo-code-nightly"],
)
ROOCLOUD_EDITOR_CALLBACK_PATH = env.str("ROOCLOUD_EDITOR_CALLBACK_PATH", "/auth/clerk/callback")
ROOCLOUD_TOKEN_ISSUER = env.str("ROOCLOUD_TOKEN_ISSUER", "rcc")
#: What the secret of a new API key begins with, before an underscore.
ROOCLOUD_API_KEY_PREFIX = env.str(
    "ROOCLOUD_API_KEY_PREFIX", "rk", validate=Regexp(r"^[A-Za-z][A-Za-z0-9-]{1,15}$")
)
ROOCLOUD_TICKET_LIFETIME = env.timedelta("ROOCLOUD_TICKET_LIFETIME_S", timedelta(seconds=60))

# --- Applications -----------------------------------------------------------------------------
INSTALLED_APPS = [
    *(["daphne"] if DEBUG else []),  # for `runserver` alone, and costs memory
    "roocloud.apps.RooCloudConfig",
    "roocloud.apps.RooCloudAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "django_linear_migrations",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "audit",
    "accounts",
    "notifications",
    "orgs",
    "credits",
    "tasks_sharing",
    "proxy",
    "telemetry",
    "bridge",
]
FIRST_PARTY_APPS = [
    "audit",
    "accounts",
    "notifications",
    "orgs",
    "credits",
    "tasks_sharing",
    "proxy",
    "telemetry",
    "bridge",
]

MIDDLEWARE = [
    "roocloud.middleware.confidential",
    "roocloud.middleware.request_id",
    "roocloud.middleware.json_errors",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "roocloud.middleware.storable_cookies",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "roocloud.middleware.leave_by_page",
    "roocloud.middleware.refusals",
]

ROOT_URLCONF = "roocloud.urls"
ASGI_APPLICATION = "roocloud.asgi.application"
APPEND_SLASH = False  # a redirect would turn a client's POST into a GET (trap 22)

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
                "csp.context_processors.nonce",
                "roocloud.context.product",
            ],
        },
    },
]

FORM_RENDERER = "django.forms.renderers.TemplatesSetting"  # so that templates/django/forms counts

# --- Data -------------------------------------------------------------------------------------
DATABASES = {
    "default": env.dj_db_url("DATABASE_URL", f"sqlite:///{ROOCLOUD_DATA_DIR / 'roocloud.sqlite3'}")
}
_suffix = env.str("PYTEST_DB_SUFFIX", "")
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
        # Otherwise REPLACE deletes rows without firing the triggers of append-only tables (C1).
        " PRAGMA recursive_triggers=ON;",
    }
    DATABASES["default"]["TEST"] = {
        "NAME": str(ROOCLOUD_DATA_DIR / f"test{_suffix}.sqlite3"),
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 2, "max_size": 20, "timeout": 10}}
    DATABASES["default"]["TEST"] = {"NAME": f"test_roocloud{_suffix}"}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", "")
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "roocloud",
        }
    }
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            # redis-py gives up reading after 5 s; an idle subscription must not.
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}]},
        }
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# --- Jobs -------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {} if REDIS_URL else {"polling_interval": 0.05}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_ALWAYS_EAGER = env.bool("ROOCLOUD_JOBS_EAGER", False)
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "orgs-delete-due": {
        "task": "orgs.tasks.delete_due",
        "schedule": timedelta(minutes=10),
    },
    "audit-link": {"task": "audit.tasks.link", "schedule": timedelta(seconds=10)},
    "audit-verify": {"task": "audit.tasks.verify", "schedule": crontab(hour=3, minute=0)},
    "orgs-recheck-domains": {
        "task": "orgs.tasks.recheck_domains",
        "schedule": crontab(hour=3, minute=50),
    },
    "proxy-settle-orphans": {
        "task": "proxy.tasks.settle_orphans",
        "schedule": timedelta(seconds=30),
    },
    "proxy-forget-idempotency-keys": {
        "task": "proxy.tasks.forget_idempotency_keys",
        "schedule": crontab(minute=40),
    },
    "proxy-forget-transcripts": {
        "task": "proxy.tasks.forget_transcripts",
        "schedule": crontab(minute=50),
    },
    "telemetry-resend-backfills": {
        "task": "telemetry.tasks.resend_backfills",
        "schedule": timedelta(minutes=1),
    },
    "telemetry-purge-backfills": {
        "task": "telemetry.tasks.purge_backfills",
        "schedule": crontab(hour=3, minute=10),
    },
    "tasks-resume-imports": {
        "task": "tasks_sharing.tasks.resume_imports",
        "schedule": timedelta(minutes=1),
    },
    "tasks-index-due": {
        "task": "tasks_sharing.tasks.index_due",
        "schedule": timedelta(minutes=1),
    },
    "tasks-forget-unused-images": {
        "task": "tasks_sharing.tasks.forget_unused_images",
        "schedule": crontab(hour=3, minute=20),
    },
    "tasks-forget-share-views": {
        "task": "tasks_sharing.tasks.forget_share_views",
        "schedule": crontab(hour=3, minute=30),
    },
    "roocloud-sign-of-life": {
        "task": "roocloud.tasks.sign_of_life",
        "schedule": timedelta(seconds=30),
    },
    "accounts-erase-due": {
        "task": "accounts.tasks.erase_due",
        "schedule": crontab(minute=20),
    },
    "notifications-deliver-due": {
        "task": "notifications.tasks.deliver_due",
        "schedule": timedelta(seconds=30),
    },
    "notifications-forget": {
        "task": "notifications.tasks.forget",
        "schedule": crontab(hour=3, minute=50),
    },
    "bridge-forget": {
        "task": "bridge.tasks.forget",
        "schedule": crontab(hour=3, minute=40),
    },
}
ROOCLOUD_DB_THREADS = env.int("ROOCLOUD_DB_THREADS", 12, validate=Range(1, 64))

# --- People -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ROOCLOUD_SIGNUP = env.str(
    "ROOCLOUD_SIGNUP", "closed", validate=OneOf(["open", "invitation", "closed"])
)
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SIGNUP_FORM_CLASS = "accounts.forms.SignUpForm"
ACCOUNT_EMAIL_VERIFICATION = env.str(
    "ROOCLOUD_EMAIL_VERIFICATION", "optional", validate=OneOf(["mandatory", "optional"])
)
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = ACCOUNT_EMAIL_VERIFICATION == "mandatory"
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_EMAIL_NOTIFICATIONS = True  # a changed password, address or second factor is told by mail
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = f"[{ROOCLOUD_PRODUCT_NAME}] "
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _public.scheme or "http"
SOCIALACCOUNT_ADAPTER = "accounts.adapter.SocialAccountAdapter"
#: Providers whose word about a verified address signs in to the account of that address.
_trusted: list[str] = env.list(
    "ROOCLOUD_TRUSTED_PROVIDERS", [], validate=ContainsOnly(["github", "google", "oidc"])
)
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
#: Sign-in by another provider is switched on by naming its client. The routes of GitHub and Google
#: exist only then; those of OpenID Connect name the provider and do not know any other.
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, list[dict[str, object]]]] = {}
for _provider in ("github", "google"):
    _prefix = f"ROOCLOUD_{_provider.upper()}_CLIENT"
    if _client := env.str(f"{_prefix}_ID", ""):
        INSTALLED_APPS.append(f"allauth.socialaccount.providers.{_provider}")
        SOCIALACCOUNT_PROVIDERS[_provider] = {
            "APPS": [
                {
                    "client_id": _client,
                    "secret": env.str(f"{_prefix}_SECRET", ""),
                    "settings": {"email_authentication": _provider in _trusted},
                }
            ]
        }
_issuer = env.str("ROOCLOUD_OIDC_ISSUER", "").rstrip("/")
if _issuer and (_client := env.str("ROOCLOUD_OIDC_CLIENT_ID", "")):
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {
        "APPS": [
            {
                "provider_id": "oidc",
                "name": env.str("ROOCLOUD_OIDC_NAME", "Single sign-on"),
                "client_id": _client,
                "secret": env.str("ROOCLOUD_OIDC_CLIENT_SECRET", ""),
                "settings": {"server_url": _issuer, "email_authentication": "oidc" in _trusted},
            }
        ]
    }
MFA_ADAPTER = "accounts.adapter.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION  # http://localhost counts as secure in browsers
MFA_TOTP_ISSUER = ROOCLOUD_PRODUCT_NAME
#: Whether the administration opens only to who has shown a second factor (L4). Production does so.
ROOCLOUD_STAFF_MFA = PRODUCTION or env.bool(
    "ROOCLOUD_STAFF_MFA", HOST not in ("127.0.0.1", "::1", "localhost")
)
USERSESSIONS_TRACK_ACTIVITY = True
ALLAUTH_TRUSTED_PROXY_COUNT = ROOCLOUD_TRUSTED_PROXIES

_mail = env.dj_email_url("EMAIL_URL", "console://")
EMAIL_BACKEND = _mail["EMAIL_BACKEND"]
EMAIL_HOST = _mail.get("EMAIL_HOST", "")
EMAIL_PORT = _mail.get("EMAIL_PORT", 25)
EMAIL_HOST_USER = _mail.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = _mail.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = _mail.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _mail.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str(
    "ROOCLOUD_MAIL_FROM", f"{ROOCLOUD_PRODUCT_NAME} <no-reply@{_public.hostname or 'localhost'}>"
)
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --- Transport security -----------------------------------------------------------------------
_https = _public.scheme == "https"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ROOCLOUD_TRUSTED_PROXIES else None
SECURE_SSL_REDIRECT = False  # the reverse proxy's work; a redirect would lose a client's POST
SILENCED_SYSTEM_CHECKS = [
    "security.W008",  # see SECURE_SSL_REDIRECT
    "security.W021",  # preloading is the decision of who owns the domain
]
SECURE_HSTS_SECONDS = env.int("ROOCLOUD_HSTS_S", 31536000 if PRODUCTION and _https else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("ROOCLOUD_HSTS_SUBDOMAINS", False)
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_NAME = "roocloud_session"
CSRF_COOKIE_NAME = "roocloud_csrf"
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_TRUSTED_ORIGINS = [ROOCLOUD_PUBLIC_URL]
CSRF_FAILURE_VIEW = "roocloud.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "worker-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
#: Networks beside the public internet that outbound connections may reach (K1), such as a model
#: server in the same network.
ROOCLOUD_INTERNAL_NETWORKS = env.list(
    "ROOCLOUD_INTERNAL_NETWORKS", [] if PRODUCTION else ["127.0.0.0/8", "::1/128"]
)

# --- Models -----------------------------------------------------------------------------------
#: An OpenAI-compatible server to begin with; more are added in the admin or by create_upstream.
ROOCLOUD_UPSTREAM_BASE_URL = env.str("ROOCLOUD_UPSTREAM_BASE_URL", "").rstrip("/")
ROOCLOUD_UPSTREAM_API_KEY = env.str("ROOCLOUD_UPSTREAM_API_KEY", "")
#: The longest that one completion may take.
ROOCLOUD_COMPLETION_LIFETIME = env.timedelta("ROOCLOUD_COMPLETION_LIFETIME_S", timedelta(hours=1))
#: How long the answer to a request with an Idempotency-Key is kept, encrypted.
ROOCLOUD_IDEMPOTENCY_KEEP = timedelta(
    hours=env.int("ROOCLOUD_IDEMPOTENCY_HOURS", 24, validate=Range(1, 168))
)

#: Payments by card at Stripe: both, or there are none.
ROOCLOUD_STRIPE_SECRET_KEY = env.str("ROOCLOUD_STRIPE_SECRET_KEY", "")
ROOCLOUD_STRIPE_WEBHOOK_SECRET = env.str("ROOCLOUD_STRIPE_WEBHOOK_SECRET", "")

# --- Limits -----------------------------------------------------------------------------------
_MIB = 2**20
#: Bytes; enforced per path by roocloud.asgi, which counts while it reads.
ROOCLOUD_BODY_LIMIT = env.int("ROOCLOUD_BODY_LIMIT", 2 * _MIB)
ROOCLOUD_EVENT_BODY_LIMIT = env.int("ROOCLOUD_EVENT_BODY_LIMIT", 25 * _MIB)
ROOCLOUD_BACKFILL_BODY_LIMIT = env.int("ROOCLOUD_BACKFILL_BODY_LIMIT", 100 * _MIB)
ROOCLOUD_COMPLETION_BODY_LIMIT = env.int("ROOCLOUD_COMPLETION_BODY_LIMIT", 100 * _MIB)
ROOCLOUD_IMPORT_BODY_LIMIT = env.int("ROOCLOUD_IMPORT_BODY_LIMIT", 512 * _MIB)
#: Bytes: of one file of a task; of all files of an archive that are read, unpacked; of the list of
#: contents of an archive.
ROOCLOUD_IMPORT_FILE_LIMIT = env.int("ROOCLOUD_IMPORT_FILE_LIMIT", 100 * _MIB)
ROOCLOUD_IMPORT_UNPACKED_LIMIT = env.int("ROOCLOUD_IMPORT_UNPACKED_LIMIT", 8192 * _MIB)
ROOCLOUD_IMPORT_LISTING_LIMIT = env.int("ROOCLOUD_IMPORT_LISTING_LIMIT", 16 * _MIB)
#: How long uploaded conversations are kept after they were stored, to be replayed from the admin.
ROOCLOUD_BACKFILL_KEEP = timedelta(days=env.int("ROOCLOUD_BACKFILL_KEEP_DAYS", 7))
#: How long an organization that is to be deleted waits, for an owner to think better of it.
ROOCLOUD_DELETION_WAIT = timedelta(
    days=env.int("ROOCLOUD_DELETION_WAIT_DAYS", 14, validate=Range(1, 365))
)
#: How long the access log of a share link goes back.
ROOCLOUD_SHARE_VIEWS_KEEP = timedelta(
    days=env.int("ROOCLOUD_SHARE_VIEWS_KEEP_DAYS", 90, validate=Range(1, 3650))
)
#: A TrueType font for the pictures of public links, as a path; one that comes with Pillow if empty.
ROOCLOUD_PREVIEW_FONT = env.str("ROOCLOUD_PREVIEW_FONT", "")
DATA_UPLOAD_MAX_MEMORY_SIZE = 100 * _MIB
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

#: Pages of tasks that one person may follow at the same time; one that nobody looks at counts not.
ROOCLOUD_LIVE_STREAMS = env.int("ROOCLOUD_LIVE_STREAMS", 20, validate=Range(1, 1000))

#: Sockets of remote control that one person, and one address, may hold in one process.
ROOCLOUD_BRIDGE_SOCKETS_OF_ONE = env.int(
    "ROOCLOUD_BRIDGE_SOCKETS_OF_ONE", 200, validate=Range(1, 100_000)
)
ROOCLOUD_BRIDGE_SOCKETS_FROM_ONE = env.int(
    "ROOCLOUD_BRIDGE_SOCKETS_FROM_ONE", 1_000, validate=Range(1, 100_000)
)
#: Commands that wait for one paired device, and bytes of what one says.
ROOCLOUD_DEVICE_QUEUE = env.int("ROOCLOUD_DEVICE_QUEUE", 1_000, validate=Range(1, 100_000))
ROOCLOUD_DEVICE_PAYLOAD_LIMIT = env.int(
    "ROOCLOUD_DEVICE_PAYLOAD_LIMIT", _MIB, validate=Range(1, 50 * _MIB)
)
#: How old a web sign-in may be that sends commands to editors.
ROOCLOUD_COMMAND_SIGN_IN = env.timedelta("ROOCLOUD_COMMAND_SIGN_IN_S", timedelta(days=7))

#: Completions: requests and input tokens a minute, and how many at once. Zero means no limit. A
#: burst of half a minute's worth may come at once.
ROOCLOUD_LIMITS = {
    "member": {
        "requests": env.int("ROOCLOUD_LIMIT_MEMBER_REQUESTS", 300),
        "tokens": env.int("ROOCLOUD_LIMIT_MEMBER_TOKENS", 20_000_000),
        "at_once": env.int("ROOCLOUD_LIMIT_MEMBER_AT_ONCE", 50),
    },
    "key": {
        "requests": env.int("ROOCLOUD_LIMIT_KEY_REQUESTS", 300),
        "tokens": env.int("ROOCLOUD_LIMIT_KEY_TOKENS", 20_000_000),
        "at_once": env.int("ROOCLOUD_LIMIT_KEY_AT_ONCE", 50),
    },
    "organization": {
        "requests": env.int("ROOCLOUD_LIMIT_ORGANIZATION_REQUESTS", 6_000),
        "tokens": env.int("ROOCLOUD_LIMIT_ORGANIZATION_TOKENS", 400_000_000),
        "at_once": env.int("ROOCLOUD_LIMIT_ORGANIZATION_AT_ONCE", 1_000),
    },
}

# --- API --------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],  # views declare theirs
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "roocloud.negotiation.AlwaysJson",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "roocloud.errors.api_exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": f"{ROOCLOUD_PRODUCT_NAME} API",
    "DESCRIPTION": "What editors, the command line and scripts call.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SECURITY": [{"bearer": []}],
    "APPEND_COMPONENTS": {
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "roocloud.openapi.add_completions",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- Static files and language ----------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = env.path("ROOCLOUD_STATIC_ROOT", ROOCLOUD_DATA_DIR / "static")
if not PRODUCTION:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # empty; the finders serve the files
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(ROOCLOUD_DATA_DIR / "files")},
    },
    "staticfiles": {
        # Production serves hashed, compressed copies made by collectstatic; the embedded deployment
        # serves the files where they lie, so that it starts without that step.
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION
# Nothing links to a file by its plain name, and no visitor loads a source map: neither is
# compressed.
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = [*Compressor.SKIP_COMPRESS_EXTENSIONS, "map"]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

# --- Operations -------------------------------------------------------------------------------
#: The bearer that opens /metrics; empty: requests from and to loopback alone.
ROOCLOUD_METRICS_TOKEN = env.str("ROOCLOUD_METRICS_TOKEN", "")

# --- Logs -------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "roocloud.logs.JsonFormatter"},
        "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "filters": {
        "without_secrets": {"()": "roocloud.logs.WithoutSecrets"},
        "without_faults_of_clients": {"()": "roocloud.logs.WithoutFaultsOfClients"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["without_secrets"],
            "formatter": "json" if PRODUCTION else "text",
        }
    },
    "root": {"handlers": ["stderr"], "level": env.str("ROOCLOUD_LOG_LEVEL", "INFO")},
    "loggers": {
        "django.server": {"handlers": ["stderr"], "propagate": False},
        "celery": {"level": "WARNING"},
        "kombu": {"level": "ERROR"},
        "aiohttp": {"level": "WARNING"},
        "uvicorn.error": {
            "level": "WARNING",  # below, it writes down the URLs of sockets (I1)
            "filters": ["without_faults_of_clients"],
        },
        "botocore": {"level": "INFO"},  # below, it writes down the session tokens that it signs
    },
}
