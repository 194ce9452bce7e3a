"""Questions in the form of WSC273 and small tales that share words with them: `tiny_tales.txt` in, texts out.

A question is one sentence with a gap, twice, with a word changed so that the gap changes its owner. A tale strings some
of the happenings together, so that its words are those of the questions, as the stories of Trinh & Le (2018) are.
A block of the file has four lines: the question with `{}` for the word that changes, the two words, who the gap stands
for with each, and what happened. All of it is made up.
"""

from pathlib import Path
from typing import NamedTuple

from sample_articles import number, pick


class Schema(NamedTuple):
    """A pair of questions, and what happened, as a tale tells it."""

    question: str  # `{}` is the changing part
    parts: tuple[str, str]
    candidates: tuple[str, str]  # each is the answer of one of the pair
    happening: str


SOURCE = Path(__file__).with_suffix(".txt")
_OPENINGS = (
    "In the village under the hill there was a week in which everything happened, and this is how it began.",
    "My grandmother told this story with her knitting in her lap, and never dropped a stitch in it.",
    "Nobody in the lane would have believed it, if the whole lane had not been there.",
    "It was the last market day before the snow, and people had their minds on other things.",
    "There are two ways to tell what happened at the mill, and the other one is not true.",
    "When the new bell was hung, the old one was put in the yard, and after that nothing was quite right.",
)
_CLOSINGS = (
    "So that was the week, and when it was over they swept the yard and were sorry.",
    "You may ask who had the key in the end. My grandmother always said that this was another story.",
    "And if the snow has not melted, they are sitting there still, and the kettle is on.",
    "That is all there is of it; but there are people who still walk round that corner on their toes.",
)
N_HAPPENINGS = 7  # of a tale


class Tale(NamedTuple):
    """A small story."""

    title: str
    paragraphs: tuple[str, ...]


def read_schemas() -> list[Schema]:
    """What the file holds, in its order."""
    schemas = []
    for block in SOURCE.read_text(encoding="utf-8").strip().split("\n\n"):
        question, parts, candidates, happening = block.split("\n")
        first, second = parts.split("; ")
        one, other = candidates.split("; ")
        schemas.append(Schema(question, (first, second), (one, other), happening))
    return schemas


def write_questions() -> str:
    """The file of questions, in blocks of four lines: question, gap, candidates, the right one."""
    blocks = [
        f"{schema.question.format(part)}\n[MASK]\n{', '.join(schema.candidates)}\n{answer}\n"
        for schema in read_schemas()
        for part, answer in zip(schema.parts, schema.candidates, strict=True)
    ]
    return "\n".join(blocks)


def tell_tales(n_tales: int) -> list[Tale]:
    """As many tales, no two with the same happenings in the same order."""
    schemas, tales = read_schemas(), []
    for ordinal in range(n_tales):
        order = sorted(schemas, key=lambda schema: number("tale", ordinal, schema.question))[:N_HAPPENINGS]
        opening, closing = pick(_OPENINGS, "opening", ordinal), pick(_CLOSINGS, "closing", ordinal)
        first = order[0].candidates[0].removeprefix("the ").title()
        tales.append(Tale(f"The Week of the {first}", (opening, *(one.happening for one in order), closing)))
    return tales
