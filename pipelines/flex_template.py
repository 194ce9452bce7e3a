"""What a Dataflow Flex Template's launcher starts: its parameters become flags of a pipeline.

In: `--pipeline=NAME` and parameters as the launcher passes them, `--name=value` each. Out: the job, written to
`--template_location` for the launcher to submit. The rule: a parameter is a flag of ours with `_` for `-`, and
nothing else is translated, so deploy/dataflow/metadata.json and `--help` say the same.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence

from pipelines.cli import PIPELINES

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no", "")


def main(argv: list[str] | None = None) -> int:
    """Exit 0 the job is written, 1 the data is bad, 2 a parameter is wrong."""
    argv = sys.argv[1:] if argv is None else argv
    names = [one.partition("=")[2] for one in argv if one.startswith("--pipeline=")]
    if len(names) != 1 or names[0] not in PIPELINES:
        sys.stderr.write(f"flex template: parameter pipeline is one of {', '.join(PIPELINES)}\n")
        return 2
    module = importlib.import_module(f"pipelines.{names[0]}")
    try:
        flags = list(flags_of(argv, module.make_parser()))
    except ValueError as error:
        sys.stderr.write(f"flex template: {error}\n")
        return 2
    status: int = module.run(flags)
    return status


def flags_of(argv: Sequence[str], parser: argparse.ArgumentParser) -> Iterator[str]:
    """Flags for a pipeline's parser; options of Beam stay as they are. ValueError for a switch that is neither."""
    ours = {word: action for action in parser._actions for word in action.option_strings}
    for argument in argv:
        name, equals, value = argument.partition("=")
        flag = name.replace("_", "-")
        action = ours.get(flag)
        if name == "--pipeline" or (action is not None and equals and not value):
            continue  # an optional parameter that was left empty
        if action is None:
            yield argument
        elif action.nargs != 0:
            yield f"{flag}={value}"
        elif value.lower() in TRUE:
            yield flag
        elif value.lower() not in FALSE:
            raise ValueError(f"{name.removeprefix('--')} is {value!r}; it is true or false")


if __name__ == "__main__":
    sys.exit(main())
