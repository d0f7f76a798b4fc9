"""Functions whose annotations are strings."""

from __future__ import annotations

from dataclasses import dataclass

from chicory import TaskContext


@dataclass
class Order:
    number: int


def first(ctx: TaskContext, order: Order) -> Order:
    return order


def last(order: Order, ctx: TaskContext) -> Order:
    return order


def lost(order: Missing) -> None:  # noqa: F821
    """Its annotation names nothing."""
