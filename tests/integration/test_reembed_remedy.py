"""The error about another encoder names a command; run as it stands, that command helps."""

import shlex

import pytest
from haystack.dataclasses import Document
from typer.testing import CliRunner

import indexing.cli
from qa_system.config import EncoderSettings
from qa_system.errors import EncoderMismatchError
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
    return shlex.split(caught.value.remedy.partition("store: ")[2])


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
