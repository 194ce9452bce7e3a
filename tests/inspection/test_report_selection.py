"""What single steps say of themselves stands in the report, whatever its shape, and as text only."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from inspection.report_selection import selection_sections

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


class Words(HTMLParser):
    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text.append(data)


def words_of(details):
    return " ".join("\n".join(Words("".join(map(str, selection_sections(details)))).text).split())


def test_a_step_is_shown_with_its_single_values_counts_and_records():
    words = words_of(
        {
            "near_duplicates": {
                "threshold": "0.5",
                "recall_estimate": 0.99731,
                "histogram": {"0.5": 12, "0.9": 30_001},
                "largest_buckets": [{"documents": 41, "rows": 3}],
                "canaries": {"planted": 200, "found": 199},
            }
        }
    )
    for said in ("Near-duplicates", "recall estimate 0.9973", "histogram", "30,001", "largest buckets", "planted"):
        assert said in words


def test_steps_we_have_words_for_come_first_and_others_are_shown_too():
    words = words_of({"zebra_step": {"n": 3}, "gaps": {"documents": 2, "places": 5}, "cut": {"score": 0.0125}})
    assert words.index("Ranking") < words.index("Gaps") < words.index("Zebra step")
    assert "0.0125" in words


def test_the_counts_of_kinds_of_input_are_the_yields_business():
    assert selection_sections({"kinds": {"books documents": 3}}) == []


@given(st.dictionaries(st.text(max_size=10), PLAIN, max_size=4))
def test_any_plain_value_can_be_shown_and_none_becomes_markup(details):
    hostile = {**details, "<script>alert(1)</script>": "<img src=x>", "x": {"<b>": ["<i>", {"<u>": "<s>"}]}}
    assert not {"script", "img", "u", "s"} & Words("".join(map(str, selection_sections(hostile)))).tags
