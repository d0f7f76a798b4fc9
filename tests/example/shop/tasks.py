"""The tasks of a shop, on a Redis server that its tests do not need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from chicory import Chicory, RetryBackoff, RetryPolicy, TaskContext, current

app = Chicory("redis://redis.shop.example:6379/0")
sent: list[str] = []


class CarrierBusyError(Exception):
    """The carrier takes no parcels now."""


@dataclass
class Order:
    """What somebody bought."""

    number: int
    items: tuple[str, ...]


@app.task(
    name="shop.ship",
    retry_policy=RetryPolicy(max_retries=2, retry_delay=60, backoff=RetryBackoff.FIXED),
)
async def ship(ctx: TaskContext, order: Order, *, express: bool = False) -> str:
    """Ship an order: busy carriers are asked again."""
    for done, _ in enumerate(order.items, start=1):
        ctx.progress(done, len(order.items), "packed")
    if "piano" in order.items:
        raise CarrierBusyError("no room")
    await confirm.options(delay=timedelta(hours=1).total_seconds()).delay(order.number)
    return "express" if express else "parcel"


@app.task(name="shop.confirm", queue="mail", expires=3600)
def confirm(number: int) -> None:
    """Send a mail."""
    sent.append(f"{number} by {current().task_name}")


@app.task(name="shop.count")
def count() -> None:
    """Wait for the shop to close."""
    if not sent:
        current().snooze(600)


def buy(order: Order) -> None:
    """What a view does, without an event loop."""
    ship.delay_sync(order, express=len(order.items) == 1)
