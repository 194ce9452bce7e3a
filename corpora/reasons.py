"""Every reason for which a record can be lost, each with a sentence for people.

These are the keys of a run's books and of the rejects; the report shows the sentences. A reason that is not here does
not exist: tests hold every stage to it.
"""

__all__ = ["REASONS"]

REASONS: dict[str, str] = {
    # Reading (corpora.warc). All but the last three are damage.
    "empty_file": "The input file has no bytes.",
    "unknown_format": "The input file is neither WARC nor ARC.",
    "not_a_record": "Bytes between two records belong to no record.",
    "bad_header": "The record's headers are incomplete.",
    "content_length": "The record's length is missing, no number, or wrong.",
    "damaged_member": "The record's compressed data is damaged.",
    "truncated": "The file ends inside the record.",
    "damaged_payload": "The page's chunks or compressed content cannot be undone.",
    "too_large": "The record or page is larger than the limit.",
    "content_encoding": "The page is compressed in a way that we cannot undo.",
    "revisit": "The page had not changed since an earlier visit, where it is stored.",
    # Books (corpora.book_files, corpora.epub)
    "not_a_book": "The file is neither text nor an EPUB book.",
    "damaged_archive": "The book's archive is damaged, or lacks most of its chapters.",
    "encrypted": "The book is encrypted.",
    # Decoding
    "http_status": "The server answered with something other than 200 OK.",
    "empty_body": "The page has no content.",
    "mime": "The page is not HTML or plain text.",
    # Extraction; the last four are the sandbox's.
    "no_text": "No main text was found on the page.",
    "extract_failed": "Every extractor failed on the page.",
    "extract_timeout": "Extraction took longer than its deadline.",
    "extract_memory": "Extraction needed more memory than its limit.",
    "extract_crashed": "The extractor crashed.",
    "extract_error": "Processing the page ended in an error of ours.",
    # Language
    "language": "The page is in another language.",
    # Quality
    "too_short": "The text is too short.",
    "too_long": "The text is too long.",
    "too_few_words": "The text has too few words.",
    "too_few_sentences": "The text has too few sentences.",
    "word_length": "The words are too short or too long for prose.",
    "symbols": "Too many hashes and ellipses.",
    "not_prose": "Too many words without a letter.",
    "repeated_lines": "Too many lines repeat earlier ones.",
    "ellipsis_lines": "Too many lines are cut off by an ellipsis.",
    "bullet_lines": "Nearly all lines are bullet points.",
    "placeholder": "The text holds placeholder text.",
    "url_too_long": "The URL is longer than the limit.",
    "title_too_short": "The title is missing or too short.",
    "no_date": "The page does not say when it was published.",
    # Dumps of MediaWiki (corpora.mediawiki_dump, corpora.wikipedia). The first two are damage.
    "bad_page": "The page's XML is not what MediaWiki writes.",
    "declares_entities": "The dump declares a document type, which no dump of MediaWiki does.",
    "namespace": "The page is no article: it is in another namespace.",
    "redirect": "The page only points to another one.",
    "disambiguation": "The page lists what its title may mean.",
    "content_model": "The page is code or data, not wikitext.",
    # Ranking
    "below_cut": "The document's score is below the cut.",
    # Links of submissions (corpora.submissions, corpora.openwebtext). The first three are damage.
    "bad_json": "The line is no JSON.",
    "not_a_submission": "The line is no submission.",
    "line_too_long": "The line is longer than the limit.",
    "no_link": "The submission has no link, or has lost it.",
    "self_post": "The submission is a text of its own, not a link.",
    "no_score": "The submission has no score.",
    "low_score": "The score is below the limit.",
    "adults_only": "The submission is marked as for adults.",
    "removed_post": "The submission was removed by a moderator, by Reddit or by its author.",
    "too_new": "The submission is newer than the limit, or does not say how old it is.",
    "bad_url": "The link is not the address of a public web page.",
    "secret_url": "The link carries a secret.",
    "wikipedia": "The link leads to Wikipedia.",
    "excluded_host": "The link leads to a host of media, forums, apps or files.",
    "excluded_ending": "The link leads to a file that is no page.",
    # Deduplication
    "duplicate_url": "Another document has the same URL.",
    "duplicate_text": "Another document has the same text.",
    "duplicate_prefix": "Another document begins with the same characters.",
    "near_duplicate": "A kept document has nearly the same words.",
    # Decontamination
    "contaminated": "The document holds passages of evaluation sets.",
    # Encoding
    "too_few_tokens": "The document has too few tokens.",
    "empty_text": "The document has no word to encode.",
    # Forgetting
    "forgotten": "The document was taken out on request.",
}
