"""Rules of text and ids: the vocabulary, byte-level BPE, and sentences on their own (section 4.4 and fairseq)."""

from functools import lru_cache

from bpe.encoding import Encoder
from bpe.gpt2_files import END_OF_TEXT
from bpe.vocabulary import BYTE_LETTERS, DEFAULT_SIZE, MASK_TOKEN, SPECIAL_TOKENS, Vocabulary, add_special_tokens
from trainer.conformance_rules import NO_FACTS, NO_VOCABULARY, Inputs, Outcome, Rule, judge, unchecked

_GOLDEN = {"Hello world!": [31414, 232, 328], "Jack and jill": [20907, 8, 1236, 1873]}
_END_OF_TEXT_ID = 50_260
_OTHER = "the vocabulary is another than RoBERTa's; give --gpt2 FOLDER"


def _check_specials(inputs: Inputs) -> Outcome:
    tokens = inputs.vocabulary.tokens if inputs.vocabulary else add_special_tokens([*BYTE_LETTERS], n_filler=0)
    holds = tokens[:4] == ("<s>", "<pad>", "</s>", "<unk>") == SPECIAL_TOKENS and tokens[-1] == MASK_TOKEN
    return judge(holds, f"{' '.join(tokens[:4])}, {tokens[-1]} is {len(tokens) - 1}")


def _check_size(inputs: Inputs) -> Outcome:
    if inputs.vocabulary is None:
        return judge(DEFAULT_SIZE == 50_265, f"{DEFAULT_SIZE:,} unless told otherwise")
    if not _is_roberta(inputs.vocabulary):
        return unchecked(_OTHER)
    return judge(inputs.vocabulary.size == 50_265, f"{inputs.vocabulary.size:,}")


def _check_golden(inputs: Inputs) -> Outcome:
    encoder = _find_encoder(inputs, "fairseq")
    if isinstance(encoder, Outcome):
        return encoder
    wrong = [text for text, ids in _GOLDEN.items() if encoder.encode([text]).ids.tolist() != ids]
    end = encoder.vocabulary.tokens.index(END_OF_TEXT)
    return judge(not wrong and end == _END_OF_TEXT_ID, f"wrong: {wrong}" if wrong else f"{END_OF_TEXT} is {end}")


def _check_texts(inputs: Inputs) -> Outcome:
    encoder = _find_encoder(inputs, "lossless")
    if isinstance(encoder, Outcome):
        return encoder
    if inputs.facts.encoding is None:
        return unchecked(NO_FACTS)
    wrong = [fact.text for fact in inputs.facts.encoding if encoder.encode([fact.text]).ids.tolist() != fact.ids]
    n = len(inputs.facts.encoding)
    return judge(not wrong, f"{len(wrong)} of {n:,} differ, first {wrong[0]!r}" if wrong else f"{n:,} texts")


def _check_sentences(inputs: Inputs) -> Outcome:
    if inputs.vocabulary is None:
        return unchecked(NO_VOCABULARY)
    encoder = _make_encoder(inputs.vocabulary, "fairseq")
    sentences = ["  A sentence, with blanks.\n", "Another one ", " "]
    encoded = encoder.encode(sentences)
    alone = [encoder.encode([sentence.strip()]).ids.tolist() for sentence in sentences[:2]]
    holds = encoded.ids.tolist() == alone[0] + alone[1] and encoded.sentence_lengths.tolist() == list(map(len, alone))
    return judge(holds, "two sentences and a blank one")


def _check_plain_specials(inputs: Inputs) -> Outcome:
    if inputs.vocabulary is None:
        return unchecked(NO_VOCABULARY)
    encoder = _make_encoder(inputs.vocabulary, "fairseq")
    special = {*range(len(SPECIAL_TOKENS)), inputs.vocabulary.size - 1}
    found = [token for token in (*SPECIAL_TOKENS, MASK_TOKEN) if special & set(encoder.encode([token]).ids.tolist())]
    return judge(not found, f"special ids for {found}" if found else "five names, letter by letter")


def _is_roberta(vocabulary: Vocabulary) -> bool:
    return vocabulary.size > _END_OF_TEXT_ID and vocabulary.tokens[_END_OF_TEXT_ID] == END_OF_TEXT


def _find_encoder(inputs: Inputs, mode: str) -> Encoder | Outcome:
    """The encoder of RoBERTa's vocabulary, or why there is none."""
    if inputs.vocabulary is None:
        return unchecked(NO_VOCABULARY)
    return _make_encoder(inputs.vocabulary, mode) if _is_roberta(inputs.vocabulary) else unchecked(_OTHER)


@lru_cache(maxsize=2)  # one takes a second to make
def _make_encoder(vocabulary: Vocabulary, mode: str) -> Encoder:
    return Encoder(vocabulary, mode=mode)


RULES = (
    Rule("specials", "<s> 0, <pad> 1, </s> 2, <unk> 3, <mask> last", "fairseq", _check_specials),
    Rule(
        "vocabulary-size",
        "50,265 ids: GPT-2's 50,257, four specials, three fillers, <mask>",
        "section 4.4",
        _check_size,
    ),
    Rule("golden-ids", "golden ids of two sentences; <|endoftext|> is 50260", "fairseq", _check_golden),
    Rule("texts", "texts have fairseq's ids", "fairseq", _check_texts),
    Rule("sentences", "each sentence is stripped and encoded on its own", "fairseq", _check_sentences),
    Rule("plain-specials", "names of special tokens in a text are text", "fairseq", _check_plain_specials),
)
