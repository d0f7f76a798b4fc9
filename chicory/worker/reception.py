"""Answers whoever asks after a worker: ``/live``, ``/ready``, ``/metrics``; on any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from urllib.parse import parse_qs

from chicory.answers import OK, Answer, Opening, absent, as_json, health
from chicory.config import WorkerConfig
from chicory.errors import ChicoryError
from chicory.stats import WorkerStats
from chicory.transport import Counts, Transport
from chicory.worker.checkup import Findings, Phase, moribund, unready
from chicory.worker.keeper import Keeper
from chicory.worker.tally import Tally

PATIENCE = 2.0
"""Seconds that the broker gets to answer."""
NO_CLIENT = "metrics need prometheus-client: pip install 'chicory[metrics]'"


def can_measure() -> bool:
    """Whether what makes metrics readable is installed."""
    return find_spec("prometheus_client") is not None


def opening(config: WorkerConfig) -> Opening | None:
    """The endpoint on the configured port, where there is one."""
    if config.health_port is None:
        return None
    from chicory.endpoint import Endpoint  # noqa: PLC0415  (an HTTP server is much to load)

    return partial(Endpoint, config.health_host, config.health_port)


class Reception:
    """One worker's; called with a path and its query.

    ``/metrics?process=2&queues=0``: the value of the label ``process`` (1), and whether to count
    what is in the queues (1): a supervisor asks for that only once.

    Attributes:
        keeper: who knows, once it has been started.

    Args:
        config: the limits.
        queues: what the worker consumes.
        tally: what was counted.
        phase: where in its life the worker is.
        stats: its statistics.
    """

    def __init__(
        self,
        config: WorkerConfig,
        queues: Sequence[str],
        tally: Tally,
        phase: Callable[[], Phase],
        stats: Callable[[], WorkerStats],
    ) -> None:
        self.keeper: Keeper | None = None
        self._config = config
        self._queues = queues
        self._tally = tally
        self._phase = phase
        self._stats = stats

    def __call__(self, target: str) -> Answer:
        """The answer; 404 for what there is not."""
        path, _, query = target.partition("?")
        match path:
            case "/live":
                return self._live()
            case "/ready":
                return self._ready()
            case "/metrics":
                return self._metrics({name: found[-1] for name, found in parse_qs(query).items()})
            case _:
                return absent()

    def _live(self) -> Answer:
        return health(moribund(self._findings(()), self._config.blocked_loop_limit))

    def _ready(self) -> Answer:
        findings = self._findings(_unreachable(self.keeper) if self.keeper else ())
        return health(unready(findings, self._config.blocked_loop_warning))

    def _findings(self, unreachable: tuple[str, ...]) -> Findings:
        keeper, phase = self.keeper, self._phase()
        if keeper is None:
            return Findings(phase=phase)
        return Findings(
            phase=phase,
            blocked=keeper.blocked,
            deaf=keeper.fetch.deaf,
            kept=keeper.is_alive or phase == "stopping",
            lapsed=keeper.renewal.lapsed,
            cut_off=keeper.renewal.is_cut_off,
            refused=keeper.refusal,
            unreachable=unreachable,
        )

    def _metrics(self, options: dict[str, str]) -> Answer:
        meter, process = self._tally.meter, options.get("process", "1")
        if meter is None or not process.isdecimal():
            return as_json(501, {"error": NO_CLIENT})
        from chicory.worker.exposition import (  # noqa: PLC0415  (an extra)
            CONTENT_TYPE,
            Readings,
            expose,
        )

        stats, (answers, queues) = self._stats(), self._ask(counts=options.get("queues") != "0")
        lag = max(stats.loop_lag, self.keeper.blocked) if self.keeper else 0.0
        tally = self._tally
        readings = Readings(stats, meter, tally.fetched, tally.leases_lost, lag, answers, queues)
        return Answer(OK, expose(readings, int(process)), CONTENT_TYPE)

    def _ask(self, *, counts: bool) -> tuple[bool | None, dict[str, Counts]]:
        """Whether the broker answers, and what is in the queues if that is wanted."""
        if self.keeper is None:
            return None, {}
        if not counts:
            return not _unreachable(self.keeper), {}
        try:
            found = self.keeper.ask(lambda opened: opened[0].counts(self._queues), PATIENCE)
        except ChicoryError:
            return False, {}
        return True, {name: found.get(name, Counts()) for name in self._queues}


def _unreachable(keeper: Keeper) -> tuple[str, ...]:
    try:
        return keeper.ask(_failures, PATIENCE)
    except ChicoryError as error:
        return (str(error),)


async def _failures(transports: Sequence[Transport]) -> tuple[str, ...]:
    pings = [transport.ping() for transport in transports]
    found = await asyncio.gather(*pings, return_exceptions=True)
    return tuple(str(one) for one in found if one is not None)
