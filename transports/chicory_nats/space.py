"""The parts that serve one namespace over one connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from chicory.transport import TransportSettings
from chicory_nats import stream
from chicory_nats.acks import Acks
from chicory_nats.address import Address
from chicory_nats.ballast import Ballast
from chicory_nats.boot import Boot
from chicory_nats.cancelling import Canceller
from chicory_nats.claims import Claims
from chicory_nats.consumers import Consumers
from chicory_nats.fetching import Fetcher
from chicory_nats.leases import Leases
from chicory_nats.letters import Letters
from chicory_nats.publishing import Publisher
from chicory_nats.queues import Queues, Registry
from chicory_nats.records import Records
from chicory_nats.session import Session
from chicory_nats.settling import Settler
from chicory_nats.watching import Sink, Watcher
from chicory_nats.workers import Workers

logger = logging.getLogger("chicory.nats")


class Space:
    """Made and used on one asyncio loop."""

    def __init__(
        self,
        address: Address,
        settings: TransportSettings,
        tell: Callable[[Sink, str, bytes], None],
    ) -> None:
        self.session = session = Session(address, settings)
        registry, consumers, acks = Registry(session), Consumers(session), Acks(session)
        self._ballast = ballast = Ballast(session)
        self._boot = Boot(session)
        self.publisher = Publisher(session, registry, ballast)
        self.settler = Settler(session, acks, self.publisher, registry, ballast)
        claims = Claims(session, self._boot, acks, self.settler)
        self.fetcher = Fetcher(session, consumers, self._boot, acks, claims)
        self.leases = Leases(session, acks)
        self.records = Records(session, consumers)
        self.watcher = Watcher(session, tell)
        self.letters = Letters(session, self.publisher, registry)
        self.queues = Queues(session, consumers)
        self.canceller = Canceller(session, consumers)
        self.workers = Workers(session, ballast)
        self._consumers, self._registry = consumers, registry
        session.connection.on_missing(self._revive)

    async def open(self) -> None:
        """Connect, and have the stream."""
        await self.session.open()
        try:
            await stream.ensure(self.session)
            await self._boot.look()
            await self._ballast.take_in()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect; who waits gets an error."""
        await self.session.connection.close()
        await self.fetcher.close()

    async def _revive(self) -> None:
        """Make the stream again where somebody has deleted it: what was in it is lost."""
        if await stream.is_gone(self.session):
            await stream.ensure(self.session)
            logger.error(
                "%s: the stream %s was gone, with all that was in it: it is made again",
                self.session.address,
                self.session.subjects.stream,
            )
            self._consumers.forget()
            self._registry.forget()
            await self._boot.look()

    def unwatch(self, task_ids: Collection[str]) -> None:
        """Call the sinks of these ids no more."""
        sids = self.watcher.unwatch(task_ids)
        if sids:
            self.session.connection.subscriptions.end(*sids)
