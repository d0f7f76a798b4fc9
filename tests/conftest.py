"""Every asynchronous test runs under asyncio and under trio."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("chicory.testing.contract")

# else each of a thousand processes compiles all that it imports: three times the work of its start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# a machine that is busy is no bug
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

collect_ignore = ["example"]  # a project of its own: tests/integration/test_example.py runs it


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param
