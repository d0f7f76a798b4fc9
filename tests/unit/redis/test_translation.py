"""What is said of an error of the server."""

from redis.exceptions import AskError, MovedError

from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory_redis.address import parse
from chicory_redis.translation import is_passing, translated

ADDRESS = parse("redis://h:7000")


def test_that_a_slot_is_on_its_way_is_said_in_words():
    error = AskError("15539 other:7001")

    said = translated(error, ADDRESS)

    assert is_passing(error)
    assert type(said) is BrokerConnectionError
    assert str(said).endswith("reached: its cluster moves our keys (15539 other:7001)")


def test_a_node_whose_host_is_not_told_is_not_waited_for():
    error = MovedError("15539 ?:7001")

    said = translated(error, ADDRESS)

    assert not is_passing(error)
    assert type(said) is ConfigurationError
    assert "h:7000 does not tell the host of the node that has our keys" in str(said)
