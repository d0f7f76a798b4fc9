"""What is found of a worker's health, and what follows: pure decisions."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Phase = Literal["starting", "working", "stopping"]

DEAF_LIMIT = 60.0
"""Seconds that messages may wait beside a fetch that does not see them, fetched anew or not."""


class Findings(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        phase: of the worker's life.
        blocked: seconds for which the event loop has owed an answer.
        deaf: seconds for which messages were seen to wait, and slots to be free, and nothing was
            fetched.
        kept: whether somebody renews the leases.
        lapsed: seconds for which that was in vain, more than they last; 0 where it was not.
        cut_off: the broker answered the worker meanwhile, but not who renews the leases.
        refused: why the broker refuses to be fetched from; empty where it does not.
        unreachable: why the broker, or the backend, does not answer now; empty where they do.
    """

    phase: Phase
    blocked: float = 0.0
    deaf: float = 0.0
    kept: bool = True
    lapsed: float = 0.0
    cut_off: bool = False
    refused: str = ""
    unreachable: tuple[str, ...] = ()


def moribund(findings: Findings, blocked_limit: float) -> list[str]:
    """Why the process should be replaced: what it does not get over by itself.

    A broker that is gone is no such reason: another process would not reach it either.
    """
    reasons: list[str] = []
    if findings.blocked > blocked_limit:
        reasons.append(f"the event loop is blocked for {findings.blocked:.0f} s")
    if findings.deaf >= DEAF_LIMIT:
        reasons.append(_deaf(findings))
    if not findings.kept:
        reasons.append("the keeper has died: leases are not renewed")
    if findings.lapsed and findings.cut_off:
        reasons.append(f"{_lapsed(findings)}, although the broker answers")
    return reasons


def unready(findings: Findings, blocked_warning: float) -> list[str]:
    """Why it does no work now, or soon will not."""
    reasons = moribund(findings, blocked_warning)
    if findings.phase != "working":
        reasons.insert(0, f"the worker is {findings.phase}")
    if 0 < findings.deaf < DEAF_LIMIT:
        reasons.append(_deaf(findings))
    if findings.lapsed and not findings.cut_off:
        reasons.append(_lapsed(findings))
    if findings.refused:
        reasons.append(findings.refused)
    return [*reasons, *findings.unreachable]


def _lapsed(findings: Findings) -> str:
    return f"leases have not been renewed for {findings.lapsed:.0f} s"


def _deaf(findings: Findings) -> str:
    return f"messages wait and none has been fetched for {findings.deaf:.0f} s"
