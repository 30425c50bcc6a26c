"""The error about another encoder names a command; run as it stands, that command helps."""

import shlex

import numpy as np
import pytest
from haystack.dataclasses import Document
from typer.testing import CliRunner

import indexing.cli
from qa_system.config import EncoderSettings
from qa_system.errors import EncoderMismatchError, ModelError
from qa_system.records import EncoderIdentity
from qa_system.retrievers.encoders import load_encoder
from qa_system.stores.faiss import FAISSDocumentStore

FORMER = EncoderIdentity("some/other", 2, "dot_product", "0" * 64)


@pytest.fixture(scope="module")
def identity():
    return load_encoder(EncoderSettings()).identity


def command_in_error(store, identity):
    with pytest.raises(EncoderMismatchError) as caught:
        store.check_encoder(identity)
    return shlex.split(caught.value.remedy[caught.value.remedy.index("qa-index ") :])


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_the_command_in_the_error_re_embeds_the_store(kind, tmp_path, request, identity):
    if kind == "folder":
        store = FAISSDocumentStore(tmp_path / "my store")
    else:
        store = request.getfixturevalue("elastic_store")()
    with store:
        store.bind_encoder(FORMER)
        store.write_documents([Document(id="r1", content="Loud.", embedding=[1.0, 0.0])])
        program, *arguments = command_in_error(store, identity)
    assert program == "qa-index"
    done = CliRunner().invoke(indexing.cli.app, arguments)
    assert done.exit_code == 0, done.output
    with store:
        store.check_encoder(identity)
        assert (store.encoder, store.count_documents()) == (identity, 1)


def test_a_version_is_re_embedded_by_the_name_that_it_stands_behind(elastic_store, identity):
    with elastic_store("reviews") as store, elastic_store("reviews-v1") as version:
        store.bind_encoder(FORMER)
        assert command_in_error(version, identity) == command_in_error(store, identity)


def test_another_question_encoder_is_taken_without_embedding(tmp_path, make_store):
    from architectures import save_dpr

    passages, questions = map(str, save_dpr(tmp_path / "one"))
    others = str(save_dpr(tmp_path / "two", seed=4)[1])
    pair = load_encoder(EncoderSettings(model=passages, question_model=questions))
    other = load_encoder(EncoderSettings(model=passages, question_model=others))
    store = make_store(similarity="dot_product")
    # No encoder makes this embedding: it would be another one, had the review been embedded again.
    vector = np.ones(pair.identity.dimension, dtype=np.float32)
    with store:
        store.bind_encoder(pair.identity)
        store.write_documents([Document(id="r1", content="Loud.", embedding=vector.tolist())])
        program, *arguments = command_in_error(store, other.identity)
    assert program == "qa-index"
    done = CliRunner().invoke(indexing.cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert "takes questions by" in done.output
    with store:
        store.check_encoder(other.identity)
        [found] = store.search_by_embedding(vector, top_k=1)
        assert found.score == pytest.approx(len(vector))
        assert store.encoder.question_hash == other.identity.question_hash
        with pytest.raises(EncoderMismatchError, match="takes questions by"):
            store.check_encoder(pair.identity)


def test_the_command_carries_the_length(tmp_path, identity):
    shorter = load_encoder(EncoderSettings(max_seq_length=64)).identity
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.bind_encoder(identity)
        store.write_documents([Document(id="r1", content="Loud.", embedding=[0.5] * 384)])
        _, *arguments = command_in_error(store, shorter)
    done = CliRunner().invoke(indexing.cli.app, arguments)
    assert done.exit_code == 0, done.output
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.check_encoder(shorter)


@pytest.mark.slow
def test_the_encoder_that_the_error_names_can_be_asked_with(tmp_path, sample, monkeypatch):
    from qa_system.cli import app as qa
    from qa_system.system import QASystem

    monkeypatch.chdir(tmp_path)
    index = ("run", "--source", str(sample), "--store", "store", "--encoder-max-seq-length", "64")
    assert CliRunner().invoke(indexing.cli.app, index).exit_code == 0
    with pytest.raises(EncoderMismatchError) as caught:
        QASystem.open(store__path="store")
    options = shlex.split(caught.value.remedy.partition("(")[2].partition(")")[0])
    assert options == ["--encoder-model", "bundled:encoder", "--encoder-max-seq-length", "64"]
    question = ("ask", "Is it loud?", "--item", "earbuds-pipstone-air", "--store", "store")
    done = CliRunner().invoke(qa, [*question, *options])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", ["run", "reembed"])
def test_a_context_encoder_alone_is_refused_before_anything_is_read(command, tmp_path, sample):
    from architectures import save_dpr

    passages, _ = save_dpr(tmp_path)
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents([Document(id="r1", content="Loud.")])
    source = ("--source", str(sample)) if command == "run" else ()
    arguments = (command, *source, "--store", tmp_path / "store", "--encoder-model", passages)
    done = CliRunner().invoke(indexing.cli.app, list(map(str, arguments)))
    assert isinstance(done.exception, ModelError)
    assert "encoder.question_model" in done.exception.remedy
