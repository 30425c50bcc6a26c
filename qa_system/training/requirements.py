"""Packages that training needs beside torch: imported, their logging turned off, and seeded."""

from __future__ import annotations

from importlib import import_module

from qa_system.errors import MissingDependencyError

__all__ = ["training_packages"]


def training_packages(seed: int, *further: str) -> None:
    """Import the packages that training needs, and seed every generator.

    Args:
        seed: of Python, numpy and torch.
        further: names of packages beside accelerate and transformers.

    Raises:
        MissingDependencyError: one is not installed.
    """
    try:
        for name in ("accelerate", *further):
            import_module(name)
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            f"training needs the package {error.name!r}",
            remedy="Install it: pip install 'qa-system[train]'.",
        ) from error
    # A head without weights yet is why we train; progress bars are our own.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    transformers.set_seed(seed)
