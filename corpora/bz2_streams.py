"""Finds bzip2 streams in a file and inflates them piece by piece: compressed bytes in, bounded pieces of bytes out.

The rule: nothing here holds more than one block of bzip2 (under 1 MB compressed, 4 MB of its working memory) and one
piece, whatever the file claims about itself.

A stream starts at a byte: "BZh", its level, and the 48-bit mark of its first block, or of its end where it is empty.
Ten bytes in a row are not met by chance, so what looks like a start is one. The blocks inside a stream start at bits
and are not looked for: damage costs the rest of its stream.
"""

import bz2
import re

from corpora.members import COMPLETE, DAMAGED, FEED_BYTES, TRUNCATED, Window

__all__ = ["BZIP2_MAGIC", "Bz2Stream", "looks_like_stream", "next_stream"]

BZIP2_MAGIC = b"BZh"
_BLOCK_MARK = b"1AY&SY"  # 0x314159265359
_START = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_START_BYTES = 10
_MARK_OFFSET = 4
_PIECE_BYTES = 1 << 16


class Bz2Stream:
    """One bzip2 stream, inflated in pieces. `outcome` is COMPLETE only after all of its checksums were found right."""

    end_is_proof = True

    def __init__(self, window: Window, start: int) -> None:
        self.start = start
        self.position = start  # compressed bytes before it were consumed; where the stream ends, once COMPLETE
        self.outcome = ""
        self.detail = ""
        self._window = window
        self._inflater = bz2.BZ2Decompressor()

    def read(self) -> bytes:
        """The next piece, at most 64 KiB; b"" once `outcome` is set."""
        while not self.outcome:
            fed = b""
            if self._inflater.needs_input:
                fed = bytes(self._window.read(self.position, FEED_BYTES))
                self.position += len(fed)
                if not fed:
                    self.outcome, self.detail = TRUNCATED, "the file ends inside a bzip2 stream"
                    break
            try:
                piece = self._inflater.decompress(fed, _PIECE_BYTES)
            except (OSError, ValueError) as error:  # OSError is what bz2 raises for bad data; no file is involved here
                self.outcome, self.detail = DAMAGED, str(error)
                break
            if self._inflater.eof:
                self.position -= len(self._inflater.unused_data)
                self.outcome = COMPLETE
            if piece:
                return piece
        return b""


def looks_like_stream(window: Window, position: int) -> bool:
    """Whether a bzip2 stream starts at `position`; as much of a start as the file has left counts."""
    head = window.look(position, _START_BYTES)
    if len(head) < _START_BYTES:
        return bool(head) and (BZIP2_MAGIC.startswith(head) or head.startswith(BZIP2_MAGIC))
    return bool(_START.match(head))


def next_stream(window: Window, position: int, end: int | None = None) -> int | None:
    """Where the next stream that holds something starts, at or after `position` and before `end`."""
    stop = window.size if end is None else end
    place = position + _MARK_OFFSET
    while (place := window.find(_BLOCK_MARK, place)) >= 0 and place - _MARK_OFFSET < stop:
        start = place - _MARK_OFFSET
        if looks_like_stream(window, start):
            return start
        place += 1
    return None
