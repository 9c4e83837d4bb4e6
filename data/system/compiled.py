"""Functions that numba compiles, with their machine code kept on disk where that is possible."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

AnyFunction = TypeVar("AnyFunction", bound=Callable)


def compiled(function: AnyFunction) -> AnyFunction:
    """Compile with numba, without Python's lock, and keep the machine code on disk.

    It is kept beside the source, else in the user's cache folder. Where neither can be written (a
    read-only container), and where what was kept is damaged, each process compiles again.
    """
    try:
        machine_code: Any = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        machine_code = njit(nogil=True)(function)
    else:
        _tolerate_faults(machine_code._cache)
    return machine_code


def _tolerate_faults(cache: Any) -> None:
    """Make numba's cache of one function answer "not kept" to a damaged file or a full disk.

    By itself it raises pickle's errors for the one, and OSError for the other.
    """
    load, save = cache.load_overload, cache.save_overload

    def load_overload(*args: object) -> object:
        try:
            return load(*args)
        except Exception:
            with contextlib.suppress(Exception):
                cache.flush()
            return None

    def save_overload(*args: object) -> None:
        with contextlib.suppress(Exception):
            save(*args)

    cache.load_overload, cache.save_overload = load_overload, save_overload
