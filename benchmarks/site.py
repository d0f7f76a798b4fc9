"""A broker that stays while errand after errand is done on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from subprocess import Popen
from typing import Any

from benchmarks import place, process, weight
from benchmarks.footprint import resident_of
from benchmarks.job import Figures, Job
from benchmarks.server import Place
from benchmarks.variant import Scheduling, Variant

_WARMING_UP = 2_000
"""No-ops that a process runs before it is asked for figures, as those before it have by then."""


class Site(ABC):
    """A place, and how errands are done there on one event loop."""

    def __init__(self, variant: Variant, where: Place) -> None:
        self._loop: Scheduling = variant.loop
        self._place = where

    @abstractmethod
    def perform(self, errand: str, **told: Any) -> Figures:
        """Do one errand."""

    @abstractmethod
    def echo(self, **told: Any) -> Figures:
        """Time single calls; a worker waits for them."""

    @abstractmethod
    def weight(self) -> Figures:
        """Bytes that are held here."""

    def _job(self, errand: str, **told: Any) -> Job:
        where = self._place
        return Job(errand=errand, url=where.url, server=where.server, loop=self._loop, **told)


class Outside(Site):
    """A broker outside: each errand has a process of its own."""

    def perform(self, errand: str, **told: Any) -> Figures:
        """Do one errand."""
        return process.run(self._job(errand, **told))

    def echo(self, **told: Any) -> Figures:
        """Time single calls, the worker in another process."""
        with process.served(self._job("serve", queue=told["queue"])):
            return self.perform("echo", **told)

    def weight(self) -> Figures:
        """What the broker says that it holds, and its process in memory."""
        return weight.weight(self._place)


class Inside(Site):
    """A broker in memory: all errands are done by the process that has it."""

    def __init__(self, variant: Variant, where: Place, child: Popen[bytes]) -> None:
        super().__init__(variant, where)
        self._child = child

    def perform(self, errand: str, **told: Any) -> Figures:
        """Do one errand."""
        return process.ask(self._child, self._job(errand, **told))

    def echo(self, **told: Any) -> Figures:
        """Time single calls, the worker in the same process."""
        return self.perform("echo_alone", **told)

    def weight(self) -> Figures:
        """The process in memory."""
        return {"kept": resident_of(self._child.pid) * 2**20}


@contextmanager
def site(variant: Variant) -> Generator[Site]:
    """A new and empty one."""
    with place.fresh(variant.broker) as where:
        if variant.broker != "memory":
            yield Outside(variant, where)
            return
        attend = Job(errand="attend", url=where.url, loop=variant.loop)
        with process.served(attend) as child:
            inside = Inside(variant, where, child)
            inside.perform("sip", count=_WARMING_UP)
            yield inside
