"""Parse database URLs into targets, and open sessions on targets.

This is the only module that parses or builds a database URL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from seedlab.database.writer import Session
from seedlab.errors import ConfigurationError
from seedlab.flow import Recorder, Settings, Target

if TYPE_CHECKING:
    from seedlab.database.postgres.activity import Activity

_SCHEME = re.compile(r"([a-zA-Z]+)(?:\+[^:]*)?://")
_SECRETS = ("password", "sslpassword", "passfile")
# libpq's own grammar, which is not urllib's: the user ends at the first `:` or `@`, `#` has no special
# meaning, and there may be several hosts.
_LIBPQ = re.compile(
    r"[^:]+://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?(?P<hosts>[^/?]*)"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)
# Options that Prisma puts into its URLs for its own connection pool; libpq refuses URLs with unknown options.
_PRISMA_OPTIONS = ("connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size")
_HOST_OPTIONS = ("host", "hostaddr", "port")
_ENCRYPTION_OPTIONS = ("sslmode", "sslnegotiation", "gssencmode", "channel_binding")
_PORT = re.compile(r":[0-9]*$")
_BROKEN_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})|%00")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTarget(Target):
    """A target whose connections are reused by later runs; `idle` has the unused ones by (URL, label)."""

    idle: dict[tuple[str, str], Any] = field(repr=False, compare=False)


@contextmanager
def keep_connections(target: Target) -> Iterator[KeptTarget]:
    """Reuse connections to the target within this context; close them at its end.

    SQLite connections are not kept, as opening a file costs next to nothing.
    """
    idle: dict[tuple[str, str], Any] = {}
    try:
        yield KeptTarget(**{each.name: getattr(target, each.name) for each in fields(Target)}, idle=idle)
    finally:
        for connection in idle.values():
            connection.close()


def parse_target(
    url: str,
    origin: str,
    *,
    name: str | None = None,
    environment: str | None = None,
    root: Path | None = None,
) -> Target:
    """Parse a database URL: `postgresql://…` (any libpq URI) or `sqlite:///FILE`.

    A driver in the scheme (`postgresql+psycopg://`) is accepted and ignored. A relative SQLite path is
    relative to `root`, or else to the current directory. `origin` says in messages where the URL comes from.
    Raises ConfigurationError, whose message never contains the URL's password.
    """
    # What precedes `://` only: a text without it may begin with a password.
    scheme = match[1].lower() if (match := _SCHEME.match(url)) else ""
    if scheme in ("postgresql", "postgres"):
        return _postgres(url, origin, name, environment)
    if scheme == "sqlite":
        return _sqlite(url, origin, name, environment, root)
    found = f"begins with '{scheme}://'" if scheme else "has no scheme"
    raise ConfigurationError(
        f"the database URL from {origin} {found}; expected postgresql://USER@HOST/DATABASE or sqlite:///FILE"
    )


def open_session(target: Target, settings: Settings, recorder: Recorder, label: str) -> Session:
    """Connect to the target; `label` becomes the application_name. Raises ConnectionFailed."""
    return opener(target)(target, settings, recorder, label)


def opener(target: Target) -> Callable[[Target, Settings, Recorder, str], Session]:
    """Import only the target's dialect, and return the function that opens its sessions.

    Importing psycopg takes 90 ms, which a SQLite target should not pay, and vice versa.
    """
    if target.dialect == "sqlite":
        from seedlab.database.sqlite.session import open_sqlite

        return lambda target, settings, recorder, _: open_sqlite(target, settings, recorder)
    from seedlab.database.postgres.driver import preload_version

    preload_version()
    from seedlab.database.postgres.session import open_postgres

    return open_postgres


def open_activity(target: Target, label: str) -> Activity | None:
    """Open a second connection that watches what the server does for the connections labelled `label`.

    None for SQLite, which has no server. Raises ConnectionFailed.
    """
    if target.dialect == "sqlite":
        return None
    from seedlab.database.postgres.activity import Activity

    return Activity(target, label)


def url_of(target: Target) -> str:
    """Return the target's URL as other tools accept it, including the password if there is one."""
    return target.url if target.dialect == "postgresql" else f"sqlite:///{target.url}"


def beside(target: Target, database: str) -> Target:
    """Return a target for another PostgreSQL database on the same server."""
    return replace(
        target,
        url=_renamed(target.url, database),
        shown=_renamed(target.shown, database),
        database=database,
    )


def redirected(url: str, host: str, port: int) -> str:
    """Replace host and port of a PostgreSQL URL; `host` may be the folder of a Unix socket."""
    parts = _parts(url)
    socket = host.startswith("/")
    host_options = [f"host={quote(host)}", f"port={port}"] if socket else []
    path = url[parts.end("hosts") :].partition("?")[0]
    options = _options(parts, _HOST_OPTIONS, *host_options)
    return f"{url[: parts.start('hosts')]}{'' if socket else f'{host}:{port}'}{path}{options}"


def unencrypted(url: str, password: str | None) -> str:
    """Remove the encryption options of a PostgreSQL URL, and set its password."""
    parts = _parts(url)
    secret = f":{quote(password, safe='')}" if password else ""
    login = f"{parts['user']}{secret}@" if parts["user"] else ""
    options = _options(parts, _ENCRYPTION_OPTIONS)
    return f"postgresql://{login}{parts['hosts']}/{parts['database'] or ''}{options}"


def _renamed(url: str, database: str) -> str:
    """Replace the database of a URL, whether it is in the path or in the option `dbname`."""
    parts = _parts(url)
    return f"{url[: parts.end('hosts')]}/{quote(database, safe='')}{_options(parts, ('dbname',))}"


def _parts(url: str) -> re.Match[str]:
    parts = _LIBPQ.fullmatch(url)
    assert parts is not None, "a target's URL was understood before"
    return parts


def _options(parts: re.Match[str], without: Collection[str], *more: str) -> str:
    """Return the query string of a URL without some options and with `more`; others keep their spelling."""
    options = [each for each in (parts["query"] or "").split("&") if each]
    options = [*(each for each in options if each.partition("=")[0] not in without), *more]
    return f"?{'&'.join(options)}" if options else ""


def _postgres(url: str, origin: str, name: str | None, environment: str | None) -> Target:
    parts = _LIBPQ.fullmatch(url)
    if parts is None or _BROKEN_PERCENT.search(url) or "@" in f"{parts['hosts']}{parts['database']}":
        raise ConfigurationError(
            f"the database URL from {origin} is malformed; expected postgresql://USER:PASSWORD@HOST/DATABASE "
            "with special characters percent-encoded (@ is %40, / is %2F, % is %25)"
        )
    options = parse_qsl(parts["query"] or "", keep_blank_values=True)
    values = dict(options)
    if values.keys() & {"schema", *_PRISMA_OPTIONS}:
        _refuse_schema(values.get("schema", "public"), origin)
        rest = url.removesuffix(f"?{parts['query']}") + _options(parts, ("schema", *_PRISMA_OPTIONS))
        return _postgres(rest, origin, name, environment)
    # The guards must know where the connection really goes: libpq prefers an address to any host name, and
    # reads it from an environment variable, too.
    address = values.get("hostaddr") or os.environ.get("PGHOSTADDR")
    hosts = address or values.get("host") or _host_names(parts["hosts"])
    user = unquote(parts["user"] or "")
    shown_options = urlencode([(key, value) for key, value in options if key not in _SECRETS], safe="/")
    login = f"{quote(user)}@" if user else ""
    database = parts["database"] or ""
    path = "" if parts["database"] is None else f"/{database}"
    return Target(
        dialect="postgresql",
        url=f"postgresql{url[url.index('://') :]}",
        shown=f"postgresql://{login}{parts['hosts']}{path}{'?' if shown_options else ''}{shown_options}",
        host="" if hosts.startswith("/") else hosts,
        database=values.get("dbname") or unquote(database) or user,
        origin=origin,
        name=name,
        environment=environment,
    )


def _refuse_schema(schema: str, origin: str) -> None:
    """Raise ConfigurationError for Prisma's option `schema`, unless it is the default, `public`."""
    if schema != "public":
        raise ConfigurationError(
            f"the database URL from {origin} has schema={schema}, which only Prisma knows; take it out, and "
            f"name the files {schema}.TABLE, or give the role that search_path"
        )


def _host_names(hosts: str) -> str:
    """Return the host names without ports; libpq's default for a host that is not named is PGHOST."""
    names = [_PORT.sub("", unquote(each)).strip("[]") for each in hosts.split(",")]
    default = os.environ.get("PGHOST", "")
    return ",".join(each or default for each in names)


def _sqlite(url: str, origin: str, name: str | None, environment: str | None, root: Path | None) -> Target:
    path = unquote(url.partition("://")[2].partition("?")[0])
    if not path.startswith("/") or path == "/":
        raise ConfigurationError(
            f"the database URL from {origin} names no file; expected sqlite:///FILE or sqlite:////ABSOLUTE/FILE"
        )
    file = Path(path[1:])
    full = file if file.is_absolute() else (root or Path.cwd()) / file
    return Target(
        dialect="sqlite",
        url=str(full),
        shown=f"sqlite:///{file}",
        host="",
        database=full.stem,
        origin=origin,
        name=name,
        environment=environment,
    )
