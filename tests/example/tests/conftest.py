"""Every asynchronous test runs under asyncio and under trio."""

import pytest
from shop import tasks


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(autouse=True)
def nothing_sent():
    tasks.sent.clear()
