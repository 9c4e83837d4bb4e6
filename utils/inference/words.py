"""Errors in the words of the one who reads them: flags on the command line, keywords in Python."""

import contextlib
import re
from collections.abc import Iterator

from data.errors import InputError

# A flag at the beginning of a word; within a path it stays as it is.
FLAG = re.compile(r"(?<![\w/.-])--(no-)?([a-z]+(?:-[a-z]+)*)")


@contextlib.contextmanager
def keywords_for_flags(active: bool = True) -> Iterator[None]:
    """Within the block, an InputError that names --base-size names base_size. active: or not."""
    try:
        yield
    except InputError as error:
        if active:
            error.args = (in_keywords(str(error)),)
        raise


def in_keywords(text: str) -> str:
    """The text with keywords in place of flags: --window N is window=N, --no-fast is fast=False."""
    text = re.sub(r"(--[a-z-]+) (N|FILE|NAME|DIR)\b", r"\1=\2", text)
    return FLAG.sub(lambda flag: flag[2].replace("-", "_") + ("=False" if flag[1] else ""), text)
