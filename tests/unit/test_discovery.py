import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from chicory import Chicory
from chicory.discovery import GROUP, open_transport
from chicory.errors import ConfigurationError
from chicory.testing.memory import MemoryTransport
from chicory.transport import TransportSettings


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Have adapters be found: ``install("scheme", "package:Transport", source)``."""
    points: list[EntryPoint] = []
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda **wanted: EntryPoints(points).select(**wanted)
    )

    def install(scheme: str, value: str, source: str | None = None) -> None:
        points.append(EntryPoint(scheme, value, GROUP))
        if source is not None:
            name = value.partition(":")[0]
            (tmp_path / f"{name}.py").write_text(source)
            sys.modules.pop(name, None)

    return install


def test_a_scheme_opens_its_transport():
    transport = open_transport(TransportSettings(url="memory://"))

    assert isinstance(transport, MemoryTransport)


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(
        ConfigurationError, match=r"unknown broker scheme 'amqp': known are .*memory"
    ):
        Chicory("amqp://host")


def test_without_any_adapter_none_is_known(install):
    with pytest.raises(ConfigurationError, match=r"'memory': known are none"):
        Chicory("memory://")


@pytest.mark.parametrize("url", ["", "redis", "localhost:6379", "chicory.db", "sqlite:/x.db"])
def test_what_is_no_url_is_told_what_one_looks_like(url):
    with pytest.raises(ConfigurationError, match=r"is no broker URL: write scheme://"):
        Chicory(url)


def test_what_is_no_url_is_shown_without_its_secrets():
    with pytest.raises(ConfigurationError) as caught:
        Chicory("user:hunter2@host")

    assert "hunter2" not in str(caught.value)


def test_a_missing_client_library_says_what_to_install(install):
    install("far", "adapter_far:Transport", "import far_client.sub\n")

    with pytest.raises(
        ConfigurationError,
        match=r"far:// needs the module 'far_client': pip install 'chicory\[far\]'",
    ):
        Chicory("far://host")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import adapter_broken.missing\n", ModuleNotFoundError),
        ("import adapter_broken_not\nraise AssertionError", ConfigurationError),
        ("1 / 0\n", ZeroDivisionError),
        ("from json import nothing\n", ImportError),
        ("Other = 1\n", AttributeError),
    ],
)
def test_a_broken_adapter_is_not_taken_for_a_missing_extra(install, source, error):
    install("broken", "adapter_broken:Transport", source)

    with pytest.raises(error):
        Chicory("broken://host")


def test_two_packages_that_claim_a_scheme_are_both_named(install):
    install("twice", "one:Transport")
    install("twice", "two:Transport")

    with pytest.raises(ConfigurationError, match=r"two packages claim .*'twice': one:.*, two:"):
        Chicory("twice://host")


def test_one_package_that_is_found_twice_is_one(install):
    for _ in range(2):
        install("memory", "chicory.testing.memory:MemoryTransport")

    assert isinstance(Chicory("memory://").broker_link.template, MemoryTransport)
