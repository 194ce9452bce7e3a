"""What every test may ask for: the project's root and the folder of real data made by others."""

import hashlib
import json
import os
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bpe.growing import FILE_NAME, Growing, Window, dump_growing, generation_name, is_growing, load_generation
from bpe.manifest import load_manifest
from bpe.shared_vocabulary import SharedVocabulary
from corpora.documents import RawPage
from corpora.warc import read_pages

# Scripts, not tests: run by hand and by `make bench`.
collect_ignore_glob = ["data/*.py", "benchmarks/*.py"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data of others, read in place and never copied: `$SHARDMILL_DATA`, or beside the checkout."""
    folder = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SHARDMILL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def index_lines() -> Callable[[Path], list[str]]:
    """The CDXJ lines of an archive's pages, as Common Crawl's index has them (a gzip member per record)."""

    def make(path: Path) -> list[str]:
        data, lines = path.read_bytes(), []
        with path.open("rb") as stream:
            for page in read_pages(stream, source=path.name):
                if isinstance(page, RawPage):
                    member = zlib.decompressobj(wbits=31)
                    member.decompress(data[page.offset :])
                    length = len(data) - page.offset - len(member.unused_data)
                    moment = "".join(filter(str.isdecimal, page.fetched_at))
                    fields = {"url": page.url, "mime": page.mime, "status": str(page.status), "length": str(length),
                              "offset": str(page.offset), "filename": path.name}  # fmt: skip
                    lines.append(f"key,of)/page {moment} {json.dumps(fields)}\n")
        return sorted(lines)

    return make


@pytest.fixture(scope="session")
def publish() -> Callable[..., int]:
    """`publish(corpus, "windows/00000001", ...)` makes these runs below a folder its next generation; its number."""

    def make(corpus: Path, *runs: str) -> int:
        before, digest = load_generation(corpus) if is_growing(corpus) else (None, "")
        manifests = [load_manifest(corpus / run) for run in runs]
        shared = manifests[0].vocabulary
        assert shared is not None
        windows = tuple(
            Window(number, number, run, hashlib.sha256((corpus / run / FILE_NAME).read_bytes()).hexdigest(),
                   files=1, read=n, kept=n, rejected=0, broken=0, tokens=manifest.counts.tokens)
            for number, (run, manifest) in enumerate(zip(runs, manifests, strict=True), 1)
            for n in [manifest.counts.documents]
        )  # fmt: skip
        number = before.generation + 1 if before else 1
        vocabulary = SharedVocabulary(shared.fingerprint, shared.encoding, shared.size)
        data = dump_growing(Growing("grown", number, digest, "5" * 64, vocabulary, windows))
        (corpus / "generations").mkdir(exist_ok=True)
        for name in (generation_name(number), FILE_NAME):  # as writers do: the copy first, each atomically
            temporary = corpus / f"{name}.tmp"
            temporary.write_bytes(data)
            temporary.replace(corpus / name)
        return number

    return make


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Finds a port of this machine that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
