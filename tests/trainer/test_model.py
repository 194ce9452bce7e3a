"""The model is the published one: its size, its initial weights, and Hugging Face's logits with the same weights.

What settings may add to it, segments, a head for pairs and attention within documents, adds nothing else.
"""

import pytest
import torch

from trainer.model import (
    MaskedLanguageModel,
    Shape,
    count_parameters,
    flop_per_token,
    init_weights,
    make_model,
    shape_of,
)
from trainer.packing import BOS, EOS, PAD
from trainer.settings import Settings

BASE = Shape(vocabulary_size=50_265)
LARGE = Shape(vocabulary_size=50_265, layers=24, hidden=1024, heads=16, feed_forward=4096)
SMALL = Shape(vocabulary_size=99, max_tokens=24, layers=2, hidden=32, heads=4, feed_forward=48)
PAIRS = SMALL._replace(segment_embeddings=True, next_sentence=True)


def _model(shape: Shape = SMALL) -> MaskedLanguageModel:
    model = MaskedLanguageModel(shape)
    init_weights(model, torch.Generator().manual_seed(1))
    return model


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three rows, two of them padded."""
    ids = torch.randint(4, 98, (3, 24), generator=torch.Generator().manual_seed(2))
    ids[:, 0] = BOS
    for row, n in enumerate((24, 17, 9)):
        ids[row, n - 1] = EOS
        ids[row, n:] = PAD
    return ids, ids != PAD


@pytest.mark.parametrize(("shape", "expected"), [(BASE, 124_696_665), (LARGE, 355_411_033)])
def test_parameters_are_as_many_as_published(shape: Shape, expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(MaskedLanguageModel(shape)) == expected


@pytest.mark.parametrize(("shape", "giga"), [(BASE, 0.6015), (LARGE, 2.010)])
def test_a_token_costs_what_the_formula_of_mfu_says(shape: Shape, giga: float) -> None:
    assert flop_per_token(shape, block_tokens=512, mask_fraction=0.15) / 1e9 == pytest.approx(giga, rel=5e-4)


def test_weights_start_at_a_fiftieth_and_biases_and_padding_at_zero() -> None:
    model = _model(Shape(vocabulary_size=2000, max_tokens=64, layers=1, hidden=64, heads=2, feed_forward=128))
    for name, tensor in model.named_parameters():
        if tensor.ndim == 2:
            assert tensor.std().item() == pytest.approx(0.02, rel=0.05), name
        else:
            assert tensor.unique().tolist() == ([1.0] if "norm.weight" in name else [0.0]), name
    assert not model.encoder.tokens.weight[PAD].any()
    assert not model.encoder.positions.weight[PAD].any()


def test_logits_equal_those_of_hugging_face_with_the_same_weights() -> None:
    transformers = pytest.importorskip("transformers")
    ours = _model().eval()
    config = transformers.RobertaConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=26,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    theirs = transformers.RobertaForMaskedLM(config).eval()
    # Larger weights than at the start, so that a wrong place of a norm or a mask would show.
    for tensor in ours.parameters():
        torch.nn.init.normal_(tensor, 0.0, 0.3, generator=torch.Generator().manual_seed(tensor.numel()))
    theirs.load_state_dict(_rename(ours), strict=False)
    ids, attention = _batch()
    chosen = attention.flatten().nonzero().flatten()
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=attention.long()).logits.flatten(0, 1)[chosen]
        found = ours(ids, attention, chosen).tokens_NV
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def _rename(model: MaskedLanguageModel) -> dict[str, torch.Tensor]:
    ours = model.state_dict()
    theirs = {
        "roberta.embeddings.word_embeddings.weight": ours["encoder.tokens.weight"],
        "lm_head.decoder.weight": ours["encoder.tokens.weight"],
        "roberta.embeddings.position_embeddings.weight": ours["encoder.positions.weight"],
        "roberta.embeddings.token_type_embeddings.weight": torch.zeros(1, model.shape.hidden),
        "lm_head.bias": ours["head_bias"],
        "lm_head.decoder.bias": ours["head_bias"],
    }
    modules = {
        "encoder.norm": "roberta.embeddings.LayerNorm",
        "head_dense": "lm_head.dense",
        "head_norm": "lm_head.layer_norm",
    }
    for layer in range(model.shape.layers):
        here, there = f"encoder.layers.{layer}.", f"roberta.encoder.layer.{layer}."
        modules |= {
            here + "attention.output": there + "attention.output.dense",
            here + "attention_norm": there + "attention.output.LayerNorm",
            here + "inner": there + "intermediate.dense",
            here + "outer": there + "output.dense",
            here + "output_norm": there + "output.LayerNorm",
        }
        for kind in ("weight", "bias"):
            parts = ours[f"{here}attention.query_key_value.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                theirs[f"{there}attention.self.{name}.{kind}"] = part
    for here, there in modules.items():
        for kind in ("weight", "bias"):
            theirs[f"{there}.{kind}"] = ours[f"{here}.{kind}"]
    return theirs


def test_padding_changes_no_logit() -> None:
    model = _model().eval()
    ids, attention = _batch()
    with torch.no_grad():
        padded = model(ids, attention, torch.arange(2 * 24, 2 * 24 + 9)).tokens_NV
        alone = model(ids[2:, :9], None, torch.arange(9)).tokens_NV
    torch.testing.assert_close(padded, alone)


def test_only_chosen_tokens_pass_the_head() -> None:
    model = _model().eval()
    ids, attention = _batch()
    everything = torch.arange(ids.numel())
    some = torch.tensor([1, 30, 50])
    torch.testing.assert_close(model(ids, attention, some).tokens_NV, model(ids, attention, everything).tokens_NV[some])


def _spread(model: MaskedLanguageModel) -> MaskedLanguageModel:
    """Larger weights than at the start, so that whatever a token sees shows."""
    for number, tensor in enumerate(p for p in model.parameters() if p.ndim == 2):
        torch.nn.init.normal_(tensor, 0.0, 0.3, generator=torch.Generator().manual_seed(number))
    return model.eval()


def _documents() -> torch.Tensor:
    """Of the three rows: `<s>` and three documents, `<s>` and two, `<s>` and one, and a wrong number on the padding."""
    documents = torch.zeros(3, 24, dtype=torch.int64)
    documents[0, 9:] = 1
    documents[0, 15:] = 2
    documents[1, 5:17] = 1
    return documents


def test_settings_for_pairs_add_a_head_and_two_rows_of_segments_and_nothing_else() -> None:
    d = SMALL.hidden
    assert count_parameters(_model(PAIRS)) - count_parameters(_model()) == 2 * d + (d * d + d) + (2 * d + 2)
    pairs = Settings(input_format="segment-pair", layers=1, hidden=8, heads=2, feed_forward=8, segment_embeddings=True)
    shape = shape_of(pairs, vocabulary_size=50)
    assert (shape.segment_embeddings, shape.next_sentence) == (True, True)
    segments = make_model(pairs, vocabulary_size=50).encoder.segments
    assert segments is not None
    assert segments.weight.all()  # neither row is the one of padding


def test_tokens_see_their_segment_and_without_any_all_is_the_first_one() -> None:
    model = _spread(_model(PAIRS))
    ids, attention = _batch()
    everything = torch.arange(ids.numel())
    without, first, second = (
        model(ids, attention, everything, segments).tokens_NV
        for segments in (None, torch.zeros_like(ids), torch.ones_like(ids))
    )
    assert torch.equal(without, first)
    assert (second - first).abs().max() > 0.1
    embedding = model.encoder.segments
    assert embedding is not None
    with torch.no_grad():
        embedding.weight[1] = embedding.weight[0]
    assert torch.equal(model(ids, attention, everything, torch.ones_like(ids)).tokens_NV, first)


def test_what_follows_is_told_from_the_first_token_as_bert_does() -> None:
    model = _spread(_model(PAIRS))
    ids, attention = _batch()
    found = model(ids, attention, torch.arange(3)).follows_BC
    first = model.encoder(ids, attention)[:, 0]
    assert model.pair_dense is not None
    assert model.pair_output is not None
    pooled = (first @ model.pair_dense.weight.T + model.pair_dense.bias).tanh()
    torch.testing.assert_close(found, pooled @ model.pair_output.weight.T + model.pair_output.bias)
    assert _model()(ids, attention, torch.arange(3)).follows_BC is None


def test_with_document_attention_a_document_is_as_it_is_alone_at_the_same_place() -> None:
    model = _spread(_model())
    ids, attention = _batch()
    documents = _documents()
    together = model.encoder(ids, attention, None, documents)
    for document in range(3):
        own = (documents == document) & attention
        rows = own.any(1)
        # Whatever is not of the document counts as padding: it takes a place, and is not seen.
        alone = model.encoder(torch.where(own, ids, PAD)[rows], own[rows])
        torch.testing.assert_close(together[rows][own[rows]], alone[own[rows]])
    plain = model.encoder(ids, attention)
    assert (together - plain)[0].abs().max() > 0.1
    torch.testing.assert_close(together[2, :9], plain[2, :9])  # one document in the block


def test_with_document_attention_other_documents_change_no_logit_and_padding_makes_none_nan() -> None:
    model = _spread(_model())
    ids, attention = _batch()
    documents = _documents()
    others = torch.where((documents == 1) | ~attention, ids, 98 - ids).clamp(0, 98)
    own = ((documents == 1) & attention).flatten().nonzero().flatten()
    logits = model(ids, attention, own, None, documents).tokens_NV
    torch.testing.assert_close(model(others, attention, own, None, documents).tokens_NV, logits)
    everything = model(ids, attention, torch.arange(ids.numel()), None, documents).tokens_NV
    assert everything.isfinite().all()
    everything.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
