"""Flags from settings: every field of a recipe is a flag of the same name, with its unit and default in the help."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import NoReturn, get_type_hints

from trainer.parallel import rank_of_environment
from trainer.settings import Settings, Value, load_settings, nearest


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, once for all ranks, and exits 2."""

    def error(self, message: str) -> NoReturn:
        if rank_of_environment() == 0:
            sys.stderr.write(f"{self.prog}: {message} (see --help)\n")
        sys.exit(2)


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each field, in two groups; a flag that is not given leaves the recipe's value."""
    types = get_type_hints(Settings)
    groups = {
        True: parser.add_argument_group("recipe", "what the run computes; a resumed run must repeat them"),
        False: parser.add_argument_group("running", "may change from one resumption to the next"),
    }
    for field in dataclasses.fields(Settings):
        group, kind = groups[field.metadata["training"]], types[field.name]
        flag = "--" + field.name.replace("_", "-")
        text = f"{field.metadata['help']} (default: the recipe's, else {field.default})"
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
            continue
        choices = field.metadata.get("choices") or None
        metavar = None if choices else {int: "N", float: "X", str: "NAME"}[kind]
        group.add_argument(
            flag, type=kind, default=argparse.SUPPRESS, choices=choices, metavar=metavar, help=text.replace("%", "%%")
        )


def parse_flags(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags; for an unknown one the nearest known is named."""
    namespace, unknown = parser.parse_known_args(argv)
    if unknown:
        known = {flag: None for action in parser._actions for flag in action.option_strings}
        parser.error(f"there is no flag {unknown[0]}{nearest(unknown[0], known)}")
    return namespace


def settings_of_flags(namespace: argparse.Namespace) -> Settings:
    """The recipe's settings with those of the flags in their place; ValueError says what is wrong."""
    return load_settings(namespace.recipe, given_settings(namespace))


def given_settings(namespace: argparse.Namespace) -> dict[str, Value]:
    """The fields whose flags were given."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    return {name: value for name, value in vars(namespace).items() if name in fields}
