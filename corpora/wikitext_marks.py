"""The characters that stand, between the steps of rendering wikitext, for what was taken out of a sentence.

The rule: none of them is in the text that comes in (controls are removed first) or in what goes out.
"""

import re

__all__ = ["CONTROLS", "FORMULA", "GAP", "NOTHING", "close_up"]

GAP = "\x01"  # something that belonged to the sentence and could not be rendered; counted
FORMULA = "\x02"  # the same, and counted even where it stands in a line of its own
NOTHING = "\x03"  # something that a reader does not miss: a pronunciation, a picture, a box
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def close_up(parts: list[str], text: str, position: int) -> None:
    """Takes the space off the end of `parts` that stood before a note, where punctuation follows the note."""
    if parts and parts[-1].endswith(" ") and text[position : position + 1] in (",", ".", ";", ":", ")", " "):
        parts[-1] = parts[-1][:-1]
