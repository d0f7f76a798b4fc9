"""A task's signature as a codec: arguments are decoded and validated in one pass.

Positional arguments are decoded as a tuple of the parameters' types, keyword arguments as a
struct with a field for each parameter that is still open; msgspec does both, and says what is
wrong where.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, Never, NoReturn

import msgspec
from msgspec import Raw
from msgspec.msgpack import Decoder

from chicory import codec
from chicory.codec import Codec, reason
from chicory.context import TaskContext
from chicory.errors import ChicoryError, ConfigurationError, ValidationError
from chicory.parameters import Parameters

_EMPTY_MAP = b"\x80"
_NO_KWARGS = Raw(_EMPTY_MAP)
_FIXARRAY = 0x90


class Signature(Parameters):
    """The parameters and the return type of one task's function.

    Built when it is first needed, so that annotations may name what is defined later.

    Raises:
        ConfigurationError: an annotation cannot be resolved, or is of a kind that cannot travel;
            or there is more than one place for the context.
    """

    def __init__(self, name: str, function: Callable[..., Any], types: Codec = codec.PLAIN) -> None:
        super().__init__(name, function)
        self._codec = types
        self._encode = types.encode
        self._decoders: dict[str, Decoder[Any]] = {}
        self._args_decoders: dict[int, Decoder[Any]] = {}
        self._sufficient: dict[int, Decoder[Any]] = {}
        """Of as many positional arguments as need no others."""
        self._whole: Decoder[Any] | None = None
        """Of all arguments, where none may be left out."""
        self._kwargs_decoders: dict[int, Decoder[Any]] = {}
        returns = self._hints.get("return", Any)
        self._returns = self._decoder(
            Any if returns in (NoReturn, Never) else returns, "return value"
        )

    # -- arguments ------------------------------------------------------------------------

    def encode(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, check: bool
    ) -> tuple[bytes, bytes]:
        """Encode arguments, and decode them again to see that they fit if ``check``.

        Raises ``ValidationError`` that names the parameter and the reason.
        """
        try:
            packed_args = self._encode(args)
            packed_kwargs = self._encode(kwargs) if kwargs else _EMPTY_MAP
        except Exception as error:  # the user's types take part in it
            self._blame_unencodable(args, kwargs)
            raise self._unfit("arguments", error) from error
        if check:
            self._check(len(args), packed_args, packed_kwargs)
        return packed_args, packed_kwargs

    def _check(self, count: int, args: bytes, kwargs: bytes) -> None:
        """Decode arguments, ``count`` of them positional, and forget them. Raises as ``decode``."""
        alone = kwargs is _EMPTY_MAP
        decoder = (self._sufficient if alone else self._args_decoders).get(count)
        rest = None if alone else self._kwargs_decoders.get(count)
        if decoder is None or (rest is None and not alone):
            self.decode(args, kwargs)  # for the first time
            return
        try:
            decoder.decode(args)
            if rest is not None:
                rest.decode(kwargs)
        except Exception as error:  # the user's types take part in it
            raise self._misfit(error, args, kwargs) from error

    def _blame_unencodable(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Encode one by one, for an error that does not say which argument it is about."""
        for name, part in self._named(args, kwargs).items():
            if isinstance(part, TaskContext):
                raise ValidationError(
                    f"{self.name}: TaskContext is given by the worker: leave it out"
                ) from None
            try:
                self._encode(part)
            except Exception as error:
                raise self._unfit(f"argument {name!r}", error) from error

    def _named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        names = [p.name for p in self._positional]
        names += [f"*{index}" for index in range(len(names), len(args))]
        return dict(zip(names, args, strict=False)) | dict(kwargs)

    def decode(
        self, args: Raw | bytes, kwargs: Raw | bytes
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Decode arguments to the annotated types.

        Raises ``ValidationError`` that names the parameter and the reason.
        """
        if self._whole is not None and kwargs == _NO_KWARGS:  # as nearly always
            try:
                return self._whole.decode(args), {}
            except Exception:  # noqa: BLE001, S110  (what is wrong is found, and said, below)
                pass
        try:
            if self._variadic:
                return self._decode_variadic(args, kwargs)
            count = _length(args)
            decoder = self._sufficient.get(count)
            if decoder is not None and _is_empty(kwargs):
                return decoder.decode(args), {}
            values = self._args_decoder(count).decode(args)
            named = self._kwargs_decoder(count).decode(kwargs)
        except ChicoryError:
            raise
        except Exception as error:  # the user's types take part in it
            raise self._misfit(error, args, kwargs) from error
        return values, {
            name: value
            for name, field in zip(
                named.__struct_encode_fields__, named.__struct_fields__, strict=True
            )
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
            if count >= self._required and not self._keyword_only_required:
                self._sufficient[count] = decoder
                if self._required == len(self._positional):
                    self._whole = decoder
        return decoder

    def _kwargs_decoder(self, count: int) -> Decoder[Any]:
        decoder = self._kwargs_decoders.get(count)
        if decoder is None:
            given = {p.name for p in self._positional[:count]}
            open_ones = {  # by names that a struct can have for sure: not so __init__
                f"p{index}": p
                for index, p in enumerate(self._parameters)
                if p.name not in given and p.kind is not Parameter.POSITIONAL_ONLY
            }
            fields: list[tuple[str, Any, Any]] = [
                (field, self._hint(p), msgspec.NODEFAULT)
                if p.default is Parameter.empty
                else (field, self._hint(p) | msgspec.UnsetType, msgspec.UNSET)
                for field, p in open_ones.items()
            ]
            struct = msgspec.defstruct(
                "kwargs",
                fields,
                kw_only=True,
                forbid_unknown_fields=True,
                rename={field: p.name for field, p in open_ones.items()},
            )
            decoder = self._decoder(struct, "arguments")
            self._kwargs_decoders[count] = decoder
        return decoder

    def _decode_variadic(
        self, args: Raw | bytes, kwargs: Raw | bytes
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        raw_args: list[Raw] = _RAW_LIST.decode(args)
        raw_kwargs: dict[str, Raw] = _RAW_MAP.decode(kwargs)
        try:
            bound = inspect.Signature(self._parameters).bind(*raw_args, **raw_kwargs)
        except TypeError as error:
            raise ValidationError(f"{self.name}: {error}") from None
        for parameter in self._parameters:
            if parameter.name not in bound.arguments:
                continue
            value: Any = bound.arguments[parameter.name]
            if parameter.kind is Parameter.VAR_POSITIONAL:
                value = tuple(
                    self._one(parameter, f"*{parameter.name}[{index}]", item)
                    for index, item in enumerate(value)
                )
            elif parameter.kind is Parameter.VAR_KEYWORD:
                value = {key: self._one(parameter, key, item) for key, item in value.items()}
            else:
                value = self._one(parameter, parameter.name, value)
            bound.arguments[parameter.name] = value
        return bound.args, bound.kwargs

    def _misfit(self, error: Exception, args: Raw | bytes, kwargs: Raw | bytes) -> ValidationError:
        """The error that says which argument it is about. Raises it, where the user's types do."""
        if isinstance(error, codec.DECODE_ERRORS):
            return ValidationError(f"{self.name}: {self._explain(reason(error))}")
        self._blame(args, kwargs)
        return ValidationError(f"{self.name}: {reason(error)}")

    def _blame(self, args: Raw | bytes, kwargs: Raw | bytes) -> None:
        """Decode one by one, for an error that does not say which argument it is about."""
        names = [parameter.name for parameter in self._positional]
        given = dict(zip(names, _RAW_LIST.decode(args), strict=False)) | _RAW_MAP.decode(kwargs)
        for parameter in self._parameters:
            if parameter.name in given:
                self._one(parameter, parameter.name, given[parameter.name])

    def _one(self, parameter: Parameter, shown: str, value: Raw) -> Any:
        decoder = self._decoders.get(parameter.name)
        if decoder is None:
            decoder = self._decoder(self._hint(parameter), parameter.name)
            self._decoders[parameter.name] = decoder
        try:
            return decoder.decode(value)
        except Exception as error:  # the user's types take part in it
            raise self._unfit(f"argument {shown!r}", error) from error

    # -- return values --------------------------------------------------------------------

    def encode_result(self, value: Any, *, check: bool) -> Raw:
        """Encode a return value; see that it fits the annotation if ``check``.

        Raises ``ValidationError`` that names the task and the reason.
        """
        try:
            packed = Raw(self._encode(value))
        except Exception as error:  # the user's types take part in it
            raise self._unfit("return value", error) from error
        if check:
            self.decode_result(packed)
        return packed

    def decode_result(self, packed: Raw) -> Any:
        """The return value in its annotated type. Raises ``ValidationError``."""
        try:
            return self._returns.decode(packed)
        except Exception as error:  # the user's types take part in it
            raise self._unfit("return value", error) from error

    # -- types ----------------------------------------------------------------------------

    def _decoder(self, kind: Any, what: str) -> Decoder[Any]:
        try:
            return self._codec.decoder(kind)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConfigurationError(f"task {self.name}: {what}: {error}") from error

    def _unfit(self, what: str, error: Exception) -> ValidationError:
        return ValidationError(f"{self.name}: {what}: {reason(error)}")


_RAW_LIST = Decoder(list[Raw])
_RAW_MAP = Decoder(dict[str, Raw])


def _is_empty(kwargs: Raw | bytes) -> bool:
    return kwargs is _EMPTY_MAP or kwargs in (_NO_KWARGS, _EMPTY_MAP)


def _length(packed: Raw | bytes) -> int:
    head = packed[0] if type(packed) is bytes else memoryview(packed)[0]
    if head & 0xF0 == _FIXARRAY:  # by far the most frequent
        return head & 0x0F
    return len(_RAW_LIST.decode(packed))
