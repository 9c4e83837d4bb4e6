"""The work on one image, and what came of it: here, in a worker, or on a cluster."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from data.errors import REPORT, InputError, one_line
from data.gtlabel.stamp import Stamp

Labels = TypeVar("Labels")  # what a job's `read` returns
LabelsIn = TypeVar("LabelsIn", contravariant=True)


class StrangeIds(InputError):
    """A label map holds ids that are no class.

    Nearly always all maps of a folder do, so they are reported together.

    ids: those that were found.
    expected: what was expected, and what to do.
    """

    def __init__(self, path: Path, ids: Sequence[int], expected: str) -> None:
        super().__init__(path, tuple(ids), expected)  # as pickle will call it again
        self.ids = tuple(ids)
        self.expected = expected

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.ids[:8]))
        return f"{self.args[0]}: label ids {shown} are out of range; {self.expected}"


class Product(Protocol[LabelsIn]):
    """Something that is made from one image's labels."""

    @property
    def stamp(self) -> Stamp:
        """The settings that the product is made with."""
        ...

    def files(self) -> Sequence[Path]:
        """What `make` writes."""
        ...

    def make(self, labels: LabelsIn) -> None:
        """Write all of `files` from what the job's `read` returned."""
        ...


@dataclass(frozen=True)
class Job(Generic[Labels]):
    """The work on one image.

    name: for messages; no two jobs of a run have one.
    inputs: the files that `read` reads.
    read: returns the labels, in the form that the products take.
    products: what to make; none of them means that the inputs are only read.
    summarize: what is to be known of the labels when all are done, such as the ids of a map.
    """

    name: str
    inputs: tuple[Path, ...]
    read: Callable[[], Labels]
    products: tuple[Product[Labels], ...]
    summarize: Callable[[Labels], Any] | None = None

    def run(self) -> Any:
        """Make the products; returns what `summarize` says, None without it."""
        labels = self.read()
        for product in self.products:
            product.make(labels)
        return self.summarize(labels) if self.summarize else None


class Failure(NamedTuple):
    """Why a job failed.

    about: the file that the reason is about, or the job's name.
    """

    about: str
    reason: str
    strange_ids: tuple[int, ...] = ()
    expected_ids: str = ""


class Result(NamedTuple):
    """What came of the job `name`. summary: what `Job.summarize` returned."""

    name: str
    failure: Failure | None = None
    summary: Any = None


def attempt(job: Job) -> Result:
    """Run one job. Whatever one image's files lead to, the others are done."""
    try:
        return Result(job.name, summary=job.run())
    except Exception as error:
        return Result(job.name, _failure(job, error))


def _failure(job: Job, error: Exception) -> Failure:
    if isinstance(error, StrangeIds):
        return Failure(job.name, str(error), error.ids, error.expected)
    text = one_line(error)
    if not isinstance(error, InputError | OSError | MemoryError):
        text = _fault(error, text)
    files = [*job.inputs, *(path for product in job.products for path in product.files())]
    for path in files:
        if text.startswith(f"{path}: "):
            return Failure(str(path), text.removeprefix(f"{path}: "))
    return Failure(job.name, text)


def _fault(error: Exception, text: str) -> str:
    """An exception that no file should lead to, with the place where it was raised."""
    if "insufficient memory" in text.lower():  # OpenCV's words
        return f"not enough memory ({text})"
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return f"{type(error).__name__}: {text} ({where}; {REPORT.partition(';')[0]}, report it)"
