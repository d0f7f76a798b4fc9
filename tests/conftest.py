"""Every asynchronous test runs under asyncio and under trio."""

import pytest

pytest.register_assert_rewrite("chicory.testing.contract")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param
