"""Templates -> HTML pages, each one file that works without a network.

A page's content security policy forbids everything from outside, and every script but its own, by
hash. Users' words are escaped by the templates, or embedded as data.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from eval.metrics import describe
from eval.report import plots

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["embedded", "render"]

TEMPLATES = Path(__file__).parent / "templates"

# What would end the element that JSON is embedded in, or start another one.
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def render(
    template: str, parts: Mapping[str, str], *, script: str = "page.js", **values: Any
) -> str:
    """Write a page.

    Args:
        template: its name.
        parts: id -> heading of each part, for the page's contents.
        script: the name of the page's only script.
        values: what the template shows.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    from markupsafe import Markup

    code = (TEMPLATES / script).read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            values,
            contents=parts,
            script=Markup(code),  # noqa: S704  our own file
            script_hash=f"sha256-{digest}",
            style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        )
    )


def embedded(value: Any) -> Any:
    """Return a value as JSON, as markup for a `script` element that it cannot end."""
    from markupsafe import Markup

    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return Markup(text.translate(_UNSAFE))  # noqa: S704  nothing in it can leave its element


@cache
def _environment() -> Environment:
    plots.require_matplotlib()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = lambda metric: describe(metric).label
    environment.filters["meaning"] = lambda metric: describe(metric).meaning
    environment.filters["shown"] = lambda value, metric, signed=False: describe(metric).shown(
        value, signed=signed
    )
    return environment
