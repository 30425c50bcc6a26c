"""The component `qa_embeddings` in pipelines of spaCy."""

import pickle
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import orjson
import pytest

from qa_system.embeddings import embed, embed_tokens
from qa_system.errors import ModelError

spacy = pytest.importorskip("spacy")

from qa_system.spacy import QAEmbeddings  # noqa: E402

TEXTS = [
    "Bright enough   for reading, isn't it? Unbelievably thin.",
    "",
    "The crème-coloured strap 👍🏽 broke…",
    " \n",
    "\u200b\u200b \u200b",
]


@pytest.fixture(scope="module")
def nlp() -> "spacy.Language":
    nlp = spacy.blank("en")
    nlp.add_pipe("qa_embeddings")
    return nlp


def test_tokens_have_the_mean_of_what_they_share(nlp: "spacy.Language") -> None:
    doc = nlp(TEXTS[0])
    [found] = embed_tokens([doc.text])
    assert (doc.tensor.shape, doc.tensor.dtype) == ((len(doc), 384), np.float32)
    for token in doc:
        stop = token.idx + len(token)
        shared = [
            vector
            for vector, (begin, end) in zip(found.vectors, found.offsets.tolist(), strict=True)
            if begin < stop and end > token.idx
        ]
        expected = np.mean(shared, axis=0) if shared else np.zeros(384)
        np.testing.assert_allclose(doc.tensor[token.i], expected, atol=1e-6)
        assert np.array_equal(token.vector, doc.tensor[token.i])
        assert token.has_vector is not token.is_space
    # One token of spaCy of several of the encoder's, and the other way round.
    assert any(piece.startswith("##") for piece in found.tokens)
    assert "n't" in [token.text for token in doc]


def test_documents_and_spans_have_vectors(nlp: "spacy.Language") -> None:
    docs = list(nlp.pipe(TEXTS, batch_size=2))
    np.testing.assert_allclose([doc.vector for doc in docs], embed(TEXTS), atol=1e-6)
    first = docs[0]
    np.testing.assert_allclose(first[2:5].vector, first.tensor[2:5].mean(axis=0))
    assert [doc.tensor.shape[0] for doc in docs] == [len(doc) for doc in docs]
    assert not docs[4].tensor.any()
    light, heavy, dark = nlp.pipe(["It is very light.", "It is very heavy.", "Where is Paris?"])
    assert light.similarity(heavy) > light.similarity(dark)
    assert docs[1].similarity(light) == 0
    assert light[3].similarity(light[3]) == pytest.approx(1)
    assert light[3:4].similarity(heavy[3:4]) > light[3:4].similarity(dark[2:3])


def test_batches_and_single_texts_are_alike(nlp: "spacy.Language") -> None:
    together = list(nlp.pipe(TEXTS))
    for text, doc in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(nlp(text).tensor, doc.tensor, atol=0.2)  # int8: by the batch
        np.testing.assert_allclose(nlp(text).vector, doc.vector, atol=0.02)


def test_a_long_text_is_encoded_in_pieces_to_its_end(nlp: "spacy.Language") -> None:
    sentence = "The zip is unbelievably stiff. "
    doc = nlp(sentence * 150)
    assert len(doc) == 900
    assert doc.tensor.any(axis=1).all()
    [found] = embed_tokens([doc.text])
    read = found.offsets[-2, 1]  # before [SEP]
    inside = [token.i for token in doc if token.idx + len(token) <= read]
    assert 150 < len(inside) < 300
    rest = nlp(doc[len(inside) :].text)
    np.testing.assert_allclose(doc.tensor[len(inside) :][:100], rest.tensor[:100], atol=0.2)


def test_a_pipeline_is_saved_and_loaded(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("qa_embeddings", config={"vector": False, "layer": 2, "options": {"threads": 1}})
    nlp.to_disk(tmp_path / "saved")
    loaded = spacy.load(tmp_path / "saved")
    assert loaded.get_pipe_meta("qa_embeddings").assigns == ["doc.tensor"]
    assert np.array_equal(loaded(TEXTS[0]).tensor, nlp(TEXTS[0]).tensor)
    # Without a vector of its own, a document has the mean of its tokens'.
    np.testing.assert_allclose(
        loaded(TEXTS[0]).vector, nlp(TEXTS[0]).tensor.mean(axis=0), atol=1e-6
    )
    again = pickle.loads(pickle.dumps(loaded.get_pipe("qa_embeddings")))
    assert again.to_bytes() == loaded.get_pipe("qa_embeddings").to_bytes()

    kept = tmp_path / "saved" / "qa_embeddings" / "qa_embeddings.json"
    kept.write_bytes(orjson.dumps({**orjson.loads(kept.read_bytes()), "weights": "00" * 32}))
    with pytest.raises(ModelError, match="not the one that the pipeline was saved with"):
        spacy.load(tmp_path / "saved")("Bright.")
    with pytest.raises(ModelError, match="cannot be read"):
        QAEmbeddings().from_bytes(b"{}")


def test_the_entry_point_leads_to_the_component() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["spacy_factories"]["qa_embeddings"].partition(":")
    assert getattr(import_module(module), name) is QAEmbeddings
