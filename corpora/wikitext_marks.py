"""The characters that stand, between the steps of rendering wikitext, for what was taken out of a sentence.

The rule: none of them is in the text that comes in (controls are removed first) or in what goes out.
"""

import re

__all__ = ["CONTROLS", "FORMULA", "GAP", "NOTHING"]

GAP = "\x01"  # something that belonged to the sentence and could not be rendered; counted
FORMULA = "\x02"  # the same, and counted even where it stands in a line of its own
NOTHING = "\x03"  # something that a reader does not miss: a note, a pronunciation, a mark of an editor
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
