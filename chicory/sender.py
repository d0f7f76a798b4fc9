"""What calls are sent with: a task, or a task with options for some of its calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, ParamSpec, TypeVar, Unpack

from chicory import portal
from chicory.broker import Broker
from chicory.call import begin
from chicory.clock import Clock
from chicory.errors import ConfigurationError
from chicory.keywords import CallKeywords
from chicory.options import CallOptions, TaskOptions, check_unique
from chicory.result import AsyncResult, Source
from chicory.signature import Signature
from chicory.template import Template
from chicory.transport import Duplicate, Publication, PublishOutcome

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Sender(ABC, Generic[P, R]):
    """Sends calls of one task, all with the same options.

    Attributes:
        name: the task's name.
        settings: the task's settings.
        source: where the handles of its calls find what they are asked for.
    """

    name: str
    settings: TaskOptions
    source: Source

    def __init__(self, broker: Broker, clock: Clock, options: CallOptions) -> None:
        self._broker = broker
        self._clock = clock
        self._options = options
        self._template: Template | None = None

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """The task's argument codec. Raises ``ConfigurationError`` for unusable annotations."""

    def result(self, task_id: str, *, duplicate: bool = False) -> AsyncResult[R]:
        """The handle of a call of this task."""
        return AsyncResult(task_id, self.source, duplicate)

    async def send(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Publish a call and return its id; the call is durable when this returns.

        Where a call with the same unique key lives already, nothing is published, and its id is
        returned.

        Raises:
            ValidationError: an argument, or the unique key, does not fit; nothing was published.
            MessageTooLargeError: likewise.
            QueueFullError: the broker has no room; nothing was published.
            BrokerConnectionError: the broker did not answer; the call may have been published.
        """
        publication = self.publication(args, kwargs)
        outcome = await self._broker.submit(publication)
        return outcome.task_id if type(outcome) is Duplicate else publication.task_id

    async def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Publish a call and return its handle, or that of the living one with its unique key.

        Raises as ``send`` does.
        """
        publication = self.publication(args, kwargs)
        return self.handle(publication.task_id, await self._broker.submit(publication))

    def send_sync(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """``send`` for code without an event loop, from any thread.

        Raises as ``send`` does, and ``RuntimeError`` where an event loop runs in this thread.
        """
        return portal.run_sync(f"{self.name}.send_sync(...)", self.send, *args, **kwargs)

    def delay_sync(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """``delay`` for code without an event loop, from any thread; see ``get_sync``, too.

        Raises as ``send_sync`` does.
        """
        return portal.run_sync(f"{self.name}.delay_sync(...)", self.delay, *args, **kwargs)

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """A call to be sent with others: see ``Chicory.enqueue_many``. Checked when it is sent."""
        return Call(self, args, kwargs)

    def options(self, **options: Unpack[CallKeywords[P]]) -> Variant[P, R]:
        """The same task, for calls with options of their own; see ``CallOptions``.

        What is not given is as it is here; ``None`` is what ``CallOptions`` says of it, whatever
        the task has. Headers are added to those here.

        Raises ``ConfigurationError`` for a value that makes no sense; nothing is published then.
        """
        altered = self._options.altered(options)
        check_unique(self.settings.delivery_mode, altered.unique, "options")
        begin(altered, self._clock.now())  # an eta beyond reason
        return Variant(self, altered, self._broker, self._clock)

    def template(self, broker: Broker) -> Template:
        """What makes the messages of its calls.

        Raises ``ConfigurationError`` where ``broker`` is that of another app, or as ``signature``.
        """
        if broker is not self._broker:
            raise ConfigurationError(f"task {self.name} is another app's: enqueue it with that one")
        return self._template or self._make_template()

    def handle(self, task_id: str, outcome: PublishOutcome) -> AsyncResult[R]:
        """The handle of the call that was published as ``task_id``, or of its duplicate."""
        if type(outcome) is Duplicate and outcome.task_id != task_id:
            return self.result(outcome.task_id, duplicate=True)
        return AsyncResult(task_id, self.source)

    def publication(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Publication:
        """What to publish for a call with these arguments. Raises as ``send``."""
        template = self._template or self._make_template()
        return template.publication(args, kwargs, self._clock.now())

    def _make_template(self) -> Template:
        check = self.settings.validation_mode.inputs
        self._template = Template(self.signature, self._options, self._broker, check=check)
        return self._template


class Variant(Sender[P, R]):
    """A task with options of its own for calls; made by ``Task.options``."""

    def __init__(
        self, task: Sender[P, R], options: CallOptions, broker: Broker, clock: Clock
    ) -> None:
        super().__init__(broker, clock, options)
        self.name = task.name
        self.settings = task.settings
        self._task = task
        self.source = task.source

    def __repr__(self) -> str:
        return f"<Task {self.name} with options>"

    @property
    def signature(self) -> Signature:
        """The task's."""
        return self._task.signature


class Call(Generic[R_co]):
    """One call of a task, not sent yet; made by ``Task.call``.

    Attributes:
        name: the task's name.
        sender: the task, perhaps with options of its own.
        args, kwargs: the arguments.
    """

    __slots__ = ("args", "kwargs", "sender")

    def __init__(
        self, sender: Sender[..., R_co], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.sender = sender
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        return f"<Call of {self.name}>"

    @property
    def name(self) -> str:
        """The task's name."""
        return self.sender.name

    def prepare(self, broker: Broker) -> Publication:
        """What to publish there. Raises as ``send``, and as ``Sender.template``."""
        self.sender.template(broker)
        return self.sender.publication(self.args, self.kwargs)
