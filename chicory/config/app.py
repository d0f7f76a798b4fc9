"""The settings of an app: the root of all."""

from __future__ import annotations

import msgspec

from chicory.config.doors import BackendConfig, BrokerConfig
from chicory.config.kinds import LeaseSeconds, Name, PositiveInt, Seconds
from chicory.config.worker import WorkerConfig
from chicory.environment import Section, setting
from chicory.states import DeliveryMode, ValidationMode
from chicory.transport import DEFAULT_LEASE

MEBIBYTE = 1 << 20


class ChicoryConfig(Section, kw_only=True):
    """Settings of an app; ``CHICORY_<FIELD>``.

    Attributes:
        broker: where the queues are.
        backend: where the results are.
        worker: settings of its workers.
        namespace: keeps several applications on one broker apart.
        lease: seconds after which a message whose worker is gone runs elsewhere; live workers
            renew it.
        validation_mode: of tasks that name none.
        delivery_mode: of tasks that name none.
        max_message_size: bytes of an encoded message or result.
        signing_keys: with which messages are signed and checked, as ``id:secret``, several with
            commas between them: the first one signs, all are accepted.
        signing_required: where there are keys, refuse messages without a signature.
        result_default_timeout: seconds that ``get()`` waits; for ever where none is given.
    """

    broker: BrokerConfig = msgspec.field(default_factory=BrokerConfig)
    backend: BackendConfig = msgspec.field(default_factory=BackendConfig)
    worker: WorkerConfig = msgspec.field(default_factory=WorkerConfig)
    namespace: Name = setting("chicory")
    lease: LeaseSeconds = setting(DEFAULT_LEASE)
    validation_mode: ValidationMode = setting(ValidationMode.INPUTS)
    delivery_mode: DeliveryMode = setting(DeliveryMode.AT_LEAST_ONCE)
    max_message_size: PositiveInt = setting(MEBIBYTE)
    signing_keys: str | None = setting(None)
    signing_required: bool = setting(True)  # noqa: FBT003
    result_default_timeout: Seconds | None = setting(None)
