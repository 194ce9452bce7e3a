"""Submissions to Reddit for the tiny corpora: addresses of the sample's pages in, lines of JSON in both forms out.

The old form is that of 2005 to 2016 (times as strings now and then, `&amp;` in URLs, scores that may be missing), the
new one that of later files (times with a fraction, `removed_by_category`, hundreds of fields of which some are here).
Nobody wrote these; names of people, groups and titles are made up.
"""

import json
from collections.abc import Sequence

from sample_articles import number, pick

N_LINES = 200
_GROUPS = ("harbourtown", "localnews", "gardening", "slowtrains", "cheese", "weather")
# Hosts that lists of media and forums name, with paths that lead nowhere, and one of an encyclopaedia.
_REFUSED = (
    "https://i.imgur.com/tinycorpus.jpg",
    "https://www.youtube.com/watch?v=tinycorpus0",
    "https://en.wikipedia.org/wiki/Tiny_corpus_that_is_not_there",
    "https://www.harbour-courier.example/files/timetable.pdf",
    "https://www.reddit.com/r/harbourtown/comments/tiny/",
    "ftp://files.harbour-courier.example/minutes.txt",
    "not a url",
)


def make_submissions(urls: Sequence[str]) -> str:
    """The lines of a file; one of them is damaged, and one blank."""
    lines = [json.dumps(_submission(ordinal, urls), sort_keys=True) for ordinal in range(N_LINES)]
    lines[57] = lines[57][:40]
    lines.insert(120, "")
    return "\n".join(lines) + "\n"


def _submission(ordinal: int, urls: Sequence[str]) -> dict[str, object]:
    """What a submission holds: most link to a page, often one that another links to."""
    draw = number("kind", ordinal) % 20
    group = pick(_GROUPS, "group", ordinal)
    identity = _base36(9_000_000 + ordinal * 37)
    score = (0, 1, 2, 3, 5, 12, 48, 317)[number("score", ordinal) % 8]
    url = pick(urls, "url", ordinal)
    is_self = draw in (0, 1)
    if is_self:
        url = f"https://www.reddit.com/r/{group}/comments/{identity}/"
    elif draw in (2, 3, 4):
        url = pick(_REFUSED, "refused", ordinal)
    elif draw == 5:
        url += "?utm_source=reddit&utm_medium=social"
    elif draw == 6:
        url = url.replace("https://www.", "http://")
    fields: dict[str, object] = {
        "author": "[deleted]" if draw == 7 else f"reader_{number('author', ordinal) % 900}",
        "domain": f"self.{group}" if is_self else url.split("/")[2] if "/" in url else "",
        "id": identity,
        "is_self": is_self,
        "num_comments": number("comments", ordinal) % 90,
        "over_18": draw == 8,
        "permalink": f"/r/{group}/comments/{identity}/",
        "score": score,
        "selftext": "[deleted]" if draw == 0 else "What is on in the harbour?" if is_self else "",
        "subreddit": group,
        "title": f"Something about {group}, number {ordinal}",
        "url": url,
    }
    # From September 2016 on; the last ones are of 2018, beyond what WebText was made of.
    seconds = 1_472_688_000 + ordinal * 300_000
    return _in_old_form(fields, seconds, ordinal) if ordinal % 2 else _in_new_form(fields, seconds, removed=draw == 9)


def _in_old_form(fields: dict[str, object], seconds: int, ordinal: int) -> dict[str, object]:
    old = {
        **fields,
        "created_utc": str(seconds) if ordinal % 4 == 1 else seconds,
        "url": str(fields["url"]).replace("&", "&amp;"),
    }
    old |= {"ups": fields["score"], "downs": 0, "thumbnail": "default", "retrieved_on": seconds + 86_400, "media": None}
    if ordinal % 50 == 49:
        del old["score"]
    return old


def _in_new_form(fields: dict[str, object], seconds: int, *, removed: bool) -> dict[str, object]:
    return {
        **fields,
        "created_utc": float(seconds),
        "removed_by_category": "moderator" if removed else None,
        "is_crosspostable": not removed,
        "all_awardings": [],
        "media_embed": {},
        "secure_media": None,
        "subreddit_type": "public",
        "_meta": {"retrieved_2nd_on": seconds + 129_600},
    }


def _base36(value: int) -> str:
    digits = ""
    while value:
        value, digit = divmod(value, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
