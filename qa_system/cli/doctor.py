"""`qa doctor`: what is installed, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from qa_system.console.app import print_json
from qa_system.console.options import STORE, JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["doctor"]


@takes_settings(STORE)
def doctor(settings: Settings, as_json: JsonOption = False) -> None:
    """Say what is installed, which models and stores are found, and how to get the rest."""
    from qa_system.doctor import examine

    findings = examine(settings)
    healthy = all(finding.ok for finding in findings if finding.required)
    if as_json:
        print_json({"healthy": healthy, "findings": [finding.to_dict() for finding in findings]})
    else:
        for finding in findings:
            mark = "ok     " if finding.ok else ("MISSING" if finding.required else "-      ")
            typer.echo(f"{mark}  {finding.name:<22} {finding.detail}")
            if finding.remedy is not None:
                typer.echo(f"{'':<9}{'':<22} -> {finding.remedy}")
    if not healthy:
        raise typer.Exit(1)
