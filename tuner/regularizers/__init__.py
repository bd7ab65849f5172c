"""The registry of methods is this folder: a file with a final `Regularizer` in it is all that a method needs."""

import difflib
import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType

from tuner.regularizers.base import InputMix, Paper, Regularizer, Step, hp

__all__ = ["InputMix", "Paper", "Regularizer", "Step", "get", "hp", "names"]


def names() -> list[str]:
    """The names of all methods in this folder, sorted."""
    return sorted(_methods())


def get(name: str) -> type[Regularizer]:
    """The class of a method: by its name, or from outside this folder as "my_package.MyMethod".

    Raises ValueError for a name that is not known, cannot be imported, or is no regularizer.
    """
    if "." in name:
        return _imported(name)
    if name not in _methods():
        close = difflib.get_close_matches(name, names())
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(names())}"
        raise ValueError(f"unknown method {name!r}; {hint} (a method of your own is named as in my_package.MyMethod)")
    return _methods()[name]


@cache
def _methods() -> dict[str, type[Regularizer]]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return {method.name: method for module in modules for method in _methods_of(module)}


def _methods_of(module: ModuleType) -> list[type[Regularizer]]:
    here = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    return [value for value in here if _is_method(value)]


def _is_method(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Regularizer) and not inspect.isabstract(value)


def _imported(dotted: str) -> type[Regularizer]:
    module, _, attribute = dotted.rpartition(".")
    try:
        method = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a user's module may raise
        raise ValueError(f"method {dotted!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not _is_method(method):
        raise ValueError(f"method {dotted!r} must be a class that derives from Regularizer and is not abstract")
    return method
