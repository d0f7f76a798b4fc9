"""Settings: each one's variable found in the environment or ``.env``, converted and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Self, TypeVar, cast, get_args, get_type_hints

import msgspec
from msgspec.structs import fields

from chicory.accepted import accept
from chicory.dotenv import dotenv
from chicory.errors import ConfigurationError
from chicory.masking import Discreet, is_secret, mask

T = TypeVar("T")


class Setting:
    """The default of a field, which stands in it until its section has looked for the value.

    Attributes:
        default: the value where nobody sets one.
        said: the default in words, where it is not the same on every machine.
    """

    def __init__(self, default: Any, said: str | None) -> None:
        self.default = default
        self.said = _said(default) if said is None else said

    def __call__(self) -> Self:
        """What the field holds at first: this mark."""
        return self


def setting(default: T, *, said: str | None = None) -> T:
    """A field of a ``Section`` that its variable may set: ``CHICORY_<prefix>_<FIELD>``.

    Or the contents of the file that ``CHICORY_<prefix>_<FIELD>_FILE`` names, as Docker and
    Kubernetes hand out secrets.
    """
    return cast("T", msgspec.field(default_factory=Setting(default, said)))


class Section(Discreet, msgspec.Struct, kw_only=True):
    """A group of settings; what is not given comes from its variable, else from its default.

    Attributes:
        prefix: what the variables of this section begin with, after ``CHICORY_``.
    """

    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        found, hints = readers(type(self)), _hints(type(self))
        for name in self.__struct_fields__:
            value, kind = getattr(self, name), hints[name]
            if isinstance(value, Setting):
                value = found[name]()
            elif isinstance(value, Section) and kind in type(value).__mro__:
                continue
            setattr(self, name, value)
            shown = f"{type(self).__name__}({name}={self._shown(name)!r})"
            setattr(self, name, accept(value, kind, shown))

    def _shown(self, name: str) -> Any:
        value: object = getattr(self, name)
        if value is None or isinstance(value, bool | int | float | str | Section):
            return super()._shown(name)
        return "***" if is_secret(name) else type(value).__name__  # it may hold a secret


@cache
def _hints(section: type[Section]) -> Mapping[str, Any]:
    return get_type_hints(section, include_extras=True)


@cache
def readers(section: type[Section]) -> Mapping[str, Reader]:
    """Who finds the settings of a section, by field; without those of the sections within it."""
    hints = _hints(section)
    return {
        field.name: Reader(
            "_".join(filter(None, ("CHICORY", section.prefix, field.name.upper()))),
            hints[field.name],
            field.default_factory,
        )
        for field in fields(section)
        if isinstance(field.default_factory, Setting)
    }


class Reader:
    """Finds the value of one setting where the program gives none.

    Attributes:
        variable: the environment variable that sets it.
        kind: what it may be; ``None``, where it may be that, stands in no variable.
        default: the default in words.
    """

    def __init__(self, variable: str, kind: Any, setting: Setting) -> None:
        self.variable = variable
        self.kind = without_none(kind)
        self.default = setting.said
        self._setting = setting

    def __call__(self) -> Any:
        """The value. Raises ``ConfigurationError`` that names the variable and what it takes."""
        for variables in (os.environ, dotenv()):
            found = self._find(variables)
            if found is not None:
                return accept(found, self.kind, self._shown(found), strict=False)
        return self._setting.default

    def source(self) -> str:
        """Where the value comes from: the environment, ``.env``, or the default."""
        for variables, name in ((os.environ, "environment"), (dotenv(), ".env")):
            for variable in (self.variable, self._file_variable):
                if variable in variables:
                    return f"{name}, {variable}" if variable != self.variable else name
        return "default"

    @property
    def is_secret(self) -> bool:
        """Whether its value must never be shown."""
        return is_secret(self.variable)

    @property
    def _file_variable(self) -> str:
        return f"{self.variable}_FILE"

    def _find(self, variables: Mapping[str, str]) -> str | None:
        value, file = variables.get(self.variable), variables.get(self._file_variable)
        if file is None:
            return value
        if value is not None:
            raise ConfigurationError(f"{self.variable} and {self._file_variable} are both set: one")
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{self._file_variable}={file!r}: the file cannot be read: {error}"
            ) from None

    def _shown(self, text: str) -> str:
        shown = "***" if self.is_secret else mask(text)
        return f"{self.variable}={shown!r}"


def _said(default: Any) -> str:
    """A default as a variable would say it."""
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def without_none(kind: Any) -> Any:
    """The kind of what a variable may say: it cannot say ``None``."""
    kinds = [each for each in get_args(kind) if each is not NoneType]
    return kinds[0] if NoneType in get_args(kind) and len(kinds) == 1 else kind
