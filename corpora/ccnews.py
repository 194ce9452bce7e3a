"""CC-NEWS as facts and rules: what RoBERTa's paper says of it, and the variants in which it can be built.

The rule: a variant is settings and nothing else; no code anywhere asks for its name.

The paper (Liu et al. 2019, 3.2): "CC-NEWS, which we collected from the English portion of the CommonCrawl News dataset.
The data contains 63 million English news articles crawled between September 2016 and February 2019. (76GB after
filtering)", extracted with news-please (Hamborg et al. 2017). The filters were never published.
"""

from dataclasses import dataclass, field

from corpora.processing import ProcessingSettings
from corpora.quality import QualityRules
from corpora.targets import PublishedTargets

__all__ = ["FIRST_MONTH", "PAPER_MONTHS", "TARGETS", "VARIANTS", "Variant"]

FIRST_MONTH = "2016-08"  # Common Crawl's first files; about 60 of August to October 2016 are damaged
PAPER_MONTHS = ("2016-09", "2019-02")  # both included


# GB in the paper are GiB, as its figure for OpenWebText shows.
TARGETS = PublishedTargets(documents=63_000_000, gib=76.0, mean_bytes=1_300.0, source="Liu et al. 2019, section 3.2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way to build the corpus."""

    description: str  # for people, with what is not known about it
    processing: ProcessingSettings = field(default_factory=ProcessingSettings)
    deduplicate_prefix_chars: int = 0  # documents that begin with the same so many characters are one; 0 is off


# The least that "English, non-empty text" asks for; all rules of quality are off.
_NO_RULES = QualityRules(
    min_chars=1,
    max_chars=0,
    min_words=0,
    min_sentences=0,
    min_mean_word_chars=0.0,
    max_mean_word_chars=0.0,
    max_symbols_per_word=1e9,
    min_alphabetic_words=0.0,
    max_repeated_lines=1.0,
    max_repeated_line_chars=1.0,
    max_ellipsis_lines=1.0,
    max_bullet_lines=1.0,
    drop_placeholder=False,
)

VARIANTS: dict[str, Variant] = {
    "default": Variant(
        description="Our choice: trafilatura, English, moderate rules of quality, one document per URL and text.",
    ),
    "paper": Variant(
        description="As far as it is known, what the authors did: news-please, English, non-empty text. Their filters, "
        "their language identification and whether they deduplicated were never published.",
        processing=ProcessingSettings(extractor="news-please", quality=_NO_RULES),
    ),
    "realnews": Variant(
        description="The rules of RealNews (Zellers et al. 2019): URL of at most 200 characters, title of at least 30, "
        "text of at least 1,000, a date of publication, one document per URL and per first 100 characters. RealNews "
        "itself was made from Common Crawl's main crawls, for a list of news domains that is not applied here.",
        processing=ProcessingSettings(
            quality=QualityRules(min_chars=1_000, max_url_chars=200, min_title_chars=30, require_published=True)
        ),
        deduplicate_prefix_chars=100,
    ),
}
