"""An argument parser whose errors say what was expected, what was found and what may be meant."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from seedlab.errors import ConfigurationError, nearest


class Parser(argparse.ArgumentParser):
    """Raises ConfigurationError where argparse would print the usage and exit the process."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigurationError with the message and a usage of one line, as --help lists the options."""
        positionals = " ".join(_shown(each) for each in self._actions if not each.option_strings)
        usage = f"usage: {self.prog} [OPTION]… {positionals}".rstrip()
        raise ConfigurationError(f"{message.removeprefix('argument ')}\n{usage}; see {self.prog} --help")

    def refuse(self, unknown: Sequence[str], command: str | None) -> NoReturn:
        """Raise ConfigurationError for the first unknown argument, with the command's nearest option."""
        parser = self._commands().get(command or "", self)
        name = next((each for each in unknown if each.startswith("-")), None)
        if name is None:
            parser.error(f"unexpected argument '{unknown[0]}'")
        option = name.partition("=")[0]
        parser.error(f"unknown option '{option}'{nearest(option, parser._option_string_actions)}")

    def _commands(self) -> dict[str, Parser]:
        actions = (each for each in self._actions if isinstance(each, argparse._SubParsersAction))
        return {name: parser for each in actions for name, parser in each.choices.items()}

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        meant = nearest(str(value), map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown command '{value}'{meant}")
        expected = ", ".join(map(str, action.choices))
        raise argparse.ArgumentError(action, f"expected one of {expected}, found '{value}'{meant}")


def _shown(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else "|".join(map(str, action.choices or ()))
    return f"[{name}]" if action.nargs == "?" else name
