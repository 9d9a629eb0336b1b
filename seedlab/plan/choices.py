"""Chooses the settings, target and environment of a run from flags, variables and the project file.

Pure: the caller passes the environment variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import LEVELS, SWITCHES, Commit, Environment, Project, Settings, TargetConfig
from seedlab.plan.configuration import nearest_or_all

_T = TypeVar("_T")

DASK = "dask://"  # the scheme of an executor that is a scheduler of Dask distributed
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
    """The chosen database, and the flag, variable or entry that chose it; `url` is None if embedded."""

    url: str | None
    origin: str
    name: str | None = None
    environment: str | None = None

    def __repr__(self) -> str:  # the url may hold a password
        return f"TargetChoice(origin={self.origin!r}, name={self.name!r}, environment={self.environment!r})"


@dataclass(frozen=True, slots=True)
class _Setting:
    """A setting: its field in Settings, what values are valid, and how text is converted.

    `words` are the valid words, if the setting has such.
    """

    field: str
    expected: str
    is_valid: Callable[[Any], bool]
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
    """Return the value of a setting if it is valid, else raise ConfigurationError with what was expected."""
    setting = SETTINGS[name]
    if not setting.is_valid(value):
        raise ConfigurationError(
            f"expected {setting.expected}, found {_spelled(value)}{_nearest_word(setting, value)}"
        )
    return frozenset(value) if isinstance(value, list | tuple | set) else value


def settings(project: Project, flags: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Choose each setting: from its flag, else its SEEDLAB_* variable, else the project file, else default.

    `flags` has the names of `[settings]` (`level`, `disable`, …); None means that a flag was not given.
    Raises ConfigurationError for an unknown name or an invalid value.
    """
    if unknown := [name for name in flags if name not in SETTINGS]:
        raise ConfigurationError(f"unknown setting '{unknown[0]}'{nearest(unknown[0], SETTINGS)}")
    chosen: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, setting in SETTINGS.items():
        raw, origin = _raw_setting(project, name, flags.get(name), environ.get(f"SEEDLAB_{name.upper()}"))
        origins[setting.field] = origin
        if raw is not None:
            chosen[setting.field] = _converted(name, raw, origin)
    return Settings(**chosen, origins=origins)


def environment(project: Project, name: str) -> Environment:
    """Look up an environment by its name. Raises ConfigurationError if the project has none of that name."""
    if name not in project.environments:
        hint = nearest_or_all(name, project.environments)
        raise ConfigurationError(f"unknown environment '{name}'{hint}")
    return project.environments[name]


def choose_target(
    project: Project, *, database_url: str | None, target: str | None, environ: Mapping[str, str]
) -> TargetChoice:
    """Choose the database: the first that is given, in this order.

    `--database-url`, `--target`, SEEDLAB_DATABASE_URL, DATABASE_URL, `[targets.default]`, else embedded.
    """
    if database_url:
        return TargetChoice(url=database_url, origin="--database-url")
    if target:
        return _choice_of(_target_config(project, target), f"--target {target}", environ)
    for variable in ("SEEDLAB_DATABASE_URL", "DATABASE_URL"):
        if environ.get(variable):
            return TargetChoice(url=environ[variable], origin=variable)
    if "default" in project.targets:
        return _choice_of(project.targets["default"], "[targets.default]", environ)
    return TargetChoice(url=None, origin="embedded")


def choose_environment(
    project: Project, flag: str | None, environ: Mapping[str, str], choice: TargetChoice
) -> Environment:
    """Choose the environment: `--env`, else SEEDLAB_ENV, else the target's, else development.

    If the target's own environment is protected, so is the chosen one, whatever `--env` says.
    """
    name = flag or environ.get("SEEDLAB_ENV") or choice.environment or "development"
    chosen = environment(project, name)
    guarded = choice.environment is not None and environment(project, choice.environment).protected
    return replace(chosen, protected=chosen.protected or guarded)


def choose_commit(value: str | None) -> Commit:
    """Check the value of `--commit` or SEEDLAB_COMMIT; None means "run"."""
    return _one_of("--commit", value, _COMMITS)


def choose_executor(value: str | None) -> str | None:
    """Check the value of `--executor` or SEEDLAB_EXECUTOR: `dask://HOST:PORT`, or None."""
    host, colon, port = (value or "").removeprefix(DASK).rpartition(":")
    if value is not None and not (value.startswith(DASK) and host and colon and port.isdecimal()):
        raise ConfigurationError(f"--executor: expected {DASK}HOST:PORT, found {value!r}")
    return value


def refuse_forks(executor: object) -> None:
    """Raise ConfigurationError if an executor forks its workers: they would wait for locks that nobody frees.

    polars has threads, and a fork copies the locks that these hold, but not the threads.
    """
    context = getattr(executor, "_mp_context", None)  # of a ProcessPoolExecutor
    if context is not None and context.get_start_method() == "fork":
        raise ConfigurationError(
            "executor: expected worker processes that are spawned, found some that are forked, which would "
            "hang; make it with mp_context=multiprocessing.get_context('spawn')"
        )


def choose_rejects(value: str | None) -> bool:
    """Tell whether `--on-error` or SEEDLAB_ON_ERROR says to reject bad rows; None means "stop"."""
    return _one_of("--on-error", value, {"stop": False, "reject": True})


def _one_of(option: str, value: str | None, known: Mapping[str, _T]) -> _T:
    """Look up the value of an option's word; None stands for the first of `known`."""
    if value is None:
        return next(iter(known.values()))
    if value not in known:
        raise ConfigurationError(f"{option}: expected {' or '.join(known)}, found {value!r}")
    return known[value]


def _raw_setting(project: Project, name: str, flag: object, variable: str | None) -> tuple[object, str]:
    """Return a setting's value before it is checked, None if it is not given, and its origin."""
    if flag is not None and flag != ():
        return flag, f"--{name.replace('_', '-')}"
    if variable:
        return variable, f"SEEDLAB_{name.upper()}"
    if name in project.settings:
        return project.settings[name], project.config.name if project.config else "project"
    return None, "default"


def _converted(name: str, value: object, origin: str) -> object:
    from_file = not origin.startswith(("--", "SEEDLAB_"))
    try:
        return check_setting(name, value if from_file else _from_text(SETTINGS[name], value))
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {error.message}") from None


def _from_text(setting: _Setting, value: object) -> object:
    return setting.from_text(value.strip()) if isinstance(value, str) else value


def _spelled(value: object) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(repr, value))
    return repr(value)


def _nearest_word(setting: _Setting, value: object) -> str:
    words = value if isinstance(value, list | tuple) else [value]
    unknown = [word for word in words if isinstance(word, str) and word not in setting.words]
    return nearest(unknown[0], setting.words) if unknown else ""


def _target_config(project: Project, name: str) -> TargetConfig:
    if name not in project.targets:
        known = nearest_or_all(name, project.targets)
        none = f"; seedlab.toml has no targets: use --database-url, or add [targets.{name}] with a url"
        hint = known if project.targets else none
        raise ConfigurationError(f"--target: unknown target '{name}'{hint}")
    return project.targets[name]


def _choice_of(target: TargetConfig, origin: str, environ: Mapping[str, str]) -> TargetChoice:
    url = re.sub(r"\$\{([^}]*)\}", lambda match: _variable(target, match[1], environ), target.url)
    return TargetChoice(url=url, origin=origin, name=target.name, environment=target.environment)


def _variable(target: TargetConfig, name: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        place = target.place and replace(target.place, key=f"targets.{target.name}.url")
        raise ConfigurationError(f"the variable {name} is not set; set it, or choose another target", place)
    return environ[name]
