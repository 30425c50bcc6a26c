"""Addresses of a server and its index, as people write them."""

import pytest

from qa_system.config.addresses import split_address
from qa_system.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "url", "index"),
    [
        ("http://localhost:9200/reviews", "http://localhost:9200", "reviews"),
        ("https://es.example/reviews/", "https://es.example", "reviews"),
        ("https://example.com/search/es/reviews", "https://example.com/search/es", "reviews"),
        ("http://a:9200,http://b:9200/reviews", "http://a:9200,http://b:9200", "reviews"),
        ("http://a:9200/, http://b:9200/reviews/", "http://a:9200,http://b:9200", "reviews"),
        ("https://a/reviews,https://b/reviews", "https://a,https://b", "reviews"),
        ("http://a:9200,b:9201/reviews", "http://a:9200,http://b:9201", "reviews"),
        ("http://a/x,http://b/y/reviews", "http://a/x,http://b/y", "reviews"),
        ("http://reviews,http://b/reviews", "http://reviews,http://b", "reviews"),
        ("http://[::1]:9200/reviews", "http://[::1]:9200", "reviews"),
    ],
)
def test_server_and_index(address: str, url: str, index: str) -> None:
    assert split_address(address) == (url, index)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://localhost:9200", "has no index"),
        ("http://localhost:9200/", "has no index"),
        ("http://a/reviews,http://b", "has no index"),
        ("ftp://localhost/reviews", "not a server's address"),
        ("http:///reviews", "not a server's address"),
        ("http://localhost:port/reviews", "not a server's address"),
        ("http://localhost:99999/reviews", "not a server's address"),
        ("http://[::1/reviews", "not a server's address"),
        ("http://localhost/reviews?size=3", "not a server's address"),
        ("http://a,,http://b/reviews", "not a server's address"),
    ],
)
def test_what_is_none_is_refused_by_name(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        split_address(address)
    assert "http://localhost:9200/reviews" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "address",
    [
        "http://me:secret@localhost:9200/reviews",
        "http://me:secret@localhost:9200",
        "http://me:secret/with@slash@localhost/reviews",
        "http://a,http://me:secret,too@b/reviews",
        "http://secret@localhost/reviews",
    ],
)
def test_a_secret_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match="holds a user or a password") as caught:
        split_address(address)
    assert "secret" not in str(caught.value)
    assert "store.username_env" in str(caught.value)
    assert "store.password_env" in str(caught.value)
