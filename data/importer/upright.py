"""Whether a folder's images are turned as their EXIF data say, since labels are drawn on those.

Cameras store photographs as the sensor lies, with a note how to turn them. Some tools show, and
draw on, the turned image; others the stored one. The size that an annotation states shows which.
"""

from collections.abc import Iterable
from typing import NamedTuple

from data.errors import InputError
from data.folder import shown_size
from data.image_io import Header


class Seen(NamedTuple):
    """An image. stated: the (H, W) of its annotation, None where there is none."""

    what: str
    header: Header
    stated: tuple[int, int] | None


def choose_upright(
    images: Iterable[Seen], tool: bool | None, given: bool | None, before: bool | None
) -> tuple[bool, list[str]]:
    """Whether images are to be turned, and notes.

    Args:
        images: all of an import.
        tool: `Annotations.upright`.
        given: of --upright; None: not given.
        before: what dataset.json says of images that are there already.

    InputError if the images say both, or not what `before` says.
    """
    images = list(images)
    votes: dict[bool, Seen] = {}
    unsaid = []
    for image in images:
        vote = _vote(image, tool)
        if vote is not None:
            votes.setdefault(vote, image)
        elif image.header.orientation != 1:
            unsaid.append(image.what)
    if given is not None:
        chosen = given
    elif len(votes) == 2:
        raise InputError(
            f"{votes[True].what} is annotated as its EXIF data turn it, and {votes[False].what} as "
            "it is stored; give --upright or --no-upright, and those of the other kind are left out"
        )
    else:
        chosen = next(iter(votes), bool(before))
    if before is not None and chosen != before and any(i.header.orientation != 1 for i in images):
        raise InputError(
            f'--out says "upright": {str(before).lower()}, and this import\'s images are '
            f"{'turned by their EXIF data' if chosen else 'as they are stored'}; choose another "
            "--out"
        )
    notes = []
    if unsaid and given is None:
        notes.append(
            f"{len(unsaid)} images, such as {unsaid[0]}, are to be turned by their EXIF data, and "
            f"the annotations do not say whether they are drawn on those: taken as "
            f"{'turned' if chosen else 'stored'} (--upright, --no-upright)"
        )
    return chosen if before is None else before, notes


def _vote(image: Seen, tool: bool | None) -> bool | None:
    """What one image says: True for turned, False for as stored, None for nothing."""
    stored = image.header.size
    turned = shown_size(image.header, upright=True)
    if image.stated and stored != turned and image.stated in (stored, turned):
        return image.stated == turned
    return tool if image.header.orientation != 1 else None
