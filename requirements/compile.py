"""Write constraints.txt, and the requirements of every environment with hashes.

Run by `make requirements`.

`pyproject.toml` has the ranges, `constraints.txt` the one version of each package that is used,
and `requirements/*.txt` the same versions with the hashes of all their files on PyPI. Versions
stay as they are unless `--upgrade` asks for new ones or a range leaves them out.

PyPI's torch for Linux brings gigabytes of CUDA. It is left out here: `torch-cpu.txt`, which is
written by hand, has the builds without it, from PyTorch's own index.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
CONSTRAINTS = ROOT / "constraints.txt"

BUILD = ("hatchling", "editables")
"""Builds this package, without a download of its own."""
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "demo": (("cpu", "report"), BUILD),
    "demo-generate": (("cpu", "report", "torch"), BUILD),
    "dev": (("dev",), BUILD),
    "bench": (
        ("dev",),
        (
            *BUILD,
            "transformers-haystack==2.0.0",
            "elasticsearch-haystack==7.1.0",
            "faiss-haystack==3.0.0",
        ),
    ),
    "serve": (("cpu", "serve"), BUILD),
    "image": (("cpu", "elasticsearch", "serve"), BUILD),
    "gpu": (("gpu", "elasticsearch"), BUILD),
    "build": ((), BUILD),
    "tools": ((), ("uv", "pip-audit", "cyclonedx-bom")),
}
"""By file: extras of this package, and other requirements."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"].keys()
WITH_OWN = {"generate"}
"""Extras with a package of this project, which PyPI does not have; others have all the rest."""
OVERRIDES = "numpy>=2\n"
"""faiss-haystack asks for numpy<2, where nothing of it needs that."""
TORCH = """
[[dependency-metadata]]
name = "torch"
requires-dist = [
    "filelock", "typing-extensions>=4.10", "setuptools>=77.0.3", "sympy>=1.13.3",
    "networkx>=2.5.1", "jinja2", "fsspec>=0.8.5",
]
"""
"""What the builds without CUDA need."""
PINS = """\
# Exact versions of everything that any extra installs, so that two installs are the same install:
#   pip install -c constraints.txt 'qa-system[cpu]'
# `make requirements` writes this file, and from it requirements/*.txt, which have hashes, too.
"""
LOCKED = """\
# Written by `make requirements`, from pyproject.toml and constraints.txt:
#   pip install --require-hashes -r requirements/{name}.txt
#   pip install --no-deps --no-build-isolation .
"""
TORCH_FIRST = "# What needs torch finds it installed from torch-cpu.txt.\n"
ON_TOP = "# Installed with --no-deps, on top of dev.txt.\n"


def compile_file(output: Path, sources: list[str], options: list[str], folder: Path) -> None:
    """Resolve for every platform and every Python that is supported, into a file.

    Args:
        output: is replaced; versions that it names are kept where they can be.
        sources: files of requirements.
        options: of `uv pip compile`.
        folder: has the files that every resolution reads.
    """
    command = ["uv", "--config-file", str(folder / "uv.toml"), "pip", "compile", "--quiet"]
    command += ["--universal", "--python-version", "3.11", "--no-header", "--no-annotate"]
    command += ["--overrides", str(folder / "overrides.txt"), "--output-file", str(output)]
    subprocess.run([*command, *options, *sources], check=True, cwd=ROOT)  # noqa: S603


def compile_environment(name: str, folder: Path) -> None:
    """Write the requirements of one environment; `constraints.txt` has their versions."""
    extras, _ = ENVIRONMENTS[name]
    output, sources = FOLDER / f"{name}.txt", [str(folder / f"{name}.in")]
    left_out = {"torch"}
    if name == "bench":
        left_out |= set(
            re.findall(r"^([a-z0-9.-]+)[\[=]", (FOLDER / "dev.txt").read_text(), re.MULTILINE)
        )
    options = ["--generate-hashes", "--no-strip-extras", "--constraints", str(CONSTRAINTS)]
    options += [f"--no-emit-package={each}" for each in sorted(left_out)]
    if extras:
        sources.append("pyproject.toml")
        options += [f"--extra={extra}" for extra in extras]
    compile_file(output, sources, options, folder)
    header = LOCKED.format(name=name)
    if {"torch", "dev"} & set(extras):
        header += ON_TOP if name == "bench" else TORCH_FIRST
    output.write_text(header + output.read_text())


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "uv.toml").write_text(TORCH)
        (folder / "overrides.txt").write_text(OVERRIDES)
        for environment, (_, others) in ENVIRONMENTS.items():
            (folder / f"{environment}.in").write_text("\n".join(others))
        inputs = [str(folder / f"{environment}.in") for environment in ENVIRONMENTS]
        extras = [f"--extra={extra}" for extra in sorted(EXTRAS - WITH_OWN)]
        compile_file(CONSTRAINTS, ["pyproject.toml", *inputs], [*extras, *upgrade], folder)
        CONSTRAINTS.write_text(PINS + CONSTRAINTS.read_text())
        for environment in ENVIRONMENTS:
            compile_environment(environment, folder)


if __name__ == "__main__":
    main()
