"""Templates that stand in sentences, each with what Wikipedia shows for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.wiki_calls import Call, read_call
from corpora.wiki_dates import DATE_TEMPLATES
from corpora.wiki_quantities import QUANTITY_TEMPLATES
from corpora.wiki_template_names import CHARACTERS, QUIET_NAMES, SHOWN
from corpora.wiki_templates import _TEMPLATES, NOTE, QUIET, find_template
from corpora.wiki_words import WORD_TEMPLATES
from corpora.wikitext import render_wikitext


def show(wikitext: str) -> str:
    rendered = render_wikitext(f"x{wikitext}x")
    assert rendered.gaps == 0, wikitext
    return rendered.paragraphs[0][1:-1]


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        # foreign words
        ("{{lang|fr|chien}}", "chien"),
        ("{{lang-ru|собака|sobaka|dog}}", "Russian: собака, romanized: sobaka, lit. 'dog'"),
        ("{{langx|de|Hund}}", "German: Hund"),
        ("{{lang-fr|chien|label=none}}", "chien"),
        ("{{lang-qqq|chien}}", "chien"),
        ("{{transl|ar|ALA|kalb}}", "kalb"),
        ("{{transliteration|grc|[[kourotrophos]]}}", "kourotrophos"),
        ("{{nihongo|'''Aikido'''|合気道|Aikidō}}", "Aikido (合気道, Aikidō)"),
        ("{{zh|t=狗|p=gǒu}}", "traditional Chinese: 狗; pinyin: gǒu"),
        ("{{script/Hebrew|אבק}}", "אבק"),
        ("{{lit|dog}}", "lit. 'dog'"),
        # numbers
        ("{{val|6241|e=18|u=m}}", "6,241×10¹⁸ m"),
        ("{{val|1.5|0.2}}", "1.5 ± 0.2"),
        ("{{frac|1|2}}", "1/2"),
        ("{{frac|2|1|2}}", "2 1/2"),
        ("{{formatnum:1234567}}", "1,234,567"),
        ("{{e|-20}}", "×10⁻²⁰"),
        ("{{sup|2}}", "²"),
        ("{{chem|NH|4|+}}", "NH4⁺"),
        ("{{chem2|HA <-> H+}}", "HA ⇌ H+"),
        ("{{chem2|C_{''n''}H_{2''n''+2}}}", "CnH2n+2"),
        ("{{US$|2 billion}}", "US$2 billion"),
        ("{{JPY|60 billion}}", "¥60 billion"),
        ("{{Solar luminosity|96|link=y}}", "96 L☉"),
        ("{{RailGauge|1435 mm}}", "1,435 mm (4 ft 8 1/2 in)"),
        ("{{Pop density|100|10|km2|sqmi|prec=1}}", "10.0/km² (25.9/sq mi)"),
        ("{{music|flat}}", "♭"),
        ("{{mvar|x}}", "x"),
        # dates
        ("{{birth date|1809|2|12}}", "February 12, 1809"),
        ("{{birth date|df=yes|1809|2|12}}", "12 February 1809"),
        ("{{death date and age|1865|4|15|1809|2|12}}", "April 15, 1865 (aged 56)"),
        ("{{age|1969|07|20|2000|07|19}}", "30"),
        ("{{as of|2014|lc=y}}", "as of 2014"),
        ("{{as of|2012|January|31}}", "As of 31 January 2012"),
        ("{{circa|3000}}", "c. 3000"),
        ("{{OldStyleDate|February 2|1905|January 20}}", "February 2 [O.S. January 20] 1905"),
        # names
        ("{{ship|HMS|Ark Royal|91}}", "HMS Ark Royal (91)"),
        ("{{USS|Hornet|CV-12|6}}", "USS Hornet"),
        ("{{USS|Hornet|CV-12}}", "USS Hornet (CV-12)"),
        ("{{sclass|Nimitz|aircraft carrier}}", "Nimitz-class aircraft carrier"),
        ("{{flag|Dutch Republic|name=Netherlands}}", "Netherlands"),
        ("{{ill|Hans of Iceland|fr|Han d'Islande|lt=''Hans''}}", "Hans"),
        ("{{ill|de|Gymnasium|Das Gymnasium}}", "Das Gymnasium"),
        ("{{bibleverse|Mark|3:25|NIV}}", "Mark 3:25"),
        ("{{harvtxt|Boolos|Jeffrey|1974}}", "Boolos & Jeffrey (1974)"),
        # words and signs
        ("{{nowrap|a [[b|c]] {{small|d}}}}", "a c d"),
        ("{{sic|teh}}", "teh [sic]"),
        ("{{sic|teh|hide=y}}", "teh"),
        ("{{abbr|lit.|literally}}", "lit."),
        ("a{{'}}s {{' \"}}", "a's ' \""),
        ("a{{snd}}b{{ndash}}c{{mdash}}d{{nbsp}}e", "a – b–c—d e"),
        ("{{sc|bc}}", "BC"),
        ("{{angbr|a}}", "⟨a⟩"),
        ("{{lc:ABC}}{{uc:d}}", "abcD"),
        ("{{nowrap|1=a=b}}", "a=b"),
        # dropped without a gap
        ("a{{sfn|Barnes|1995|p=9}}{{citation needed|date=May 2014}}{{Efn|A {{lang|fr|b}}}}b", "ab"),
        ("a{{IPA|/a/}}{{IPAc-en|a}}{{respell|A}}{{coord|1|2}}{{flagicon|USA}}{{Use dmy dates}}b", "ab"),
    ],
)
def test_templates_in_sentences(wikitext: str, expected: str) -> None:
    assert show(wikitext) == expected


def test_what_depends_on_the_day_is_a_gap() -> None:
    for call in ("{{age|1969|7|20}}", "{{CURRENTYEAR}}", "{{inflation|US|100|1913}}", "{{birth date and age|x}}"):
        assert render_wikitext(f"He is {call} old.").gaps == (0 if call.startswith("{{birth") else 1)


def test_a_quotation_that_stands_as_a_block_is_a_paragraph() -> None:
    assert render_wikitext("He said:\n{{quote|text=All dogs bark.|author=X}}\nThen he left.").paragraphs == (
        "He said:",
        "All dogs bark.",
        "Then he left.",
    )


def test_names_are_written_as_they_are_looked_up() -> None:
    for name in (*QUIET_NAMES, *CHARACTERS, *SHOWN, *_TEMPLATES):
        assert name == name.strip().lower()
        assert "_" not in name
    assert find_template("cite web") == NOTE
    assert find_template("infobox person") == QUIET
    assert find_template("no such template") is None


def test_a_number_names_a_parameter() -> None:
    call = read_call([["lang "], ["2=b"], [" 1 = a"], ["link=no"], ["", "c=d"]])
    assert (call.name, call.positional, call.named) == ("lang", ("a", "b", "c=d"), {"link": "no"})


NAMES = st.sampled_from(["df", "lc", "e", "u", "p", "label", "lit", "ft", "in", "m", "prec"])


@given(
    st.sampled_from(sorted({**QUANTITY_TEMPLATES, **DATE_TEMPLATES, **WORD_TEMPLATES, **_TEMPLATES})),
    st.lists(st.text(max_size=6) | st.sampled_from(["1", "12", "1999", "fr", "km", "-5", "²", "٣"]), max_size=7),
    st.dictionaries(NAMES, st.text(max_size=5)),
)
def test_no_parameters_make_a_template_raise(name: str, positional: list[str], named: dict[str, str]) -> None:
    result = _TEMPLATES[name](Call(name, tuple(positional), named))
    assert result is None or isinstance(result, str)
