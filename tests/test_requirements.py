"""One version of every package: pyproject.toml, constraints.txt and requirements/ agree.

Each has its hashes. Where they do not agree, `make requirements` writes the files anew.
"""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENTS = runpy.run_path(str(FOLDER / "compile.py"))["ENVIRONMENTS"]
FILES = sorted(FOLDER.glob("*.txt"))
ASKED_BY_EXTRAS = [name for name, (extras, _) in ENVIRONMENTS.items() if extras]
BY_HAND = "torch-cpu"


def entries(path):
    """The requirements of a file, each with its hashes."""
    joined = path.read_text().replace("\\\n", " ")
    for line in joined.splitlines():
        if line and not line.startswith("#"):
            pin, *hashes = line.split(" --hash=")
            yield Requirement(pin), [each.strip() for each in hashes]


def pins(path):
    """The versions of a file by name; a package may have another one on another Python."""
    found = {}
    for requirement, _ in entries(path):
        [each] = requirement.specifier
        assert each.operator == "==", requirement
        found.setdefault(canonicalize_name(requirement.name), set()).add(Version(each.version))
    return found


def requirements_of(extras):
    """What the package itself asks for, with extras, and theirs."""
    asked = [Requirement(each) for each in PROJECT["dependencies"]]
    for extra in extras:
        for text in PROJECT["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == PROJECT["name"]:
                asked += requirements_of(requirement.extras)
            else:
                asked.append(requirement)
    return asked


CONSTRAINTS = pins(ROOT / "constraints.txt")


def test_every_environment_has_its_file():
    assert {path.stem for path in FILES} == {*ENVIRONMENTS, BY_HAND}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_that_is_installed_has_its_hash(path):
    for requirement, hashes in entries(path):
        assert hashes, requirement
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), requirement


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_versions_are_those_of_the_constraints(path):
    for name, versions in pins(path).items():
        public = {Version(version.public) for version in versions}
        assert public <= CONSTRAINTS[name], name


@pytest.mark.parametrize("environment", ASKED_BY_EXTRAS)
def test_what_pyproject_asks_for_is_there_in_its_range(environment):
    found = {**pins(FOLDER / f"{environment}.txt"), **pins(FOLDER / f"{BY_HAND}.txt")}
    if environment == "bench":
        found |= pins(FOLDER / "dev.txt")
    for requirement in requirements_of(ENVIRONMENTS[environment][0]):
        versions = found[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(each) for each in versions), requirement


@pytest.mark.parametrize(
    "place",
    [ROOT / "Makefile", ROOT / "Dockerfile", *sorted((ROOT / ".github/workflows").glob("*.yml"))],
    ids=lambda place: place.name,
)
def test_nothing_is_installed_without_its_hash(place):
    """Either pip checks the hashes, or it installs this package alone."""
    text = place.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if re.search(r"pip\"? install", line) and not line.lstrip().startswith(("#", "PIP ")):
            assert "--require-hashes" in line or "--no-deps" in line, line
        assert not re.match(r"\t@?\$\(PIP\)", line), line
