"""From a URL to its transport: whatever package has registered the scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chicory.errors import ConfigurationError
from chicory.masking import mask
from chicory.transport import Transport, TransportSettings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "chicory.transports"


def open_transport(settings: TransportSettings) -> Transport:
    """The unopened transport for the URL's scheme.

    Raises:
        ConfigurationError: no package has registered the scheme, or two have; the package's
            client library is not installed; or the URL is not to the transport's liking.
    """
    scheme, separator, _ = settings.url.partition("://")
    if not separator:
        raise ConfigurationError(
            f"{mask(settings.url)!r} is no broker URL: write scheme://..., as in sqlite:///tasks.db"
        )
    return _load(_entry(scheme))(settings)


def _entry(scheme: str) -> EntryPoint:
    from importlib.metadata import entry_points  # noqa: PLC0415  (slow to import)

    found = {entry.value: entry for entry in entry_points(group=GROUP, name=scheme)}
    if not found:
        known = sorted({entry.name for entry in entry_points(group=GROUP)})
        raise ConfigurationError(
            f"unknown broker scheme {scheme!r}: known are {', '.join(known) or 'none'}"
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"two packages claim the broker scheme {scheme!r}: {', '.join(sorted(found))}"
        )
    return next(iter(found.values()))


def _load(entry: EntryPoint) -> type[Transport]:
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        package = entry.module.partition(".")[0]
        if (error.name or "").partition(".")[0] == package:
            raise  # the adapter itself is broken, not its client missing
        raise ConfigurationError(
            f"{entry.name}:// needs the module {error.name!r}: "
            f"pip install '{entry.dist.name if entry.dist else 'chicory'}[{entry.name}]'"
        ) from error
