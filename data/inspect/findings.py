"""What was measured, as sentences: what is wrong, how often, and what to do."""

from collections import Counter
from collections.abc import Sequence

from data.dataset_file import NAME, value_name
from data.folder import Folder
from data.inspect.duplicates import NEAR_BITS, NEEDS, Twins
from data.inspect.finding import Finding, are, finding, have, plural
from data.inspect.measure import BROKEN_IMAGE, BROKEN_LABEL, WRONG_SIZE, Measured
from data.inspect.regions import NONE
from data.inspect.source import Source
from data.inspect.summary import SplitSummary
from data.inspect.suspects import LARGE_GAP, LOW_SCORE

SAME_SHOWN = 8  # images of one content that a row names
MOSTLY_NONE = 0.5  # share of the pixels without a class that is worth a line


def find_faults(source: Source, measured: Sequence[Measured]) -> list[Finding]:
    """Files that cannot be read, and maps that do not fit their images."""
    said = {
        BROKEN_IMAGE: ("cannot be read", "image", "Replace the file, or leave the image out."),
        BROKEN_LABEL: (
            "cannot be read",
            "label map",
            "Replace the file: training ends at the first one.",
        ),
        WRONG_SIZE: (
            "of another size than the image",
            "map",
            "Was the image resized, or turned by its EXIF data? Export both at one size.",
        ),
    }
    found: list[Finding] = []
    for kind, (what, noun, advice) in said.items():
        texts = [fault.text for image in measured for fault in image.faults if fault.kind == kind]
        if texts:
            verb = "" if what.startswith("cannot") else f"{are(len(texts))} "
            found.append(finding(f"{plural(len(texts), noun)} {verb}{what}.", advice, texts))
    turned = [source.items[image.number].name for image in measured if image.turned]
    if turned:
        found.append(
            finding(
                f"{plural(len(turned), 'image')} {are(len(turned))} stored turned, as the EXIF "
                "data say, and used as stored.",
                "Look whether the labels lie right on them below. If they were drawn on the "
                f'images as a viewer shows them: "upright": true in {NAME}.',
                turned,
                is_problem=False,
            )
        )
    return found


def find_values(source: Source, total: SplitSummary) -> list[Finding]:
    """Values without a meaning, and classes that are rare or never occur."""
    found: list[Finding] = []
    reader = next(iter(source.readers.values()))
    if total.unnamed and isinstance(reader, Folder):
        rows = [
            f"{value_name(value, colored=reader.content.colored)}: {count:,} pixels"
            for value, count in total.unnamed.most_common()
        ]
        found.append(
            finding(
                f"{plural(len(total.unnamed), 'value')} of the label maps "
                f"{are(len(total.unnamed))} not named in {NAME}: "
                f"{total.unnamed.total():,} pixels count as none.",
                "Add each to a class, to the background, or to none_"
                f"{'colors' if reader.content.colored else 'ids'}.",
                rows,
            )
        )
    share = total.none / total.pixels if total.pixels else 0.0
    if share > MOSTLY_NONE:
        found.append(
            finding(
                f"{100 * share:.0f} % of the pixels have no class.",
                "Are the ids right? For segmentation a background class may be what is missing.",
                is_problem=False,
            )
        )
    return found


def find_classes(
    source: Source, splits: Sequence[SplitSummary], total: SplitSummary
) -> list[Finding]:
    """Classes that never occur, in all or in a split, or in one image only."""
    found: list[Finding] = []
    counts = [entry.images for entry in total.classes]
    labelled = [split for split in splits if split.labelled]
    never = [name for name, count in zip(source.classes, counts, strict=True) if not count]
    if never and labelled:
        found.append(
            finding(
                f"{plural(len(never), 'class', 'classes')} of {len(counts)} never "
                f"{'occurs' if len(never) == 1 else 'occur'}.",
                "Is an id wrong, or a class not drawn yet? It cannot be learned.",
                never,
            )
        )
    for split in labelled if len(labelled) > 1 else ():
        lacking = [
            source.classes[k]
            for k, entry in enumerate(split.classes)
            if counts[k] and not entry.images
        ]
        if lacking:
            trains = split.name == "train"
            advice = "They cannot be learned" if trains else "Their scores there mean nothing"
            found.append(
                finding(
                    f"{plural(len(lacking), 'class', 'classes')} never "
                    f"{'occurs' if len(lacking) == 1 else 'occur'} in {split.name}.",
                    f"{advice}: move images between the splits, or change their seed.",
                    lacking,
                    is_problem=trains,
                )
            )
    once = [source.classes[k] for k, count in enumerate(counts) if count == 1]
    if once and total.labelled > 1:
        found.append(
            finding(
                f"{plural(len(once), 'class', 'classes')} {'occurs' if len(once) == 1 else 'occur'}"
                " in one image only.",
                "It can be learned or scored, not both: annotate more, or join it to another.",
                once,
                is_problem=False,
            )
        )
    return found


def find_same(source: Source, groups: Sequence[Sequence[int]]) -> list[Finding]:
    """Images with the same pixels, in several splits and within one."""
    across, within = [], []
    for group in groups:
        files = {source.items[number].record.image for number in group}
        splits = {source.items[number].split for number in group}
        if len(files) > 1:  # one file in several splits is said elsewhere
            (across if len(splits) > 1 else within).append(_names(source, group))
    found: list[Finding] = []
    if across:
        found.append(
            finding(
                f"{plural(len(across), 'image')} {are(len(across))} in several splits under "
                "different names, pixel by pixel.",
                "Scores on them say nothing about new images: remove the copies.",
                across,
            )
        )
    if within:
        found.append(
            finding(
                f"{plural(len(within), 'image')} {have(len(within))} copies within the split, "
                "pixel by pixel.",
                "They count twice: remove the copies.",
                within,
                is_problem=False,
            )
        )
    return found


def find_near(source: Source, twins: Sequence[Twins] | None) -> list[Finding]:
    """Near-duplicates between splits; None: they were not searched."""
    if twins is None:
        return [
            finding(
                "Near-duplicates between the splits were not searched: that needs ImageHash.",
                f"{NEEDS}, and run this again.",
                is_problem=False,
            )
        ]
    if not twins:
        return []
    rows = [
        f"{_names(source, (pair.first, pair.second))} ({pair.bits} of 64 bits differ)"
        for pair in twins
    ]
    how = ' ("split_by": "folder")' if source.name == "folder" else ""
    count = len({pair.second for pair in twins})
    return [
        finding(
            f"{plural(count, 'image')} {are(count)} nearly the same as one of another split (at "
            f"most {NEAR_BITS} of 64 bits of the perceptual hash differ).",
            f"Scores on them are too good: keep a scene, or a video's frames, in one split{how}.",
            rows,
        )
    ]


def _names(source: Source, numbers: Sequence[int]) -> str:
    items = [source.items[number] for number in numbers[:SAME_SHOWN]]
    text = " = ".join(f"{item.split}: {item.name}" for item in items)
    more = len(numbers) - len(items)
    return f"{text} = {more:,} more" if more else text


def find_specks(source: Source, measured: Sequence[Measured]) -> list[Finding]:
    """Tiny components of all label maps together."""
    islands = sum((image.island_counts for image in measured), Counter[int]())
    specks = sum((image.speck_counts for image in measured), islands)
    if not specks:
        return []
    images = sum(bool(image.speck_counts or image.island_counts) for image in measured)
    rows = [
        f"{'no class' if k == NONE else source.classes[k]}: {count:,}, {islands[k]:,} of one pixel"
        for k, count in specks.most_common()
    ]
    return [
        finding(
            f"{plural(specks.total(), 'speck')} in {plural(images, 'image')}, "
            f"{islands.total():,} of one pixel.",
            "Each one becomes an edge all round: look at the worst below, and remove what no one "
            "meant to draw.",
            rows,
            is_problem=False,
        )
    ]


def find_suspects(source: Source, measured: Sequence[Measured]) -> list[Finding]:
    """Labels that do not fit their images, and that end before the border."""
    found: list[Finding] = []
    low = [image for image in measured if image.fit and image.fit.score < LOW_SCORE]
    if low:
        low.sort(key=lambda image: image.fit.score if image.fit else 0)
        found.append(
            finding(
                f"{plural(len(low), 'label map')} {have(len(low))} a border that touches few edges "
                "of the image.",
                "Look at them below: is it another image's label, shifted, or drawn roughly?",
                [source.items[image.number].name for image in low],
                is_problem=False,
            )
        )
    gaps = [source.items[image.number].name for image in measured if image.gap > LARGE_GAP]
    if gaps:
        found.append(
            finding(
                f"{plural(len(gaps), 'label map')} {have(len(gaps))} classes that end just before "
                "the image's border.",
                "That makes edges where the image has none: draw objects up to the border.",
                gaps,
                is_problem=False,
            )
        )
    return found
