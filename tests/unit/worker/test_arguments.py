"""What a worker cannot be made from is refused in one line, not met as an odd error later."""

import pytest

from chicory import Chicory, ChicoryConfig, Worker
from chicory.errors import ConfigurationError


@pytest.mark.parametrize("given", [None, "tasks:app", {}])
def test_what_is_no_app_is_refused(given):
    kind = type(given).__name__

    with pytest.raises(ConfigurationError, match=rf"^Worker\(app={kind}\(.*: must be a Chicory$"):
        Worker(given)


@pytest.mark.parametrize("given", [{"concurrency": 3}, {}, ChicoryConfig(), 3])
def test_what_are_no_settings_is_refused(given):
    kind = type(given).__name__

    with pytest.raises(ConfigurationError, match=rf"^Worker\(config={kind}\(.* a WorkerConfig$"):
        Worker(Chicory("memory://"), given)


def test_no_queues_at_all_are_refused_and_none_is_the_configured_one():
    app = Chicory("memory://")

    assert Worker(app, queues=None).queues == ("default",)
    with pytest.raises(ConfigurationError, match="a worker needs a queue to consume"):
        Worker(app, queues=[])
