"""English names of the languages that Wikipedia's `{{lang-xx}}` templates put before a foreign word.

The rule: a code that is not here names no language, and the word is then shown without one.
"""

__all__ = ["INTERWIKI_PREFIXES", "LANGUAGE_NAMES"]

_NAMES = """
af Afrikaans|aln Gheg Albanian|als Tosk Albanian|am Amharic|an Aragonese|ang Old English|ar Arabic|arc Aramaic
arq Algerian Arabic|ary Moroccan Arabic|arz Egyptian Arabic|as Assamese|ast Asturian|av Avar|ay Aymara|az Azerbaijani
ba Bashkir|bal Balochi|bar Bavarian|be Belarusian|ber Berber|bg Bulgarian|bho Bhojpuri|bm Bambara|bn Bengali
bo Standard Tibetan|br Breton|brh Brahui|bs Bosnian|ca Catalan|ce Chechen|ceb Cebuano|ckb Central Kurdish|co Corsican
cop Coptic|crh Crimean Tatar|cs Czech|cu Church Slavonic|cv Chuvash|cy Welsh|da Danish|de German|dsb Lower Sorbian
dv Dhivehi|ee Ewe|egy Ancient Egyptian|el Greek|enm Middle English|eo Esperanto|es Spanish|et Estonian|eu Basque
fa Persian|ff Fula|fi Finnish|fil Filipino|fj Fijian|fo Faroese|fr French|frm Middle French|fro Old French
fur Friulian|fy West Frisian|ga Irish|gd Scottish Gaelic|gez Geʽez|gl Galician|gmh Middle High German|gn Guarani
goh Old High German|got Gothic|grc Ancient Greek|gsw Swiss German|gu Gujarati|gv Manx|ha Hausa|haw Hawaiian|he Hebrew
hi Hindi|hr Croatian|hsb Upper Sorbian|ht Haitian Creole|hu Hungarian|hy Armenian|ia Interlingua|id Indonesian|ig Igbo
ilo Ilocano|is Icelandic|it Italian|iu Inuktitut|ja Japanese|jv Javanese|ka Georgian|kab Kabyle|kk Kazakh|kl Greenlandic
km Khmer|kn Kannada|ko Korean|kok Konkani|ks Kashmiri|ku Kurdish|kw Cornish|ky Kyrgyz|la Latin|lad Judaeo-Spanish
lb Luxembourgish|lez Lezgian|lg Luganda|li Limburgish|lij Ligurian|lmo Lombard|ln Lingala|lo Lao|lt Lithuanian
lv Latvian|lzh Literary Chinese|mai Maithili|mg Malagasy|mga Middle Irish|mi Māori|mk Macedonian|ml Malayalam
mn Mongolian|mr Marathi|ms Malay|mt Maltese|my Burmese|myz Classical Mandaic|nah Nahuatl|nan Southern Min|nap Neapolitan
nds Low German|ne Nepali|nl Dutch|nn Norwegian Nynorsk|no Norwegian|nb Norwegian Bokmål|non Old Norse|nv Navajo|ny Chewa
oc Occitan|om Oromo|or Odia|os Ossetian|osx Old Saxon|ota Ottoman Turkish|pa Punjabi|pal Middle Persian|peo Old Persian
pi Pali|pl Polish|pms Piedmontese|pnb Punjabi|pro Old Occitan|prs Dari|ps Pashto|pt Portuguese|qu Quechua|rm Romansh
rn Kirundi|ro Romanian|roa Jèrriais|ru Russian|rue Rusyn|rus Russian|rw Kinyarwanda|sa Sanskrit|sah Yakut|sc Sardinian
scn Sicilian|sco Scots|sd Sindhi|se Northern Sámi|sga Old Irish|sh Serbo-Croatian|si Sinhala|sk Slovak|sl Slovene
sm Samoan|sn Shona|so Somali|sq Albanian|sr Serbian|st Sotho|su Sundanese|sv Swedish|sw Swahili|syc Classical Syriac
syr Syriac|szl Silesian|ta Tamil|te Telugu|tet Tetum|tg Tajik|th Thai|ti Tigrinya|tk Turkmen|tl Tagalog|tn Tswana
to Tongan|tpi Tok Pisin|tr Turkish|ts Tsonga|tt Tatar|tw Twi|ty Tahitian|ug Uyghur|uk Ukrainian|ur Urdu|uz Uzbek
vec Venetian|vi Vietnamese|vls West Flemish|vo Volapük|wa Walloon|war Waray|wo Wolof|xcl Classical Armenian|xh Xhosa
yi Yiddish|yo Yoruba|yua Yucatec Maya|yue Cantonese|za Zhuang|zh Chinese|zu Zulu
grc-gre Greek|grc-x-biblical Biblical Greek|grc-koi Koine Greek|grc-dor Doric Greek|grc-aeo Aeolic Greek
grc-att Attic Greek|grc-ion Ionic Greek|es-mx Spanish|pt-br Brazilian Portuguese|en-gb British English
en-us American English|en English|sr-cyrl Serbian Cyrillic|sr-latn Serbian Latin|sh-cyrl Serbo-Croatian Cyrillic
zh-hans simplified Chinese|zh-hant traditional Chinese|fa-af Dari|be-tarask Belarusian
"""
LANGUAGE_NAMES = {
    code: name for row in _NAMES.split("\n") for cell in row.split("|") if cell for code, name in [cell.split(" ", 1)]
}

# Wikipedias' codes that are prefixes of links between languages, with the few that name no language above.
_OTHER_CODES = """
ab ace ady ak atj azb bat-smg bcl be-x-old bh bi bjn bpy bug bxr cbk-zam cdo ch cho chr chy cr csb din diq dz eml
ext fiu-vro frp gag gan glk gom hak hif ho hz ie ii ik inh io jam jbo kaa kbd kbp kg ki kj koi kr krc ksh kv lbe lrc
ltg map-bms mdf mh mhr min mrj mus mwl myv mzn na nds-nl new ng nov nrm nso olo pag pam pap pcd pdc pfl pih pnt roa-
rup roa-tara rmy sg simple srn ss stq tcy tum tyv udm ve vep xal xmf zea zh-classical zh-min-nan zh-yue
"""
INTERWIKI_PREFIXES = frozenset(LANGUAGE_NAMES) - {"rus"} | frozenset(_OTHER_CODES.split())
