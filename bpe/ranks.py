"""Merges as tiktoken wants them: one rank per token, and the proof that this means the same.

`tokenizers` merges the *pairs* that a vocabulary lists, by rank. tiktoken knows ranks of *tokens* only,
and joins any two neighbours that together spell one. The two agree on every text exactly when no token
can be reached by another pair than its own, which `find_ambiguity` decides.
"""

from bpe.vocabulary import BYTE_LETTERS, Vocabulary

Parts = dict[str, tuple[str, str]]  # of each token that a merge makes
Ranks = dict[str, int]


def rank_tokens(vocabulary: Vocabulary) -> list[str]:
    """Tokens in the order of their ranks: the 256 bytes, then what each merge makes."""
    return [*BYTE_LETTERS, *(left + right for left, right in vocabulary.merges)]


def find_ambiguity(vocabulary: Vocabulary) -> str | None:
    """A token that two different pairs may make; None where ranks of tokens say all.

    A token must come out of merging its own bytes, with the tokens of lower rank, as its two parts. By
    induction each part comes out whole, so only merges across the border between the two can prevent it.
    """
    tokens = rank_tokens(vocabulary)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    if len(ranks) != len(tokens):
        return next(token for rank, token in enumerate(tokens) if ranks[token] != rank)
    parts = {left + right: (left, right) for left, right in vocabulary.merges}
    for token, (left, right) in parts.items():
        if not _stays_apart(left, right, limit=ranks[token], ranks=ranks, parts=parts):
            return token
    return None


def _stays_apart(left: str, right: str, *, limit: int, ranks: Ranks, parts: Parts) -> bool:
    """Whether no merge of a rank below `limit` ever crosses the border between two tokens.

    Goes back in time: undoes the merges of the two, the latest first, until bytes are left. Two
    neighbours at the border were merged across it if that was due before what really came next. Among
    merges of one rank the leftmost is due first.
    """
    while True:
        if ranks.get(left + right, limit) < limit:
            return False
        if left in parts and (right not in parts or ranks[left] > ranks[right]):
            limit, left = ranks[left], parts[left][1]
        elif right in parts:
            limit, right = ranks[right] + 1, parts[right][0]
        else:
            return True
