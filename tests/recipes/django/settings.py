import os
from urllib.parse import parse_qs, unquote, urlsplit

SECRET_KEY = "only for tests"  # noqa: S105
INSTALLED_APPS = ["django.contrib.contenttypes", "school"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

_url = urlsplit(os.environ["DATABASE_URL"])
_options = {name: values[0] for name, values in parse_qs(_url.query).items()}
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _url.path[1:]}
    if _url.scheme == "sqlite"
    else {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(_url.path[1:]),
        "USER": unquote(_url.username or ""),
        "PASSWORD": unquote(_url.password or ""),
        "HOST": _options.get("host") or _url.hostname or "",
        "PORT": _options.get("port") or _url.port or "",
    }
}
