"""What settings may be."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

PositiveInt = Annotated[int, Meta(ge=1)]
AtOnce = Annotated[int, Meta(ge=1, le=1_000_000)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
LeaseSeconds = Annotated[float, Meta(ge=0.01, le=86_400)]
Port = Annotated[int, Meta(ge=1, le=65535)]
FreePort = Annotated[int, Meta(ge=0, le=65535)]
Host = Annotated[
    str,
    Meta(
        pattern="^[^/?#@]*$",
        description="a name or address; a URL goes into url (CHICORY_..._URL)",
    ),
]
Text = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
