"""Texts as vectors: poolings against a plain oracle, layers and modules against their libraries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.embeddings import Embedder, EmbeddingSettings, embed, embed_tokens, quantize
from qa_system.embeddings.pooling import POOLINGS, pooled
from qa_system.embeddings.quantizing import neighbours_kept
from qa_system.errors import ConfigError, InvalidArgumentError, ModelError

TEXTS = [
    "Is it good for reading?",
    "The light goes properly dim, and the letters look printed. " * 40,
    "ok",
    "Bought it as a gift; the zip broke after a week.",
]
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}
EXACT: Any = {"precision": "fp32", "device": "cpu"}
Save = Callable[[Any, Path], Path]


def drawn(model: Any) -> Any:
    """The model with weights wider than transformers draws them, so that texts differ."""
    import torch

    torch.manual_seed(7)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Save) -> Path:
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    return save_checkpoint(drawn(BertModel(BertConfig(**SMALL))), folder)


@pytest.fixture(scope="module")
def export(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from qa_system.export.onnx import export_model

    out = tmp_path_factory.mktemp("export")
    export_model(bert, out, task="encoder", precision="fp32")
    return out


@pytest.fixture(scope="module")
def hidden(bert: Path) -> list[list[np.ndarray]]:
    """The vectors of each text's tokens after each layer, by plain transformers, one at a time."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    found = []
    for text in TEXTS:
        features = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        with torch.no_grad():
            output = model(**features, output_hidden_states=True)
        pooler = output.pooler_output[0].numpy()
        found.append([*(each[0].numpy() for each in output.hidden_states), pooler])
    return found


ORACLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda rows: rows.mean(axis=0),
    "max": lambda rows: rows.max(axis=0),
    "min": lambda rows: rows.min(axis=0),
    "cls": lambda rows: rows[0],
    "last": lambda rows: rows[-1],
    "weighted_mean": lambda rows: np.average(rows, axis=0, weights=np.arange(len(rows)) + 1),
}


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 4), st.randoms())
def test_a_pooling_sees_the_tokens_of_its_row_and_no_filling(
    lengths: list[int], dimension: int, chance: Any
) -> None:
    rng = np.random.default_rng(chance.randrange(1 << 30))
    width = max(lengths) + 1
    vectors = rng.normal(size=(len(lengths), width, dimension)).astype(np.float32)
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)
    vectors[mask == 0] = rng.choice([1e9, -1e9])
    assert ORACLES.keys() == POOLINGS.keys()
    for name, oracle in ORACLES.items():
        expected = [oracle(row[:length]) for row, length in zip(vectors, lengths, strict=True)]
        np.testing.assert_allclose(pooled(vectors, mask, name), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["checkpoint", "export"])
def test_poolings_and_layers_are_those_of_transformers(
    kind: str, request: pytest.FixtureRequest, hidden: list[list[np.ndarray]]
) -> None:
    model = str(request.getfixturevalue("bert" if kind == "checkpoint" else "export"))
    options = EXACT if kind == "checkpoint" else {}
    layers = dict(zip(ORACLES, (-1, 0, 1, 2, -2, -1), strict=True))
    for pooling, oracle in ORACLES.items():
        layer = layers[pooling]
        expected = np.stack([oracle(each[:-1][layer]) for each in hidden])
        found = embed(TEXTS, model, pooling=pooling, layer=layer, **options)  # type: ignore[call-overload]
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=f"{pooling} {layer}")
    last = np.stack([np.mean(each[2], axis=0) for each in hidden])
    np.testing.assert_allclose(embed(TEXTS, model, **options), last, atol=1e-5)
    length = np.linalg.norm(last, axis=1, keepdims=True)
    unit = embed(TEXTS, model, normalize=True, **options)
    np.testing.assert_allclose(unit, last / length, atol=1e-5)
    two = [np.stack([each[layer].mean(axis=0) for each in hidden]) for layer in (1, 2)]
    mean = embed(TEXTS, model, layer=[1, -1], **options)
    np.testing.assert_allclose(mean, (two[0] + two[1]) / 2, atol=1e-5)
    joined = embed(TEXTS, model, layer=[1, -1], combine="concat", **options)
    np.testing.assert_allclose(joined, np.concatenate(two, axis=1), atol=1e-5)
    for found, expected in zip(
        embed(TEXTS, model, pooling="none", **options), (each[2] for each in hidden), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_pooler_is_that_of_transformers(bert: Path, hidden: list[list[np.ndarray]]) -> None:
    found = embed(TEXTS, str(bert), pooling="pooler", **EXACT)
    np.testing.assert_allclose(found, [each[-1] for each in hidden], atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "pooling"),
    [
        ("mean", "mean"),
        ("max", "max"),
        ("cls", "cls"),
        ("lasttoken", "last"),
        ("weightedmean", "weighted_mean"),
    ],
)
def test_vectors_are_those_of_sentence_transformers(
    mode: str, pooling: str, bert: Path, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import (
        Dense,
        Normalize,
        Pooling,
        Transformer,
    )

    transformer = Transformer(str(bert))
    plain = SentenceTransformer(modules=[transformer, Pooling(32, mode)], device="cpu")
    expected = plain.encode(TEXTS)
    found = embed(TEXTS, str(bert), pooling=pooling, **EXACT)  # type: ignore[call-overload]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if mode not in ("mean", "cls"):
        return
    modules = [transformer, Pooling(32, mode), drawn(Dense(32, 16)), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path))
    saved = SentenceTransformer(str(tmp_path), device="cpu")
    own, model = saved.encode(TEXTS), str(tmp_path)
    np.testing.assert_allclose(embed(TEXTS, model, **EXACT), own, atol=1e-5)
    # Without what normalises, but with what comes before it.
    longer = SentenceTransformer(modules=list(saved)[:3], device="cpu").encode(TEXTS)
    found = embed(TEXTS, model, normalize=False, **EXACT)
    np.testing.assert_allclose(found, longer, atol=1e-5)
    cut = saved.encode(TEXTS, truncate_dim=5, normalize_embeddings=True)
    np.testing.assert_allclose(embed(TEXTS, model, dimensions=5, **EXACT), cut, atol=1e-5)
    # A pooling that is named stands in place of all modules but the normalisation.
    named = embed(TEXTS, model, pooling=pooling, **EXACT)  # type: ignore[call-overload]
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(named, unit, atol=1e-5)


def test_a_tower_of_dpr_is_embedded_alone(tmp_path: Path, save_checkpoint: Save) -> None:
    import torch
    from transformers import AutoTokenizer, DPRConfig, DPRQuestionEncoder

    tower = drawn(DPRQuestionEncoder(DPRConfig(**SMALL, projection_dim=8)))
    folder = save_checkpoint(tower, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    features = tokenizer(TEXTS, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        expected = tower(**features).pooler_output.numpy()
    np.testing.assert_allclose(embed(TEXTS, str(folder), **EXACT), expected, atol=1e-5)
    assert embed(TEXTS, str(folder), pooling="max", **EXACT).shape == (4, 32)
    with pytest.raises(ModelError, match="no pooler"):
        embed(TEXTS, str(folder), pooling="pooler", **EXACT)


def test_an_export_without_its_normalisation_has_the_same_directions() -> None:
    unit, plain = embed(TEXTS), embed(TEXTS, normalize=False)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    assert (abs(lengths - 1) > 1e-2).all()
    np.testing.assert_allclose(plain / lengths, unit, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "layer"), [("bundled:reader", -1), ("bundled:judge", -2), ("bundled:encoder", 3)]
)
def test_bundled_models_are_encoders_too(model: str, layer: int) -> None:
    found = embed([*TEXTS, ""], model, layer=layer)
    assert found.shape[0] == 5
    assert np.isfinite(found).all()
    assert np.linalg.norm(found[:4], axis=1).min() > 0.1
    assert not found[4].any()


def test_rows_follow_the_texts_and_equal_texts_are_encoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    encode = Embedder.encode

    def counting(self: Embedder, texts: Any) -> Any:
        seen.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(Embedder, "encode", counting)
    texts = ["loud", None, "quiet", "loud", "", " \n", "quiet"]
    found = embed(iter(texts))
    assert found.dtype == np.float32
    assert sorted(seen) == ["", " \n", "loud", "quiet"]
    np.testing.assert_array_equal(found[0], found[3])
    np.testing.assert_array_equal(found[2], found[6])
    assert not found[[1, 4, 5]].any()
    np.testing.assert_allclose(found[0], embed(["loud"])[0], atol=1e-5)
    assert embed([]).shape == (0, 384)


def test_tokens_say_where_they_stand() -> None:
    text = "So light — naïve!"
    plain, prefixed = embed_tokens([text, ""]), embed_tokens([text], prefix="query: ")
    [found, empty] = plain
    assert [text[begin:end] for begin, end in found.offsets] == [
        *("", "So", "light", "—", "naïve", "!", "")
    ]
    assert found.vectors.shape == (len(found.tokens), 384)
    assert empty.vectors.shape == (0, 384)
    assert [text[begin:end] for begin, end in prefixed[0].offsets[-6:]] == [
        *("So", "light", "—", "naïve", "!", "")
    ]
    # The prefix has tokens, and no place in the text.
    assert not prefixed[0].offsets[:3].any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer": 7}, ConfigError, "6 layers, and no layer 7.*0 .the embeddings. to 6"),
        ({"layer": []}, ConfigError, "at least one layer"),
        ({"pooling": "pooler"}, ModelError, "no pooler.*checkpoint that it was exported from"),
        ({"pooling": "median"}, ConfigError, "pooling: must be 'mean'"),
        ({"dimensions": 385}, ConfigError, "384 dimensions, fewer than 385.*at most 384"),
        ({"model": "bundled:judge"}, ModelError, "first token only.*layer=-2"),
        ({"model": "no-such-model"}, ModelError, "no model 'no-such-model'"),
        ({"texts": "one"}, InvalidArgumentError, "one text, not several"),
        ({"texts": ["a", 7]}, InvalidArgumentError, r"texts\[1\] is a int"),
        ({"batch_tokens": 0}, ConfigError, "batch_tokens"),
    ],
)
def test_what_cannot_be_embedded_says_why(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        embed(**{"texts": TEXTS, **options})


def test_an_export_that_hides_its_layers_says_so(export: Path, tmp_path: Path) -> None:
    """The names of its weights are no longer those of a checkpoint that is known."""
    weights = (export / "model.onnx").read_bytes()
    for path in export.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = weights.replace(b"LayerNorm.weight", b"LayerGorm.weight")
    (tmp_path / "model.onnx").write_bytes(changed)
    assert embed(["a"], str(tmp_path)).shape == (1, 32)
    with pytest.raises(ModelError, match=r"does not show its layers.*leave pooling and layer out"):
        embed(["a"], str(tmp_path), pooling="max")


@given(st.integers(0, 2**30), st.integers(1, 20), st.integers(1, 20))
def test_int8_is_off_by_half_a_step_at_most_and_binary_keeps_the_signs(
    seed: int, rows: int, dimension: int
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    found = quantize(vectors, "int8")
    assert found.scale is not None
    assert (abs(found.restored() - vectors) <= 0.51 * found.scale).all()
    bits = quantize(vectors, "binary")
    assert bits.values.shape == (rows, -(-dimension // 8))
    np.testing.assert_array_equal(bits.restored()[:, :dimension] > 0, vectors > 0)


def test_neighbours_kept_is_counted_by_hand() -> None:
    angles = np.array([0.0, 0.1, 0.3, 0.7])
    full = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    swapped = full[[0, 2, 1, 3]]
    # Nearest to each: 1, 0, 1, 2; of the swapped: 2, 2, 0, 1.
    assert neighbours_kept(full, full, k=1) == 1
    assert neighbours_kept(full, swapped, k=1) == 0
    assert neighbours_kept(full[:2], full[:2], k=1) is None


def test_the_settings_of_an_embedder_are_its_own() -> None:
    embedder = Embedder(EmbeddingSettings(pooling="max", layer=[1, 2], combine="concat"))
    assert embedder.dimension == 768
    assert embedder.max_seq_length == 256
