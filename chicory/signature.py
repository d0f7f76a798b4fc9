"""A task's signature as a codec: arguments are decoded and validated in one pass.

Positional arguments are decoded as a tuple of the parameters' types, keyword arguments as a
struct with a field for each parameter that is still open; msgspec does both, and says what is
wrong where.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, get_type_hints

import msgspec
from msgspec import Raw
from msgspec.msgpack import Decoder

from chicory import codec
from chicory.context import TaskContext
from chicory.errors import ConfigurationError, ValidationError

_NO_KWARGS = Raw(b"\x80")
_FIXARRAY = 0x90
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_SUBSCRIPT = re.compile(r"`\$(?:\[(\d+)\]|\.(\w+))(.*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"unknown field `(.+)`")


class Signature:
    """The parameters and the return type of one task's function.

    Built when it is first needed, so that annotations may name what is defined later.

    Raises:
        ConfigurationError: an annotation cannot be resolved, or is of a kind that cannot travel.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        hints = _hints(name, function)
        parameters = list(inspect.signature(function).parameters.values())
        self._context = _context_position(parameters, hints)
        self._parameters = [p for p in parameters if hints.get(p.name) is not TaskContext]
        self._hints = hints
        self._positional = [
            p
            for p in self._parameters
            if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        ]
        self._required = sum(p.default is Parameter.empty for p in self._positional)
        self._keyword_only_required = any(
            p.kind is Parameter.KEYWORD_ONLY and p.default is Parameter.empty
            for p in self._parameters
        )
        self._variadic = any(p.kind in _VARIADIC for p in self._parameters)
        self._args_decoders: dict[int, Decoder[Any]] = {}
        self._kwargs_decoders: dict[int, Decoder[Any]] = {}
        returns = hints.get("return", Any)
        self._returns = self._decoder(returns, "return value")

    # -- arguments ------------------------------------------------------------------------

    def encode(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, check: bool
    ) -> tuple[Raw, Raw]:
        """Encode arguments, and decode them again to see that they fit if ``check``.

        Raises ``ValidationError`` that names the parameter and the reason.
        """
        if self._context is not None and any(isinstance(a, TaskContext) for a in args):
            raise ValidationError(f"{self.name}: TaskContext is given by the worker: leave it out")
        packed_args = self._encode(args, lambda: self._named(args, kwargs))
        packed_kwargs = self._encode(kwargs, lambda: kwargs) if kwargs else _NO_KWARGS
        if check:
            self.decode(packed_args, packed_kwargs)
        return packed_args, packed_kwargs

    def _encode(self, value: object, parts: Callable[[], Mapping[str, Any]]) -> Raw:
        try:
            return Raw(codec.encode(value))
        except codec.ENCODE_ERRORS:
            for name, part in parts().items():
                try:
                    codec.encode(part)
                except codec.ENCODE_ERRORS as error:
                    raise ValidationError(f"{self.name}: argument {name!r}: {error}") from error
            raise

    def _named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        names = [p.name for p in self._positional]
        names += [f"*{index}" for index in range(len(names), len(args))]
        return dict(zip(names, args, strict=False)) | dict(kwargs)

    def decode(self, args: Raw, kwargs: Raw) -> tuple[Sequence[Any], dict[str, Any]]:
        """Decode arguments to the annotated types.

        Raises ``ValidationError`` that names the parameter and the reason.
        """
        try:
            if self._variadic:
                return self._decode_variadic(args, kwargs)
            count = _array_length(args)
            values = self._args_decoder(count).decode(args)
            if count >= self._required and not self._keyword_only_required and kwargs == _NO_KWARGS:
                return values, {}
            named = self._kwargs_decoder(count).decode(kwargs)
        except codec.DECODE_ERRORS as error:
            raise ValidationError(f"{self.name}: {self._explain(error)}") from error
        return values, {
            field: value
            for field in named.__struct_fields__
            if (value := getattr(named, field)) is not msgspec.UNSET
        }

    def _args_decoder(self, count: int) -> Decoder[Any]:
        decoder = self._args_decoders.get(count)
        if decoder is None:
            if count > len(self._positional):
                raise ValidationError(
                    f"{self.name}: takes {len(self._positional)} positional arguments, got {count}"
                )
            kinds = tuple(self._hint(p) for p in self._positional[:count])
            decoder = self._decoder(tuple[kinds] if kinds else tuple[()], "arguments")
            self._args_decoders[count] = decoder
        return decoder

    def _kwargs_decoder(self, count: int) -> Decoder[Any]:
        decoder = self._kwargs_decoders.get(count)
        if decoder is None:
            given = {p.name for p in self._positional[:count]}
            fields: list[tuple[str, Any, Any]] = [
                (p.name, self._hint(p), msgspec.NODEFAULT)
                if p.default is Parameter.empty
                else (p.name, self._hint(p) | msgspec.UnsetType, msgspec.UNSET)
                for p in self._parameters
                if p.name not in given and p.kind is not Parameter.POSITIONAL_ONLY
            ]
            struct = msgspec.defstruct("kwargs", fields, kw_only=True, forbid_unknown_fields=True)
            decoder = self._decoder(struct, "arguments")
            self._kwargs_decoders[count] = decoder
        return decoder

    def _decode_variadic(self, args: Raw, kwargs: Raw) -> tuple[Sequence[Any], dict[str, Any]]:
        raw_args: list[Raw] = _RAW_LIST.decode(args)
        raw_kwargs: dict[str, Raw] = _RAW_MAP.decode(kwargs)
        try:
            bound = inspect.Signature(self._parameters).bind(*raw_args, **raw_kwargs)
        except TypeError as error:
            raise ValidationError(f"{self.name}: {error}") from None
        for parameter in self._parameters:
            if parameter.name not in bound.arguments:
                continue
            kind = self._decoder(self._hint(parameter), parameter.name)
            value: Any = bound.arguments[parameter.name]
            if parameter.kind is Parameter.VAR_POSITIONAL:
                value = tuple(self._one(parameter.name, kind, item) for item in value)
            elif parameter.kind is Parameter.VAR_KEYWORD:
                value = {key: self._one(key, kind, item) for key, item in value.items()}
            else:
                value = self._one(parameter.name, kind, value)
            bound.arguments[parameter.name] = value
        return bound.args, bound.kwargs

    def _one(self, name: str, kind: Decoder[Any], value: Raw) -> Any:
        try:
            return kind.decode(value)
        except codec.DECODE_ERRORS as error:
            raise ValidationError(f"{self.name}: argument {name!r}: {error}") from error

    @property
    def wants_context(self) -> bool:
        """Whether the function has a parameter for the context."""
        return self._context is not None

    def inject(
        self, context: TaskContext, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Put the context where the function wants it; nothing where it does not."""
        if self._context is None:
            return args, kwargs
        name, index = self._context
        if index is None or len(args) < index:
            return args, {**kwargs, name: context}
        return (*args[:index], context, *args[index:]), kwargs

    # -- return values --------------------------------------------------------------------

    def encode_result(self, value: Any, *, check: bool) -> Raw:
        """Encode a return value; see that it fits the annotation if ``check``.

        Raises ``ValidationError`` that names the task and the reason.
        """
        try:
            packed = Raw(codec.encode(value))
        except codec.ENCODE_ERRORS as error:
            raise ValidationError(f"{self.name}: return value: {error}") from error
        if check:
            self.decode_result(packed)
        return packed

    def decode_result(self, packed: Raw) -> Any:
        """The return value in its annotated type. Raises ``ValidationError``."""
        try:
            return self._returns.decode(packed)
        except codec.DECODE_ERRORS as error:
            raise ValidationError(f"{self.name}: return value: {error}") from error

    # -- types ----------------------------------------------------------------------------

    def hint(self, name: str) -> Any:
        """The annotation of the parameter of that name; ``Any`` where there is none."""
        return self._hints.get(name, Any)

    def hint_at(self, index: int) -> Any:
        """The annotation of a positional argument, counted as callers do; ``Any`` likewise."""
        return self._hint(self._positional[index]) if index < len(self._positional) else Any

    def _hint(self, parameter: Parameter) -> Any:
        return self._hints.get(parameter.name, Any)

    def _decoder(self, kind: Any, what: str) -> Decoder[Any]:
        try:
            return codec.decoder(kind)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConfigurationError(f"task {self.name}: {what}: {error}") from error

    def _explain(self, error: Exception) -> str:
        text = str(error)
        if place := _SUBSCRIPT.search(text):
            index, field, deeper = place.groups()
            name = field or self._positional[int(index)].name
            reason = text[: place.start()].removesuffix(" - at ")
            return f"argument {name + deeper!r}: {reason}"
        if missing := _MISSING.search(text):
            return f"argument {missing[1]!r} is missing"
        if unknown := _UNKNOWN.search(text):
            return f"unexpected argument {unknown[1]!r}"
        return text


_RAW_LIST = Decoder(list[Raw])
_RAW_MAP = Decoder(dict[str, Raw])


def _array_length(packed: Raw) -> int:
    head = memoryview(packed)[0]
    if head & 0xF0 == _FIXARRAY:  # by far the most frequent
        return head & 0x0F
    return len(_RAW_LIST.decode(packed))


def _hints(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        raise ConfigurationError(
            f"task {name}: its annotations cannot be resolved: {error}; "
            "import at run time what they name"
        ) from error


def _context_position(
    parameters: Sequence[Parameter], hints: Mapping[str, Any]
) -> tuple[str, int | None] | None:
    for index, parameter in enumerate(parameters):
        if hints.get(parameter.name) is TaskContext:
            keyword_only = parameter.kind is Parameter.KEYWORD_ONLY
            return parameter.name, None if keyword_only else index
    return None
