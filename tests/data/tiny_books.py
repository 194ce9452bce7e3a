"""Books for the tiny corpora: articles of the sample as chapters in, files of a small library out.

Three texts (with matter like Project Gutenberg's of two ages around two of them), a second edition of the first, and an
EPUB book. Nobody ever published them; the matter says what the real one says, in few words.
"""

import io
import textwrap
import zipfile
from collections.abc import Sequence
from html import escape

from sample_articles import Article

_MARK = "*** {} OF THIS PROJECT GUTENBERG EBOOK {} ***"
_VERSES = """\
     The tide came in, the tide went out,
       The wall was none the wetter;
     The council met and talked about
       A wall that might be better.

     The crabs came up to have a look,
       And thought the work was splendid;
     They wrote it in the harbour book
       That nothing had been mended."""
_SMALL_PRINT = """\
The Project Gutenberg Etext of {title}, by {author}

This header is as such headers were in the years of floppy disks, only shorter.

**Welcome To The World of Free Plain Vanilla Electronic Texts**

Title: {title}

Author: {author}

October, 1999  [Etext #99998]
Language: English
Character set encoding: ISO-8859-1

***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***
Here stood what you may do with the text, and what you may not hold us liable for.
*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

This etext was prepared by Nobody In Particular.
"""
_CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>
<rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>
"""


def make_library(articles: Sequence[Article]) -> dict[str, bytes]:
    """The files of the library by name, of 25 articles or more."""
    harbour, bees, train, night = articles[:6], articles[6:12], articles[12:18], articles[18:24]
    revised = [harbour[0]._replace(paragraphs=harbour[0].paragraphs[:-1]), *harbour[1:]]
    return {
        "bees-in-the-belfry.txt": _old_book("Bees in the Belfry", "Ruth Ellery", bees).encode("latin-1"),
        "night-shift.epub": _epub("Night Shift", "Samuel Irwin", night),
        "quill/the-harbour-wall.txt": _new_book("The Harbour Wall", "Martha Quill", harbour).encode("utf-8-sig"),
        "quill/the-harbour-wall-2nd.txt": _second_edition("The Harbour Wall", "Martha Quill", revised).encode(),
        "slow-train.txt": _plain_book("A Slow Train to the Coast", train).encode(),
    }


def _new_book(title: str, author: str, articles: Sequence[Article]) -> str:
    contents = "\n".join(f"{_roman(n):>8}. {article.title}" for n, article in enumerate(articles, 1))
    chapters = [f"CHAPTER {_roman(n)}. {article.title}\n\n\n{_wrap(article)}" for n, article in enumerate(articles, 1)]
    chapters[1] += f"\n\n[Illustration: THE HARBOUR AT LOW WATER,\nby the author]\n\n\n{_VERSES}"
    return "\n".join(
        [
            f"The Project Gutenberg EBook of {title}, by {author}\n",
            f"Title: {title}\n\nAuthor: {author}\n\nRelease Date: May 3, 2009 [EBook #99999]\n\nLanguage: English\n",
            "Character set encoding: UTF-8\n",
            _MARK.format("START", title.upper()) + "\n\n\n",
            "Produced by Nobody In Particular, for a test, from pages that\nwere never printed\n\n\n",
            f"{title.upper()}\n\nby {author}\n\n\n\nCONTENTS\n\n{contents}\n\n\n",
            "\n\n\n\n".join(chapters),
            "\n\n\n          THE END\n\n\n\n",
            "Transcriber's note:\n\nNothing was changed, and nothing needed to be.\n\n\n",
            f"End of Project Gutenberg's {title}, by {author}\n",
            _MARK.format("END", title.upper()) + "\n\n***** This file should be named as it is *****\n",
        ]
    )


def _old_book(title: str, author: str, articles: Sequence[Article]) -> str:
    chapters = [f"{_roman(n)}\n\n{article.title.upper()}\n\n{_wrap(article)}" for n, article in enumerate(articles, 1)]
    text = _plain_signs(f"{title.upper()}\n\nby {author}\n\n\n\n\n" + "\n\n\n\n".join(chapters))
    head = _SMALL_PRINT.format(title=title, author=author)
    return f"{head}\n\n\n{text}\n\n\n\nEnd of The Project Gutenberg Etext of {title}\n"


def _second_edition(title: str, author: str, articles: Sequence[Article]) -> str:
    """The same book from another house: narrower, other quotation marks, no matter, a paragraph less."""
    chapters = [f"{n}\n\n{article.title}\n\n{_wrap(article, width=60)}" for n, article in enumerate(articles, 1)]
    return _plain_signs(f"{title}\n{author}\nSecond edition\n\n\n\n" + "\n\n\n\n".join(chapters) + "\n")


def _plain_book(title: str, articles: Sequence[Article]) -> str:
    """A book with a paragraph on each line, as many files outside Project Gutenberg are."""
    parts = [f"{article.title}\n\n" + "\n\n".join(article.paragraphs) for article in articles]
    return f"{title}\n\n" + "\n\n\n".join(parts) + "\n"


def _epub(title: str, author: str, articles: Sequence[Article]) -> bytes:
    """Stored, not deflated: so its bytes depend on no library."""
    names = [f"chapter-{n}.xhtml" for n in range(1, len(articles) + 1)]
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(names)))
    links = "".join(f'<li><a href="{name}">{n}</a></li>' for n, name in enumerate(names, 1))
    package = (
        '<?xml version="1.0" encoding="utf-8"?>\n<package xmlns="http://www.idpf.org/2007/opf" version="3.0"'
        ' unique-identifier="id"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<dc:identifier id="id">tiny</dc:identifier><dc:title>{title}</dc:title><dc:creator>{author}</dc:creator>'
        "<dc:language>en</dc:language><dc:date>2011-02-06</dc:date></metadata><manifest>"
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        f'{items}</manifest><spine><itemref idref="nav"/>{spine}</spine></package>'
    )
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": _CONTAINER,
        "book/package.opf": package,
        "book/nav.xhtml": _xhtml("Contents", f'<nav epub:type="toc"><ol>{links}</ol></nav>'),
    }
    for name, article in zip(names, articles, strict=True):
        paragraphs = "\n".join(f"<p>{escape(paragraph, quote=False)}</p>" for paragraph in article.paragraphs)
        heading = escape(article.title, quote=False)
        members[f"book/{name}"] = _xhtml(
            heading, f'<section epub:type="chapter"><h2>{heading}</h2>\n{paragraphs}</section>'
        )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # or it would say which system it was made on
            archive.writestr(member, content.encode())
    return stream.getvalue()


def _xhtml(title: str, body: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"'
        f' xmlns:epub="http://www.idpf.org/2007/ops"><head><title>{title}</title></head><body>{body}</body></html>\n'
    )


def _wrap(article: Article, *, width: int = 72) -> str:
    wrapped = [
        textwrap.fill(paragraph, width, break_long_words=False, break_on_hyphens=False)
        for paragraph in article.paragraphs
    ]
    return "\n\n".join(wrapped)


def _plain_signs(text: str) -> str:
    """The text as typewriters wrote it."""
    for sign, plain in {"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "–": "-", "…": "..."}.items():
        text = text.replace(sign, plain)
    return text


def _roman(number: int) -> str:
    return ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")[number - 1]
