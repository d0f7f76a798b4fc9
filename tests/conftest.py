"""Every asynchronous test runs under asyncio and under trio."""

import pytest

pytest.register_assert_rewrite("chicory.testing.contract")

collect_ignore = ["example"]  # a project of its own: tests/integration/test_example.py runs it


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param
