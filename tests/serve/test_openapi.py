"""The service against its own OpenAPI document, by Schemathesis: no 5xx, and answers as they are promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.extras,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_what_the_document_says_is_what_is_answered(folder: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="needs the package schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    from ilion.serve.feedback import Feedback
    from ilion.serve.guards import Limits
    from ilion.serve.index import Index
    from ilion.serve.service import Service, make_app

    service = Service(Index.open(folder), Limits(rate=0), feedback=Feedback(folder, 1))
    app = make_app(service, frozenset(("localhost", "testserver")))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    tried = 0
    for operation in (found.ok() for found in schema.get_all_operations()):

        @given(case=operation.as_strategy())
        @settings(
            max_examples=30,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            nonlocal tried
            response = case.call(base_url="http://localhost")
            assert response.status_code < 500, (case.as_curl_command(), response.text)
            case.validate_response(
                response, checks=(schemathesis.checks.not_a_server_error, *schemathesis_checks())
            )
            tried += 1

        check()
    assert tried > 200


def schemathesis_checks() -> tuple[Any, ...]:
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    return content_type_conformance, response_schema_conformance
