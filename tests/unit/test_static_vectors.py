"""Static vectors: made of an encoder, and read as model2vec and sentence-transformers read them."""

from pathlib import Path

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from typer.testing import CliRunner

from qa_system.cli import app
from qa_system.config import EncoderSettings, ReaderSettings
from qa_system.errors import ConfigError, ModelError
from qa_system.export.static import distill_static
from qa_system.models.locate import locate
from qa_system.readers.extractive import ExtractiveReader
from qa_system.retrievers.encoders import load_encoder
from qa_system.stores.faiss import FAISSDocumentStore

WORDS = "[PAD] [unused0] [UNK] [CLS] [SEP] the a light is bright ##er dim zip broke . ,".split()  # noqa: SIM905
TEXTS = ["The light is brighter.", "zip broke, zip broke", "", "🙂", "light"]


def small_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordPiece({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3))
    return tokenizer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("encoder")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=small_tokenizer(),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def static(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    distill_static(encoder, folder, dimensions=4)
    return folder


def by_hand(folder: Path, rows: dict[str, list[float]], *, normalize: bool) -> Path:
    """Write a table of model2vec, with rows that tokens share and weights."""
    folder.mkdir()
    small_tokenizer().save(str(folder / "tokenizer.json"))
    known = np.array([[0.0, 0.0], *rows.values()], dtype=np.float32)
    mapping = np.array([1 + list(rows).index(word) if word in rows else 0 for word in WORDS])
    weights = np.array([0.5 if word == "the" else 1.0 for word in WORDS])
    save_file(
        {"embeddings": known, "mapping": mapping, "weights": weights}, folder / "model.safetensors"
    )
    config = {"model_type": "model2vec", "normalize": normalize}
    (folder / "config.json").write_bytes(orjson.dumps(config))
    return folder


def test_a_text_is_the_mean_of_its_tokens(tmp_path: Path) -> None:
    rows = {"the": [2.0, 0.0], "light": [0.0, 3.0]}
    plain = load_encoder(
        EncoderSettings(model=str(by_hand(tmp_path / "plain", rows, normalize=False)))
    )
    # "the" weighs a half; "zip" has the row of zeros, and counts.
    assert plain.encode_passages(["the light", "the light zip zip", ""]).tolist() == [
        [0.5, 1.5],
        [0.25, 0.75],
        [0.0, 0.0],
    ]
    assert plain.identity.similarity == "cosine"
    unit = load_encoder(
        EncoderSettings(model=str(by_hand(tmp_path / "unit", rows, normalize=True)))
    )
    assert unit.encode_questions(["the light"])[0] == pytest.approx([0.1**0.5, 0.9**0.5])
    assert (unit.identity.similarity, unit.identity.dimension) == ("dot_product", 2)
    assert unit.max_seq_length is None


def test_each_token_is_encoded_reduced_and_weighted(encoder: Path, static: Path) -> None:
    import torch
    from sklearn.decomposition import PCA
    from transformers import BertModel

    table = load_file(static / "model.safetensors")["embeddings"]
    ordinary = [at for at, word in enumerate(WORDS) if not word.startswith("[")]
    assert (table.dtype, table.shape) == (np.float16, (len(WORDS), 4))
    assert not np.delete(table, ordinary, axis=0).any()

    model = BertModel.from_pretrained(encoder).eval()
    with torch.inference_mode():
        rows = torch.tensor([[3, at, 4] for at in ordinary])
        vectors = model(rows).last_hidden_state.mean(dim=1).numpy()
    expected = PCA(4, svd_solver="full").fit_transform(vectors)
    ranks = np.arange(1, len(ordinary) + 1)
    expected *= (1e-4 / (1e-4 + (1 / ranks) / (1 / ranks).sum()))[:, None]
    ours, expected = table[ordinary].astype(np.float64), expected / np.abs(expected).max()
    # Directions may be mirrored; the products of the vectors are the same.
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=2e-3)


def test_sentence_transformers_reads_the_folder_and_gives_the_same(static: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [text for text in TEXTS if text]
    theirs = SentenceTransformer(str(static), device="cpu").float().encode(texts)
    ours = load_encoder(EncoderSettings(model=str(static))).encode_passages(texts)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.linalg.norm(ours, axis=1) == pytest.approx([1, 1, 0, 1], abs=1e-5)


def test_the_same_encoder_gives_the_same_bytes(encoder: Path, static: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("a card")
    arguments = ["export", str(encoder), "--static", "--dimensions", "4", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    for name in ("model.safetensors", "tokenizer.json", "config.json", "modules.json"):
        assert (tmp_path / name).read_bytes() == (static / name).read_bytes()
    assert (tmp_path / "README.md").read_text() == "a card"
    distill_static(encoder, tmp_path, dimensions=3)
    assert load_file(tmp_path / "model.safetensors")["embeddings"].shape == (len(WORDS), 3)


def test_a_store_takes_static_vectors(static: Path, tmp_path: Path) -> None:
    from haystack import Document

    from qa_system.retrievers.dense import DenseRetriever
    from qa_system.retrievers.embedders import ReviewDocumentEmbedder

    settings = {"model": str(static)}
    with FAISSDocumentStore(str(tmp_path / "store")) as store:
        documents = [Document(id=str(at), content=text) for at, text in enumerate(TEXTS) if text]
        embedded = ReviewDocumentEmbedder(settings, store).run(documents)["documents"]
        store.write_documents(embedded)
        found = DenseRetriever(store, encoder=settings).run("the zip broke")["documents"]
        assert found[0].id == "1"
        with pytest.raises(ModelError, match="static vectors"):
            DenseRetriever(store, encoder={**settings, "backend": "onnx"}).run("zip")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"device": "cuda"}, "the CPU adds static vectors"),
        ({"precision": "int8"}, "fp16 vectors, not int8"),
        ({"backend": "torch"}, "static vectors, which only an encoder"),
    ],
)
def test_settings_that_static_vectors_cannot_follow(
    static: Path, change: dict[str, str], error: str
) -> None:
    with pytest.raises(ModelError, match=error):
        load_encoder(EncoderSettings.model_validate({"model": str(static), **change}))


def test_what_is_no_table_is_refused(static: Path, tmp_path: Path) -> None:
    folder = by_hand(tmp_path / "cut", {"the": [1.0, 0.0]}, normalize=True)
    save_file({"embeddings": np.zeros((3, 2), dtype=np.float32)}, folder / "model.safetensors")
    settings = EncoderSettings(model=str(folder))
    with pytest.raises(ModelError, match=r"16 tokens.*3"):
        load_encoder(settings)
    for damaged, error in (
        ({"mapping": np.zeros(3)}, "embeddings"),
        ({"embeddings": np.zeros(3, dtype=np.float32)}, "cannot be used"),
        ({"embeddings": np.zeros((16, 2), dtype=np.int32)}, "int32"),
    ):
        save_file(damaged, folder / "model.safetensors")
        with pytest.raises(ModelError, match=error):
            load_encoder(settings)
    (folder / "model.safetensors").write_bytes(b"no table")
    with pytest.raises(ModelError, match="cannot be read"):
        load_encoder(settings)
    with pytest.raises(ModelError, match="static vectors"):
        ExtractiveReader(model=str(static)).warm_up()
    assert locate(str(static)).format == "static"
    assert ReaderSettings().model == "bundled:reader"


def test_what_cannot_be_made_static(encoder: Path, static: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="static vectors already"):
        distill_static(static, tmp_path / "again")
    with pytest.raises(ConfigError, match="8 dimensions, and 9 were asked for"):
        distill_static(encoder, tmp_path / "wide", dimensions=9)
    with pytest.raises(ConfigError, match="which no export has written"):
        distill_static(encoder, encoder, dimensions=4)
    assert not (tmp_path / "wide").exists()


def test_embed_takes_static_vectors_with_any_pooling(static: Path) -> None:
    from qa_system.embeddings import embed, embed_tokens

    model = str(static)
    unit = load_encoder(EncoderSettings(model=model)).encode_passages(TEXTS)
    np.testing.assert_allclose(embed(TEXTS, model), unit, atol=1e-6)
    table = load_file(static / "model.safetensors")["embeddings"].astype(np.float32)
    rows = table[[WORDS.index(word) for word in ("the", "light", "is", "bright", "##er", ".")]]
    plain = {"model": model, "normalize": False}
    assert embed(TEXTS[:1], **plain)[0] == pytest.approx(rows.mean(axis=0), abs=1e-6)
    assert embed(TEXTS[:1], **plain, pooling="max")[0] == pytest.approx(rows.max(axis=0))
    assert np.array_equal(embed(TEXTS[:1], model, pooling="none")[0], rows)
    [found] = embed_tokens(TEXTS[:1], model)
    assert found.tokens == ["the", "light", "is", "bright", "##er", "."]
    assert found.offsets.tolist() == [[0, 3], [4, 9], [10, 12], [13, 19], [19, 21], [21, 22]]
    with pytest.raises(ModelError, match="no pooler"):
        embed(TEXTS, model, pooling="pooler")
    with pytest.raises(ConfigError, match="no layer 3"):
        embed(TEXTS, model, layer=3)
