"""The parameters of a task's function: those of its callers, and the worker's one, the context."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from chicory.context import TaskContext
from chicory.errors import ConfigurationError, ValidationError

_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_PLACED = re.compile(
    r"(?P<reason>.*) - at (?P<key>`key` in )?"
    r"`\$(?:\[(?P<index>\d+)\]|\.(?P<name>\w+))(?P<deeper>.*)`$",
    re.DOTALL,
)
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"(?s)unknown field `(.+)`")


class Parameters:
    """The parameters of one task's function.

    Raises:
        ConfigurationError: an annotation cannot be resolved, there is more than one place for
            the context, or a function of C does not tell its parameters.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        hints = _resolved(name, function)
        parameters = _parameters(name, function)
        self._context = _context_position(name, parameters, hints)
        self.wants_context = self._context is not None
        self._parameters = [p for p in parameters if not _is_context(hints.get(p.name))]
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

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by the names of their parameters, defaults included, without the context.

        Raises ``ValidationError`` where they do not fit.
        """
        try:
            bound = inspect.Signature(self._parameters).bind(*args, **kwargs)
        except TypeError as error:
            raise ValidationError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        return bound.arguments

    def hint(self, name: str) -> Any:
        """The annotation of the parameter of that name; ``Any`` where there is none."""
        return self._hints.get(name, Any)

    def hint_at(self, index: int) -> Any:
        """The annotation of a positional argument, counted as callers do; ``Any`` likewise."""
        return self._hint(self._positional[index]) if index < len(self._positional) else Any

    def _hint(self, parameter: Parameter) -> Any:
        return self._hints.get(parameter.name, Any)

    def inject(
        self, context: TaskContext, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Put the context where the function wants it; nothing where it does not."""
        if self._context is None:
            return args, kwargs
        parameter, index = self._context
        if parameter.kind is Parameter.KEYWORD_ONLY:
            return args, {**kwargs, parameter.name: context}
        if len(args) < index:
            if parameter.kind is not Parameter.POSITIONAL_ONLY:
                return args, {**kwargs, parameter.name: context}
            # what stands before it is positional-only as well, and has defaults
            args = (*args, *(p.default for p in self._positional[len(args) : index]))
        return (*args[:index], context, *args[index:]), kwargs

    def _explain(self, text: str) -> str:
        """What msgspec says of arguments, in the words of the function."""
        if place := _PLACED.match(text):
            name = place["name"] or self._positional[int(place["index"])].name
            key = "key: " if place["key"] else ""
            return f"argument {name + place['deeper']!r}: {key}{place['reason']}"
        if missing := _MISSING.search(text):
            return f"argument {missing[1]!r} is missing"
        if unknown := _UNKNOWN.search(text):
            return self._misplaced(unknown[1])
        return text

    def _misplaced(self, name: str) -> str:
        for parameter in self._positional:
            if parameter.name == name:
                if parameter.kind is Parameter.POSITIONAL_ONLY:
                    return f"argument {name!r} must be given by position"
                return f"argument {name!r} is given twice"
        return f"unexpected argument {name!r}"


def _parameters(name: str, function: Callable[..., Any]) -> list[Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except ValueError as error:  # as for max
        raise ConfigurationError(f"task {name}: {error}: write a def that calls it") from error


def _resolved(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        raise ConfigurationError(
            f"task {name}: its annotations cannot be resolved: {error}; "
            "import at run time what they name"
        ) from error


def _is_context(hint: Any) -> bool:
    """Whether it is TaskContext, perhaps annotated or optional."""
    if hint is TaskContext:
        return True
    if get_origin(hint) is Annotated:
        return _is_context(get_args(hint)[0])
    return get_origin(hint) in (Union, UnionType) and any(map(_is_context, get_args(hint)))


def _context_position(
    name: str, parameters: Sequence[Parameter], hints: Mapping[str, Any]
) -> tuple[Parameter, int] | None:
    found = [(p, index) for index, p in enumerate(parameters) if _is_context(hints.get(p.name))]
    if len(found) > 1 or any(parameter.kind in _VARIADIC for parameter, _ in found):
        raise ConfigurationError(f"task {name}: one parameter, and no more, may be a TaskContext")
    return found[0] if found else None
