"""Lay the site out as the repository is, so that the same links lead on in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SHOWN = (
    "*.md",
    "LICENSE",
    "benchmarks/*.md",
    "configs/**/*.*",
    "data/*/README.md",
    "docs/*.md",
    "docs/decisions/*.md",
    "examples/*.*",
    "examples/hayhooks/*/*.py",
    "docs/figures/*",
    "models/*/README.md",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by those of the whole repository that the documents link to."""
    root = Path(config.config_file_path).parent
    shown = [
        File(
            path.relative_to(root).as_posix(),
            str(root),
            config.site_dir,
            config.use_directory_urls,
        )
        for pattern in SHOWN
        for path in sorted(root.glob(pattern))
    ]
    themes = [file for file in files if file.src_dir != config.docs_dir]
    return Files([*shown, *themes])
