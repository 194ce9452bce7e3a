"""Archives made by hand for the tests of corpora: every byte of them is known."""

import gzip
import zlib

import pytest

WARC_SEPARATOR = b"\r\n\r\n"


class ArchiveMaker:
    """Builds records and files; no method keeps state."""

    def record(
        self,
        content: bytes,
        *,
        record_type: str = "response",
        url: str | None = "http://example.com/",
        date: str | None = "2016-09-26T21:18:09Z",
        mime: str | None = "application/http; msgtype=response",
        length: str | None = None,
        extra: bytes = b"",
    ) -> bytes:
        lines = [b"WARC/1.0", b"WARC-Type: " + record_type.encode(), b"WARC-Record-ID: <urn:uuid:0>"]
        for name, value in (("WARC-Target-URI", url), ("WARC-Date", date), ("Content-Type", mime)):
            if value is not None:
                lines.append(f"{name}: {value}".encode())
        lines.append(b"Content-Length: " + (str(len(content)) if length is None else length).encode())
        return b"\r\n".join(lines) + b"\r\n" + extra + b"\r\n" + content + WARC_SEPARATOR

    def http(self, body: bytes, *, headers: bytes = b"Content-Type: text/html; charset=utf-8\r\n") -> bytes:
        return b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n" + body

    def page(self, number: int, *, n_words: int = 40, length: str | None = None) -> bytes:
        """A response record whose words are all its own."""
        words = " ".join(f"w{(number * 7919 + i * 104729) % 99991}" for i in range(n_words))
        body = f"<html><body><p>page {number}: {words}</p></body></html>".encode()
        return self.record(self.http(body), url=f"http://example.com/{number}", length=length)

    def request(self, number: int) -> bytes:
        content = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
        mime = "application/http; msgtype=request"
        return self.record(content, record_type="request", url=f"http://example.com/{number}", mime=mime)

    def info(self) -> bytes:
        return self.record(b"software: by hand\r\n", record_type="warcinfo", url=None, mime="application/warc-fields")

    def arc_header(self) -> bytes:
        content = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
        return b"filedesc://a.arc 0.0.0.0 20140216050221 text/plain %d\n%s\n" % (len(content), content)

    def arc_page(self, number: int, *, length: str | None = None) -> bytes:
        content = self.page(number).split(WARC_SEPARATOR, 1)[1].removesuffix(WARC_SEPARATOR)
        size = (str(len(content)) if length is None else length).encode()
        line = b"http://example.com/%d 93.184.216.119 20140216050221 text/html %s\n" % (number, size)
        return line + content + b"\n"

    def members(self, records: list[bytes], *, level: int = 6) -> bytes:
        """A gzip member per record."""
        return b"".join(gzip.compress(record, level, mtime=0) for record in records)

    def one_member(self, records: list[bytes]) -> bytes:
        return gzip.compress(b"".join(records), mtime=0)

    def deflate_zeros(self, n_bytes: int, *, head: bytes = b"", wbits: int = 31) -> bytes:
        """`head` and then NULs, deflated about 1000:1 as gzip (wbits 31), zlib (15) or raw (-15).

        One megabyte is deflated, then repeated: after a full flush its bytes do not depend on what came before.
        """
        block = bytes(1 << 20)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
        middle = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
        n_blocks = n_bytes >> 20
        raw = start + middle * n_blocks + packer.flush()
        if wbits < 0:
            return raw
        check = zlib.crc32 if wbits > 15 else zlib.adler32
        total = check(head)
        for _ in range(n_blocks):
            total = check(block, total)
        if wbits <= 15:
            return b"\x78\xda" + raw + total.to_bytes(4, "big")
        size = len(head) + (n_blocks << 20)
        return b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + raw + total.to_bytes(4, "little") + size.to_bytes(4, "little")


@pytest.fixture(scope="session")
def archive() -> ArchiveMaker:
    return ArchiveMaker()
