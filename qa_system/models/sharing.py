"""One copy in memory of a model that several components use."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

__all__ = ["Shared"]

Model = TypeVar("Model")


class Shared(Generic[Model]):
    """Loaded models, each for as long as somebody uses it.

    >>> shared: Shared[set[str]] = Shared()
    >>> one = shared.get("name", lambda: {"weights"})
    >>> shared.get("name", lambda: {"weights"}) is one
    True
    """

    def __init__(self) -> None:
        self._held: WeakValueDictionary[Hashable, Model] = WeakValueDictionary()
        self._loading = Lock()

    def get(self, key: Hashable, load: Callable[[], Model]) -> Model:
        """Return the model of a key; load it if nobody has it."""
        with self._loading:
            model = self._held.get(key)
            if model is None:
                model = self._held[key] = load()
            return model
