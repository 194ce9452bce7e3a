"""What several runs are encoded with, as mixture.json and a growing corpus's manifest name it."""

from typing import NamedTuple

from bpe.entries import ENCODINGS
from bpe.strict_json import Node, read_choice, read_count, read_object, read_sha256


class SharedVocabulary(NamedTuple):
    """A vocabulary, and how text was encoded with it."""

    fingerprint: str
    encoding: str  # one of bpe.entries.ENCODINGS
    size: int  # number of ids


def read_shared_vocabulary(node: Node) -> SharedVocabulary:
    """The vocabulary in this object; ShardError where it is none."""
    fields = read_object(node, SharedVocabulary._fields)
    return SharedVocabulary(
        read_sha256(fields["fingerprint"]), read_choice(fields["encoding"], ENCODINGS), read_count(fields["size"])
    )
