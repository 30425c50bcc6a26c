import inspect
import re

from qa_system import errors


def test_the_tree_is_drawn_whole() -> None:
    drawn = set(re.findall(r"\w+Error\b", errors.__doc__ or ""))
    defined = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert defined <= drawn
    assert drawn - defined == {
        "FilterError",
        "DuplicateDocumentError",
        "ValueError",
        *(kind.__name__ for kind in outside()),
    }
    assert defined == set(errors.__all__)


def outside() -> list[type]:
    """The errors that stand with what raises them: another library's too, or with records."""
    from indexing.interrupts import JobInterruptedError
    from qa_system.stores.documents import DocumentTypeError, MetadataError
    from qa_system.stores.embedded.derived.lexical import DamagedIndexError
    from qa_system.stores.filters import InvalidFilterError
    from qa_system.stores.writes import DocumentsRejectedError, DuplicateIdError

    return [
        JobInterruptedError,
        DocumentsRejectedError,
        DuplicateIdError,
        InvalidFilterError,
        DamagedIndexError,
        DocumentTypeError,
        MetadataError,
    ]


def test_every_error_is_one_of_ours() -> None:
    for kind in [*(getattr(errors, name) for name in errors.__all__), *outside()]:
        assert issubclass(kind, errors.QASystemError)


def test_the_message_says_what_where_and_the_remedy() -> None:
    error = errors.StoreError("the disk is full", where="/data", remedy="Free some space.")
    assert str(error) == "the disk is full (/data). Free some space."
    assert (error.what, error.where, error.remedy) == (
        "the disk is full",
        "/data",
        "Free some space.",
    )
    assert str(errors.StoreError("the disk is full")) == "the disk is full"


def test_exit_codes() -> None:
    assert errors.ConfigError("x").exit_code == 2
    assert errors.StoreError("x").exit_code == 1


def test_errors_that_are_also_haystacks() -> None:
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.errors import FilterError

    from qa_system.stores.faiss import DuplicateIdError
    from qa_system.stores.filters import InvalidFilterError

    assert issubclass(DuplicateIdError, (errors.StoreError, DuplicateDocumentError))
    assert issubclass(InvalidFilterError, (errors.StoreError, FilterError))
