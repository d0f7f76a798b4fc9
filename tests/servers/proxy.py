"""The proxy of the fault harness, for tests."""

from chicory.testing.faults.proxy import Proxy

__all__ = ["Proxy"]
