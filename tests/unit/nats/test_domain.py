"""JetStream of a domain, behind a leaf node that has none of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.nats import NatsServer, free_port

from chicory.testing.contract.steps import done, ids, message, take
from chicory.transport import Settled, TransportSettings
from chicory_nats import NatsTransport
from chicory_nats.address import parse
from chicory_nats.translation import nobody_answers


@pytest.fixture
def leaf(tmp_path) -> Iterator[NatsServer]:
    port = free_port()
    store = f'jetstream {{ store_dir: "{tmp_path / "store"}", domain: hub }}'
    listen = f'leafnodes {{ listen: "127.0.0.1:{port}" }}'
    remote = f'leafnodes {{ remotes: [ {{ url: "nats-leaf://127.0.0.1:{port}" }} ] }}'
    hub = NatsServer(tmp_path / "hub", jetstream=False, extra=f"{store}\n{listen}")
    leaf = NatsServer(tmp_path / "leaf", jetstream=False, extra=remote)
    with hub, leaf:
        leaf.until_logged('remote "hub"')
        yield leaf


async def test_calls_go_through_a_leaf_node(leaf):
    settings = TransportSettings(url=f"{leaf.url}?domain=hub")
    async with NatsTransport(settings) as transport:
        await transport.publish([message("1"), message("2")])
        deliveries = await take(transport)
        assert ids(deliveries) == ["1", "2"]
        assert list(await transport.settle([done(one) for one in deliveries])) == (
            [Settled.SETTLED] * 2
        )


async def test_what_is_delivered_behind_a_leaf_node_is_looked_into(leaf):
    settings = TransportSettings(url=f"{leaf.url}?domain=hub")
    async with NatsTransport(settings) as transport:
        await transport.publish([message("1")])
        (delivery,) = await take(transport)

        assert delivery.receipt.basis > delivery.receipt.seq  # it is marked as leased


def test_a_leaf_node_without_jetstream_is_not_blamed_for_an_unknown_domain():
    address = parse("nats://leaf?domain=foo")

    assert "no JetStream domain 'foo'" in nobody_answers(address, {"jetstream": False})
