"""Whatever the OpenAPI description allows, and what it does not, is answered without a crash."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
)

from indexing.job import run_job
from qa_system.config import load_settings
from serving import serving

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[BaseSchema]:
    folder = tmp_path_factory.mktemp("serving")
    overrides = {
        "store.path": str(folder / "store"),
        "indexing.sources": [str(sample)],
        "indexing.embed": False,
    }
    run_job(load_settings(None, overrides, environ={}))
    # Without a generator and by words alone: crashes are looked for, not answers.
    limits = ["--set", "serving.modes=[extract]", "--set", "retriever.mode=bm25"]
    for name in ("feedback", "audit", "asked"):
        limits += [f"--{name}", str(folder / name)]
    with serving(folder, "--store", folder / "store", *limits) as server:
        yield schemathesis.openapi.from_url(f"{server.address}/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_crashes_the_service(described: BaseSchema, mode: GenerationMode) -> None:
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= 11
    for operation in operations:
        try:
            cases = operation.as_strategy(generation_mode=mode)

            @given(cases)
            @settings(max_examples=20, suppress_health_check=list(HealthCheck))
            def check(case: Case) -> None:
                response = case.call()
                late = response.status_code == 504  # `timeout_ms` may be 1
                case.validate_response(response, checks=CHECKS[1:] if late else CHECKS)

            check()
        except Unsatisfiable:  # it takes nothing that could be wrong
            assert operation.method == "get"
