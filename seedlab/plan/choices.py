"""What is chosen for one run: settings, target, environment. Pure: the caller brings the variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import LEVELS, SWITCHES, Commit, Environment, Project, Settings, TargetConfig
from seedlab.plan.configuration import nearest_or_all

_T = TypeVar("_T")

DASK = "dask://"  # of an executor that is a scheduler of Dask distributed
ISOLATIONS = ("read committed", "repeatable read", "serializable")
IDS = ("uuid8", "uuid5")
DURATION = r"^(0|[0-9]+(\.[0-9]+)?(us|ms|s|min|h|d))$"
_COMMITS: Mapping[str, Commit] = {"run": "run", "stage": "stage"}
ENVIRONMENTS: Mapping[str, Environment] = {
    "development": Environment(name="development"),
    "test": Environment(name="test"),
    "production": Environment(name="production", protected=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """Which database was chosen, and by what; `url` is None for the embedded server."""

    url: str | None
    origin: str
    name: str | None = None
    environment: str | None = None

    def __repr__(self) -> str:  # the url may hold a password
        return f"TargetChoice(origin={self.origin!r}, name={self.name!r}, environment={self.environment!r})"


@dataclass(frozen=True, slots=True)
class _Setting:
    """A setting: its field in Settings, what it may be (`words` to choose from), how text becomes one."""

    field: str
    expected: str
    fits: Callable[[Any], bool]
    from_text: Callable[[str], object] = str
    words: tuple[str, ...] = ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text) if word)


def _number(text: str) -> object:
    return int(text) if re.fullmatch(r"[0-9]+", text) else text


def _is_duration(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(DURATION, value) is not None


def _is_count(minimum: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _is_one_of(words: Iterable[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


def _are_switches(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(map(_is_one_of(SWITCHES), value))


def _choice(field: str, words: tuple[str, ...]) -> _Setting:
    return _Setting(field, f"one of {', '.join(words)}", _is_one_of(words), words=words)


def _duration(field: str) -> _Setting:
    return _Setting(field, 'a duration like "10s", "500ms", "5min", or "0" for no limit', _is_duration)


SETTINGS: Mapping[str, _Setting] = {
    "level": _choice("level", tuple(LEVELS)),
    "disable": _Setting("disabled", f"a list of {', '.join(SWITCHES)}", _are_switches, _words, SWITCHES),
    "isolation": _choice("isolation", ISOLATIONS),
    "statement_timeout": _duration("statement_timeout"),
    "lock_timeout": _duration("lock_timeout"),
    "batch_rows": _Setting("batch_rows", "an integer of at least 1", _is_count(1), _number),
    "workers": _Setting("workers", "an integer of at least 0 (0: one per core)", _is_count(0), _number),
    "ids": _choice("ids", IDS),
}


def check_setting(name: str, value: object) -> object:
    """Check the value of a setting; a ConfigurationError says what was expected."""
    setting = SETTINGS[name]
    if not setting.fits(value):
        raise ConfigurationError(
            f"expected {setting.expected}, found {_found(value)}{_nearest_word(setting, value)}"
        )
    return frozenset(value) if isinstance(value, list | tuple | set) else value


def settings(project: Project, flags: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Settle how the run is made: flag, else SEEDLAB_* variable, else the project's file, else default.

    `flags` goes by the names of `[settings]` (`level`, `disable`, …); None is a flag that was not given.
    """
    if unknown := [name for name in flags if name not in SETTINGS]:
        raise ConfigurationError(f"unknown setting '{unknown[0]}'{nearest(unknown[0], SETTINGS)}")
    chosen: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, setting in SETTINGS.items():
        value, origin = _chosen(project, name, flags.get(name), environ.get(f"SEEDLAB_{name.upper()}"))
        origins[setting.field] = origin
        if value is not None:
            chosen[setting.field] = _checked(name, value, origin)
    return Settings(**chosen, origins=origins)


def environment(project: Project, name: str) -> Environment:
    """Look up an environment by its name."""
    if name not in project.environments:
        hint = nearest_or_all(name, project.environments)
        raise ConfigurationError(f"unknown environment '{name}'{hint}")
    return project.environments[name]


def choose_target(
    project: Project, *, database_url: str | None, target: str | None, environ: Mapping[str, str]
) -> TargetChoice:
    """Choose the database: `--database-url`, `--target`, the two variables, `[targets.default]`, embedded."""
    if database_url:
        return TargetChoice(url=database_url, origin="--database-url")
    if target:
        return _configured(_target(project, target), f"--target {target}", environ)
    for variable in ("SEEDLAB_DATABASE_URL", "DATABASE_URL"):
        if environ.get(variable):
            return TargetChoice(url=environ[variable], origin=variable)
    if "default" in project.targets:
        return _configured(project.targets["default"], "[targets.default]", environ)
    return TargetChoice(url=None, origin="embedded")


def choose_environment(
    project: Project, flag: str | None, environ: Mapping[str, str], choice: TargetChoice
) -> Environment:
    """Choose the environment: `--env`, SEEDLAB_ENV, the target's own, development.

    A target whose own environment is protected stays so, whatever `--env` says.
    """
    name = flag or environ.get("SEEDLAB_ENV") or choice.environment or "development"
    chosen = environment(project, name)
    guarded = choice.environment is not None and environment(project, choice.environment).protected
    return replace(chosen, protected=chosen.protected or guarded)


def choose_commit(given: str | None) -> Commit:
    """Check the word of `--commit` or SEEDLAB_COMMIT; None means "run"."""
    return _one_of("--commit", given, _COMMITS)


def choose_executor(given: str | None) -> str | None:
    """Check the word of `--executor` or SEEDLAB_EXECUTOR: `dask://HOST:PORT`, or None."""
    host, colon, port = (given or "").removeprefix(DASK).rpartition(":")
    if given is not None and not (given.startswith(DASK) and host and colon and port.isdecimal()):
        raise ConfigurationError(f"--executor: expected {DASK}HOST:PORT, found {given!r}")
    return given


def choose_rejects(given: str | None) -> bool:
    """Tell whether `--on-error` or SEEDLAB_ON_ERROR has bad rows rejected.

    None means that they stop the run.
    """
    return _one_of("--on-error", given, {"stop": False, "reject": True})


def _one_of(option: str, given: str | None, known: Mapping[str, _T]) -> _T:
    """Look up the value of an option's word; without one the first of `known` is taken."""
    if given is None:
        return next(iter(known.values()))
    if given not in known:
        raise ConfigurationError(f"{option}: expected {' or '.join(known)}, found {given!r}")
    return known[given]


def _chosen(project: Project, name: str, flag: object, variable: str | None) -> tuple[object, str]:
    if flag is not None and flag != ():
        return flag, f"--{name.replace('_', '-')}"
    if variable:
        return variable, f"SEEDLAB_{name.upper()}"
    if name in project.settings:
        return project.settings[name], project.config.name if project.config else "project"
    return None, "default"


def _checked(name: str, value: object, origin: str) -> object:
    from_file = not origin.startswith(("--", "SEEDLAB_"))
    try:
        return check_setting(name, value if from_file else _typed(SETTINGS[name], value))
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {error.message}") from None


def _typed(setting: _Setting, value: object) -> object:
    return setting.from_text(value.strip()) if isinstance(value, str) else value


def _found(value: object) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(repr, value))
    return repr(value)


def _nearest_word(setting: _Setting, value: object) -> str:
    words = value if isinstance(value, list | tuple) else [value]
    unknown = [word for word in words if isinstance(word, str) and word not in setting.words]
    return nearest(unknown[0], setting.words) if unknown else ""


def _target(project: Project, name: str) -> TargetConfig:
    if name not in project.targets:
        known = nearest_or_all(name, project.targets)
        none = f"; seedlab.toml names none: say --database-url, or give it [targets.{name}] with a url"
        hint = known if project.targets else none
        raise ConfigurationError(f"--target: unknown target '{name}'{hint}")
    return project.targets[name]


def _configured(target: TargetConfig, origin: str, environ: Mapping[str, str]) -> TargetChoice:
    url = re.sub(r"\$\{([^}]*)\}", lambda match: _variable(target, match[1], environ), target.url)
    return TargetChoice(url=url, origin=origin, name=target.name, environment=target.environment)


def _variable(target: TargetConfig, name: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        place = target.place and replace(target.place, key=f"targets.{target.name}.url")
        raise ConfigurationError(f"the variable {name} is not set; set it, or choose another target", place)
    return environ[name]
