"""A stage that is a plain function, sync or async.

    @mailpipe.stage(touches=Access(fields=("Subject",)))
    def tag_subject(mail: Mail, options: TagOptions) -> Mail:
        '''Puts a word before the subject.'''

    def register(registry):
        registry.add_stage(tag_subject)

The function stays what it is, to be called and tested as such; its second parameter, where it has one, is annotated
with its options model. Its name is the stage's, with hyphens.

Never here: how async functions are run; see `async_stage`.
"""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from mailpipe.pipeline.access import EVERYTHING, Access, Budget
from mailpipe.pipeline.component import Options, Stage

F = TypeVar("F", bound=Callable[..., Any])
ATTRIBUTE = "__mailpipe_stage__"


def stage(
    name: str = "",
    *,
    reads: Access = EVERYTHING,
    touches: Access = EVERYTHING,
    is_parallel: bool = True,
    budget: Budget | None = None,
    acts: bool = False,
) -> Callable[[F], F]:
    """Make a stage of a function `(mail)` or `(mail, options)`.

    Args:
        name: the stage's name; by default the function's, with hyphens.
        reads: what it looks at.
        touches: what it may change.
        is_parallel: whether several workers may each have one of it.
        budget: what a mail may cost at it.
        acts: whether it has effects beyond the mail.

    Raises:
        TypeError: the function takes other parameters, or the second one is not annotated with an options model.
    """

    def decorate(function: F) -> F:
        kebab = name or re.sub(r"_+", "-", function.__name__.strip("_"))
        options = _options_of(function)
        call = _without_options(function) if options is Options else _with_options(function)
        made = type(
            "".join(word.capitalize() for word in kebab.split("-")) or "FunctionStage",
            (Stage,),
            {
                "__doc__": function.__doc__,
                "__module__": function.__module__,
                "__qualname__": function.__qualname__,
                "name": kebab,
                "Options": options,
                "reads": reads,
                "touches": touches,
                "is_parallel": is_parallel,
                "budget": budget or Budget(),
                "acts": acts,
                "process": call,
            },
        )
        setattr(function, ATTRIBUTE, made)
        return function

    return decorate


def stage_of(given: Any) -> Any:
    """The stage class of a decorated function; anything else as it is."""
    return getattr(given, ATTRIBUTE, given)


def _options_of(function: Callable[..., Any]) -> type[Options]:
    parameters = list(inspect.signature(function).parameters.values())
    if not 1 <= len(parameters) <= 2:
        raise TypeError(f"{function.__qualname__} is a stage and takes (mail) or (mail, options)")
    if len(parameters) == 1:
        return Options
    kind = typing.get_type_hints(function).get(parameters[1].name)
    if not isinstance(kind, type) or not issubclass(kind, Options):
        raise TypeError(f"{function.__qualname__}: annotate {parameters[1].name!r} with a class derived from Options")
    return kind


def _without_options(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        async def later(self: Stage[Any], mail: Any) -> Any:
            return await function(mail)

        return later
    if inspect.isasyncgenfunction(function):

        async def generate(self: Stage[Any], mail: Any) -> Any:
            async for each in function(mail):
                yield each

        return generate
    return lambda self, mail: function(mail)


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        async def later(self: Stage[Any], mail: Any) -> Any:
            return await function(mail, self.options)

        return later
    if inspect.isasyncgenfunction(function):

        async def generate(self: Stage[Any], mail: Any) -> Any:
            async for each in function(mail, self.options):
                yield each

        return generate
    return lambda self, mail: function(mail, self.options)
