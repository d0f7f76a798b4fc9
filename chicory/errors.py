"""What can go wrong, as a tree: one branch for each thing a caller can do about it.

ChicoryError
├── ConfigurationError          fix the setting that the message names
├── BrokerConnectionError       the broker did not answer: try again later
├── QueueFullError              the broker has no room: slow down, or make room
├── MessageError                this message cannot be sent, or cannot be read
│   ├── MessageTooLargeError
│   ├── MessageVersionError
│   └── MessageSignatureError
├── ValidationError             an argument or result does not fit the task's signature
├── TaskNotFoundError           no task of that name is registered
├── BackendNotConfiguredError   results were asked of an app that stores none
├── TaskError                   the task ran and failed: its error, from the worker
│   └── TaskCancelledError
├── ProcessDiedError            the process that ran a task ended before the task did
└── RetryError                  raised by ``ctx.retry``: let it pass
    └── MaxRetriesExceededError no attempt is left
"""

from __future__ import annotations


class ChicoryError(Exception):
    """Base of every error that chicory raises on purpose."""


class ConfigurationError(ChicoryError):
    """A setting, a URL, an app path or a task declaration is wrong.

    The message names it and says what is accepted.
    """


class BrokerConnectionError(ChicoryError):
    """The broker cannot be reached or did not answer.

    Verbs are idempotent, so the call may be made again as it was.
    """


class QueueFullError(ChicoryError):
    """The broker refused a message for lack of room; nothing was stored."""


class MessageError(ChicoryError):
    """A message that cannot be sent, or received bytes that are no message."""


class MessageTooLargeError(MessageError):
    """The encoded message exceeds ``max_message_size`` (bytes); nothing was published."""


class MessageVersionError(MessageError):
    """The message was written by a newer chicory, in a format this one does not know."""


class MessageSignatureError(MessageError):
    """The message is not signed and has to be, or not with a key accepted here, or was altered."""


class ValidationError(ChicoryError):
    """An argument or a return value does not fit the task's signature.

    The message names the task, the parameter and the reason.
    """


class TaskNotFoundError(ChicoryError):
    """No task of that name is registered with the app."""


class BackendNotConfiguredError(ChicoryError):
    """A result or a worker record was asked of an app with ``backend=None``."""


class TaskError(ChicoryError):
    """The task failed in a worker.

    Attributes:
        task_id: the call that failed.
        type_name: qualified name of the remote exception's class.
        message: text of the remote exception.
        remote_traceback: the remote traceback as text, empty where there is none.
    """

    def __init__(
        self, task_id: str, type_name: str, message: str, remote_traceback: str = ""
    ) -> None:
        super().__init__(task_id, type_name, message, remote_traceback)
        self.task_id = task_id
        self.type_name = type_name
        self.message = message
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        text = f"{self.type_name}: {self.message}" if self.message else self.type_name
        return f"{text} (task {self.task_id})"


class TaskCancelledError(TaskError):
    """The call was cancelled before it came to a result."""

    def __str__(self) -> str:
        return f"{self.message or self.type_name} (task {self.task_id})"


class ProcessDiedError(ChicoryError):
    """The process that ran a task ended before the task did; the message says of what.

    Raised nowhere: an attempt fails of it, and a retry policy may name it.
    """


class RemoteError(Exception):
    """Stands in a worker for an exception that a task raised in a process of its own.

    Attributes:
        type_name: qualified name of its class.
        remote_traceback: as text.
        kinds: the names of its class and of those above it, with and without their module.
        wanted: whether to retry, where that was decided in the process.
    """

    def __init__(
        self,
        type_name: str,
        message: str,
        remote_traceback: str,
        kinds: frozenset[str],
        *,
        wanted: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.remote_traceback = remote_traceback
        self.kinds = kinds
        self.wanted = wanted


class RetryError(ChicoryError):
    """Ends the attempt and asks for another one; raised by ``ctx.retry``.

    Attributes:
        countdown: seconds until the next attempt, ``None`` for the retry policy's delay.
        cause: the exception that made the task ask, if it gave one.
    """

    def __init__(
        self,
        message: str = "retry requested",
        *,
        countdown: float | None = None,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.countdown = countdown
        self.cause = cause


class MaxRetriesExceededError(RetryError):
    """``ctx.retry`` was called although no attempt is left."""
