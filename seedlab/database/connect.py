"""URLs in, targets and open sessions out. The only place where a URL is taken apart, or made."""

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
    from seedlab.database.activity import Activity

_SECRETS = ("password", "sslpassword", "passfile")
# libpq's own grammar: the user ends at the first : or @, `#` means nothing, hosts may be several.
_LIBPQ = re.compile(
    r"[^:]+://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?(?P<hosts>[^/?]*)"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)
# What Prisma puts into its URLs for its own pool; libpq refuses to connect with them.
_PRISMAS = ("connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size")
_PLACE = ("host", "hostaddr", "port")
_ENCRYPTION = ("sslmode", "sslnegotiation", "gssencmode", "channel_binding")
_PORT = re.compile(r":[0-9]*$")
_BROKEN_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})|%00")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTarget(Target):
    """A target whose connections outlive a run: those that nobody uses now, by URL and label."""

    idle: dict[tuple[str, str], Any] = field(repr=False, compare=False)


@contextmanager
def kept(target: Target) -> Iterator[KeptTarget]:
    """Keep the connection that a session gives back for the next one; close it at the end.

    A file is opened in no time: of SQLite nothing is kept.
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
    """Understand a database URL: `postgresql://…` (any libpq URI) or `sqlite:///FILE`.

    A driver (`postgresql+psycopg://`) is accepted and ignored. A relative SQLite path is taken from the
    current directory, or from `root`. Raises ConfigurationError; the message never holds the URL's password.
    """
    scheme = url.partition("://")[0].partition("+")[0].lower()
    if "://" in url and scheme in ("postgresql", "postgres"):
        return _postgres(url, origin, name, environment)
    if "://" in url and scheme == "sqlite":
        return _sqlite(url, origin, name, environment, root)
    raise ConfigurationError(
        f"the database URL from {origin} begins with '{scheme[:20]}'; "
        "expected postgresql://USER@HOST/DATABASE or sqlite:///FILE"
    )


def open_session(target: Target, settings: Settings, recorder: Recorder, label: str) -> Session:
    """Connect. `label` becomes the connection's application_name; raises ConnectionFailed."""
    return opener(target)(target, settings, recorder, label)


def opener(target: Target) -> Callable[[Target, Settings, Recorder, str], Session]:
    """Give what opens sessions of the target's dialect; only that is imported.

    psycopg costs 90 ms, which a SQLite target need not pay, and the other way round.
    """
    if target.dialect == "sqlite":
        from seedlab.database.sqlite import open_sqlite

        return lambda target, settings, recorder, _: open_sqlite(target, settings, recorder)
    from seedlab.database.driver import know_version

    know_version()
    from seedlab.database.postgres import open_postgres

    return open_postgres


def open_activity(target: Target, label: str) -> Activity | None:
    """Connect beside a session to look at what the server does for the connections of that name.

    None where there is no server. Raises ConnectionFailed.
    """
    if target.dialect == "sqlite":
        return None
    from seedlab.database.activity import Activity

    return Activity(target, label)


def url_of(target: Target) -> str:
    """Spell how to connect, as every tool understands it; with the password, if there is one."""
    return target.url if target.dialect == "postgresql" else f"sqlite:///{target.url}"


def beside(target: Target, database: str) -> Target:
    """Give another PostgreSQL database of the same server, reached in the same way."""
    return replace(
        target,
        url=_renamed(target.url, database),
        shown=_renamed(target.shown, database),
        database=database,
    )


def redirected(url: str, host: str, port: int) -> str:
    """Lead a PostgreSQL URL to another host, or a socket's folder; all else stays as it is."""
    parts = _parts(url)
    here = host.startswith("/")
    place = [f"host={quote(host)}", f"port={port}"] if here else []
    path = url[parts.end("hosts") :].partition("?")[0]
    options = _options(parts, _PLACE, *place)
    return f"{url[: parts.start('hosts')]}{'' if here else f'{host}:{port}'}{path}{options}"


def unencrypted(url: str, password: str | None) -> str:
    """Let a PostgreSQL URL connect without TLS, and with this password."""
    parts = _parts(url)
    secret = f":{quote(password, safe='')}" if password else ""
    login = f"{parts['user']}{secret}@" if parts["user"] else ""
    return f"postgresql://{login}{parts['hosts']}/{parts['database'] or ''}{_options(parts, _ENCRYPTION)}"


def _renamed(url: str, database: str) -> str:
    """Put another database into a URL, also where it was an option (`?dbname=`)."""
    parts = _parts(url)
    return f"{url[: parts.end('hosts')]}/{quote(database, safe='')}{_options(parts, ('dbname',))}"


def _parts(url: str) -> re.Match[str]:
    parts = _LIBPQ.fullmatch(url)
    assert parts is not None, "a target's URL was understood before"
    return parts


def _options(parts: re.Match[str], without: Collection[str], *more: str) -> str:
    """The options of a URL but for some, spelled as they were."""
    given = [each for each in (parts["query"] or "").split("&") if each]
    kept = [*(each for each in given if each.partition("=")[0] not in without), *more]
    return f"?{'&'.join(kept)}" if kept else ""


def _postgres(url: str, origin: str, name: str | None, environment: str | None) -> Target:
    parts = _LIBPQ.fullmatch(url)
    if parts is None or _BROKEN_PERCENT.search(url) or "@" in f"{parts['hosts']}{parts['database']}":
        raise ConfigurationError(
            f"the database URL from {origin} is malformed; expected postgresql://USER:PASSWORD@HOST/DATABASE "
            "with special characters percent-encoded (@ is %40, / is %2F, % is %25)"
        )
    options = parse_qsl(parts["query"] or "", keep_blank_values=True)
    given = dict(options)
    if given.keys() & {"schema", *_PRISMAS}:
        _refuse_schema(given.get("schema", "public"), origin)
        rest = url.removesuffix(f"?{parts['query']}") + _options(parts, ("schema", *_PRISMAS))
        return _postgres(rest, origin, name, environment)
    # Where the connection really goes: libpq takes an address before any name, also from its variables.
    address = given.get("hostaddr") or os.environ.get("PGHOSTADDR")
    hosts = address or given.get("host") or _names(parts["hosts"])
    user = unquote(parts["user"] or "")
    kept = urlencode([(key, value) for key, value in options if key not in _SECRETS], safe="/")
    login = f"{quote(user)}@" if user else ""
    database = parts["database"] or ""
    path = "" if parts["database"] is None else f"/{database}"
    return Target(
        dialect="postgresql",
        url=f"postgresql{url[url.index('://') :]}",
        shown=f"postgresql://{login}{parts['hosts']}{path}{'?' if kept else ''}{kept}",
        host="" if hosts.startswith("/") else hosts,
        database=given.get("dbname") or unquote(database) or user,
        origin=origin,
        name=name,
        environment=environment,
    )


def _refuse_schema(schema: str, origin: str) -> None:
    """`schema=public` in a URL of Prisma's is what everybody else takes for granted; another one is not."""
    if schema != "public":
        raise ConfigurationError(
            f"the database URL from {origin} has schema={schema}, which only Prisma knows; take it out, and "
            f"call the files {schema}.TABLE, or give the role that search_path"
        )


def _names(hosts: str) -> str:
    """Host names without ports, or what libpq would take where the URL names none."""
    named = [_PORT.sub("", unquote(each)).strip("[]") for each in hosts.split(",")]
    default = os.environ.get("PGHOST", "")
    return ",".join(each or default for each in named)


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
