"""Names of English Wikipedia's templates, as data: which are dropped, and which show one of their parameters.

The rule: a name is written in lower case, with spaces for underscores, as `corpora.wiki_templates` looks it up.
"""

__all__ = [
    "BLOCKS",
    "BRACKETED",
    "CHARACTERS",
    "NOTE_NAMES",
    "NOTE_PREFIXES",
    "PREFIXED",
    "QUIET_NAMES",
    "QUIET_PREFIXES",
    "SHOWN",
]


def _names(text: str) -> list[str]:
    return [name.strip() for line in text.splitlines() for name in line.split("|") if name.strip()]


_NOTES = """
sfn|sfnp|sfnm|sfnmp|sfnref|snf|rp|r|rma|ref|efn|efn-ua|efn-la|efn-lr|efn-ur|efn-lg|efn-ug|refn|note|notetag|cref|cref2
ref label|note label|reflist|notelist|refbegin|refend|cite|citation|isbn|issn|harvid|harvnb|harvp|harvcol|efn note
inflation-fn|inflation fn|webarchive|wayback|subscription required|subscription|registration required|closed access
open access|free access|reflist-talk|refs|citebundle|unbulleted list citebundle|multiref|multiref2|pdf|pdflink
"""
_MARKS_OF_EDITORS = """
citation needed|cn|fact|citeneeded|facts|reference needed|page needed|page numbers needed|pn|full citation needed|full
better source needed|better source|unreliable source?|unreliable source|verify source|verification needed|vn
verify quote|not in source|failed verification|failed|not verified in body|clarify|clarification needed|clarification
vague|when|where|who|whom|by whom|whose|which|why|how|who says|according to whom|like whom?|dubious|disputed inline
disputed|contradict inline|contradictory inline|dead link|update inline|update after|update needed inline
outdated inline|pov statement|pov-statement|neutrality inline|weasel-inline|weasel inline|peacock inline|peacock term
editorializing|awkward|jargon inline|excessive citations inline|excessive detail inline|irrelevant citation
relevance inline|importance inline|original research inline|or|synthesis inline|specify|examples|example needed
quantify|opinion|attribution needed|self-published inline|self-published source|primary source inline
third-party inline|medical citation needed|mcn|medrs|undue inline|undue weight inline|fictional|year needed
request quotation|need quotation|quote without source|copyedit inline|incomprehensible inline|tone inline
definition needed|definition|technical inline|speculation inline|ambiguous|disambiguation needed|dn|date missing
chronology citation needed|qualify evidence|circular reference|non sequitur|inconsistent|imprecise inline
audience inline|author missing|title missing|citation needed lead|more citations needed|lead too short
"""
_PRONUNCIATIONS = """
ipa|ipac-en|ipa-all|ipa-en|respell|pron-en|pronunciation|pronunciation needed|audio|audio-ipa|listen|usdict|ipa link
ipalink|prondict|h:title|lcons|ipa-xx
"""
_FURNITURE = """
flagicon|flagicon image|flagdeco|flagg|flag icon|country flag|coa|coat of arms|anchor|anchors|visible anchor end|clear
clearleft|clearright|clr|-|toc|tocleft|tocright|toc left|toc right|toc limit|coord|coords|geogroup|location map|portal
portal bar|portal-inline|main|main article|see also|see|see also2|further|further information|details|about|for
other uses|hatnote|distinguish|redirect|short description|use dmy dates|use mdy dates|use british english|engvarb
use american english|good article|featured article|featured list|italic title|displaytitle|defaultsort|authority control
commons category|commonscat|wikisource-inline|commons-inline|sister project links|commons|wiktionary|wikiquote
subject bar|pp|pp-move|pp-semi|pp-protected|pp-pc1|multiple image|double image|triple image|image frame|css image crop
panorama|wide image|rquote|quote box|quotebox|pull quote|centered pull quote|annotated image|infobox|taxobox
speciesbox|automatic taxobox|legend|legend2|col-begin|col-end|col-2|col-3|col-4|col-5|col-break|div col|div col end
columns-list|colbegin|colend|end|nowrap begin|nowrap end|nobr begin|nobr end|nopr|wbr|shy|zwj|zwnj|zwsp|zwnbsp|lrm|rlm
word joiner|softhyphen|extinct|nom|won|yes|no|increase|decrease|steady|profit|loss|gain|en icon|fr icon|de icon
es icon|ru icon|it icon|ja icon|in lang|languageicon|link language|lang icon|sort key|ntsh|hs|sort under|void
spoken wikipedia|unreferenced section|unreferenced|refimprove|expand section|more footnotes|refimprove section
disambiguation|plainlist|endplainlist|flatlist|endflatlist|stack|stack begin|stack end|align|gallery|imdb name
imdb title|music samples|sample box start|sample box end|audio sample|chart|cnote|contains special characters
contains indic text|under construction|update|globalize|wikipedia books|campaignbox|template doc|cuneiform
"""
NOTE_NAMES = frozenset(_names(_NOTES + _MARKS_OF_EDITORS))
NOTE_PREFIXES = ("cite ", "efn-", "#tag:ref", "sfn ")
QUIET_NAMES = frozenset(_names(_PRONUNCIATIONS + _FURNITURE))
QUIET_PREFIXES = (
    *("ipa-", "ipac-", "ipa/", "infobox", "taxobox", "navbox", "use ", "pp-", "coord "),
    *("defaultsort:", "displaytitle:", "defaultcatsort:", "editnotice", "wikipedia:"),
)

# Templates that are one character, or a few.
CHARACTERS: dict[str, str] = {
    **dict.fromkeys(
        _names(
            "nbsp|nbs|space|spaces|thinsp|thin space|hair space|hsp|figure space|pad|indent|gap|quad|break|br|crlf"
        ),
        " ",
    ),
    **dict.fromkeys(_names("snd|snds|spnd|spaced ndash|spaced en dash|sndash|dash"), " – "),
    **dict.fromkeys(_names("ndash|endash|en dash|nbndash|nbnd|–"), "–"),
    **dict.fromkeys(_names("mdash|emdash|em dash|mdashb|—"), "—"),
    **dict.fromkeys(_names("spaced mdash|spaced em dash|smdash"), " — "),
    **dict.fromkeys(_names("bull|bullet|•"), " • "),
    **dict.fromkeys(_names("·|dot|middot"), " · "),
    **dict.fromkeys(_names("ddd|ellipsis|..."), "..."),
    "'": "'", "'s": "'s", "' \"": "' \"", "\" '": "\" '", "'\"": "'\"", "\"'": "\"'", '-"': '"', '"': '"',
    "!": "|", "=": "=", "pipe": "|", "*": "*", "asterisk": "*", "colon": ":", "number sign": "#", "hash": "#",
    "(": "{", ")": "}", "\\": " / ", "/": " / ", "minus": "−", "plus": "+", "times": "×", "x": "×", "okina": "ʻ",
    "hamza": "ʾ", "ayin": "ʿ", "&": "&", "ampersand": "&", "prime": "′", "pprime": "″", "half": "1/2", "degree": "°",
    "deg": "°", "dagger": "†", "eqm": "⇌", "yen": "¥", "euro sign": "€", "as written": "[sic]",
}  # fmt: skip

# Templates that show one of their parameters: which.
SHOWN: dict[str, int] = {
    **dict.fromkeys(
        _names(
            """
            nowrap|nobr|nobreak|avoid wrap|small|smaller|smalldiv|big|large|larger|huge|center|centre|mvar|math|var|em
            strong|smallcaps|sc2|vanchor|visible anchor|va|vr|key|kbd|code|tt|mono|samp|bdi|abbr|abbrv|tooltip
            hover title|noitalic|noitalics|nobold|normal|nq|nastaliq|naskh|polytonic|unicode|iast|flag+link|w|wp
            wikilink|link if exists|linkless exists|nolink|delink|overline|underline|u|uline|strike|highlight
            citation needed span|clarify span|dubious span|cn-span|text|plain text|angle|serif|sans-serif|font|noprint
            proper name|as is|longitem|math italic|italic|italics|bold|bolditalic|no italic|title case|hebrew|heb|urdu
            not typo|tq|midsize|24hlm
            """
        ),
        1,
    ),
    **dict.fromkeys(
        _names(
            """
            script|resize|font size|color|fgcolor|font color|bgcolor|background color|sort|colored|coloured
            glossary link|bdo|size|fs
            """
        ),
        2,
    ),
}
PREFIXED: dict[str, str] = {
    **dict.fromkeys(_names("circa|ca|ca.|c."), "c. "),
    **dict.fromkeys(_names("floruit|fl|fl."), "fl. "),
    **dict.fromkeys(_names("reign|r."), "r. "),
    **dict.fromkeys(_names("ietf rfc|rfc"), "RFC "),
    "approx": "approx. ", "born in": "b. ", "b.": "b. ", "died in": "d. ", "d.": "d. ", "page": "p. ", "p.": "p. ",
    "pp.": "pp. ", "ov": "OV-",
}  # fmt: skip
BLOCKS = _names(
    "quote|blockquote|cquote|quotation|bquote|block quote|poemquote|poem quote|bq|text quote|verse translation"
)
BRACKETED = {
    **dict.fromkeys(_names("angbr|angbr ipa|angle bracket|angular brackets|grapheme"), "⟨{}⟩"),
    **dict.fromkeys(_names("ipaslink|phoneme"), "/{}/"),
    "ipablink": "[{}]",
    "char": "{}",
}
