"""Where the embedded broker and backend keep their file."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import quote

from chicory.config.kinds import PositiveSeconds
from chicory.environment import Section, setting

Synchronous = Literal["off", "normal", "full", "extra"]


class SQLiteConfig(Section, kw_only=True):
    """A SQLite file, and how carefully it is written.

    Attributes:
        path: the file, from the current folder on.
        url: the whole address, as in ``sqlite:///tasks.db``; it wins over the rest.
        synchronous: what survives a loss of power: ``full`` loses nothing, ``normal`` the last
            commits.
    """

    path: str = setting("chicory.db")
    url: str | None = setting(None)
    synchronous: Synchronous = setting("normal")

    @property
    def address(self) -> str:
        """The URL of the database."""
        return self.url or f"sqlite:///{quote(self.path)}?synchronous={self.synchronous}"


class SQLiteBrokerConfig(SQLiteConfig, kw_only=True):
    """The embedded broker; ``CHICORY_BROKER_SQLITE_<FIELD>``."""

    prefix: ClassVar[str] = "BROKER_SQLITE"


class SQLiteBackendConfig(SQLiteConfig, kw_only=True):
    """The embedded result backend; ``CHICORY_BACKEND_SQLITE_<FIELD>``.

    Attributes:
        result_ttl: seconds that results are kept there; what the backend says if not given.
    """

    prefix: ClassVar[str] = "BACKEND_SQLITE"

    result_ttl: PositiveSeconds | None = setting(None)
