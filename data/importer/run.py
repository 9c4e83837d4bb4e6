"""An import from its beginning to its end: read, plan, make, and dataset.json last."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.dataset_file import NAME as DATASET_FILE
from data.dataset_file import (
    DatasetFile,
    format_dataset_file,
    parse_dataset_file,
    read_dataset_file,
    write_dataset_file,
)
from data.errors import InputError
from data.files import first_few, parse_json, resolved
from data.gtlabel.jobs import report_failures
from data.gtlabel.pool import WorkOptions
from data.importer.annotations import Annotations, ReaderOptions
from data.importer.formats import reader_of
from data.importer.images import ImageIndex
from data.importer.merge import check_background, merge_classes
from data.importer.plan import (
    Plan,
    maker_of,
    plan_images,
    require_out,
    require_own_names,
    require_room,
    targets_of,
)
from data.importer.report import print_next, print_summary
from data.importer.splits import SplitChoice, decide_splits
from data.importer.state import Import, Records, read_imports, write_imports
from data.importer.work import Done, fill_instances, make_all


@dataclass(frozen=True)
class Request:
    """What the command says.

    Args:
        kind: of the format.
        source: of the annotations.
        options: of the reader, with --images and --out.
        choice: of splits.
        background: of --background; None: not given.
        keep_unlabelled: images that no annotation names get empty labels.
        upright: of --upright; None: not given.
        link: images are hard links where that is possible.
        work: processes, and --overwrite.
    """

    kind: str
    source: Path
    options: ReaderOptions
    out: Path
    choice: SplitChoice
    background: str | None
    keep_unlabelled: bool
    upright: bool | None
    link: bool
    work: WorkOptions


def run_import(request: Request) -> int:
    """Make what is missing or stale; returns the exit status."""
    out, options = request.out, request.options
    present = read_imports(out)
    require_out(out, request.source, options.images, ours=present is not None)
    found = reader_of(request.kind)(request.source, options)
    index = ImageIndex(options.images, skip=out, required=False)
    base = _base(request, present or ())
    merged = merge_classes(found.classes, base, request.background, found.covers)
    kept = index if request.keep_unlabelled else None
    before = base.upright if base else None
    plan = plan_images(found, kept, request.choice, upright=request.upright, before=before)
    _require_valid(merged.content)
    ours = _import_of(request, plan)
    others = require_own_names(out, ours, present or (), overwrite=request.work.overwrite)
    require_room(out, plan, link=request.link)
    gone = _gone(ours, present or ())
    ours = replace(ours, names=(*ours.names, *gone))
    write_imports(out, (*others, ours))

    records = Records(out)
    settings = _settings(request)
    work = [
        maker_of(image, targets_of(out, image), merged.table, settings, plan)
        for image in plan.images
    ]
    done = make_all(work, records, request.work)
    _say_done(plan, done)

    names = [name for one in (*others, ours) for name in one.names]
    made = {name: one for name in names if (one := records.get(name))}
    if not made:
        raise InputError("no image could be imported; the lines above say why")
    fill_instances(out, made)
    content, split_notes = decide_splits(
        replace(merged.content, upright=plan.upright),
        list(made),
        plan.placed.folders,
        request.choice,
        base,
    )
    _write_if_new(out, content)
    notes = [*found.notes, *merged.notes, *plan.notes, *split_notes]
    notes += _left_out(index, found, gone, keep=request.keep_unlabelled)
    print_summary(content, list(made.values()), notes)
    print_next(out)
    return 2 if plan.failures or done.failures else 0


def run_in_place(request: Request) -> int:
    """Write only dataset.json, for label maps that stay as they are; returns the exit status."""
    out, options = request.out, request.options
    if (out / DATASET_FILE).exists() and not request.work.overwrite:
        raise InputError(f"{out / DATASET_FILE}: is there already; give --overwrite to replace it")
    if request.choice.split:
        raise InputError("--split would move images; move them into images/NAME/ and labels/NAME/")
    found = reader_of(request.kind)(request.source, options)
    if found.dataset_file is None:
        raise InputError(f"{request.kind}: cannot be taken as it is; give another --out")
    content = check_background(out, found.dataset_file, request.background)
    choice = request.choice
    plan = plan_images(found, None, choice, upright=request.upright, before=None)
    names = [image.name for image in plan.images]
    content, notes = decide_splits(
        replace(content, upright=plan.upright), names, plan.placed.folders, choice, None
    )
    _require_valid(content)
    write_dataset_file(out, content)
    print(f"{out / DATASET_FILE}: {len(content.classes)} classes, {len(names)} images")
    report_failures(plan.failures)
    for note in (*found.notes, *plan.notes, *notes):
        print(f"note: {note}")
    print_next(out)
    return 2 if plan.failures else 0


def is_in_place(request: Request) -> bool:
    """Whether the label maps and images are already those of --out."""
    out = resolved(request.out)
    return (
        request.kind in ("ids", "colors")
        and resolved(request.source) == out / "labels"
        and resolved(request.options.images) == out / "images"
    )


def _base(request: Request, present: Sequence[Import]) -> DatasetFile | None:
    """What dataset.json says already: ids, colours and splits stay when an import is repeated.

    With --overwrite an import that is the only one starts afresh.
    """
    lone = all(other.is_same(_identity(request)) for other in present)
    if (lone and request.work.overwrite) or not (request.out / DATASET_FILE).exists():
        return None
    return read_dataset_file(request.out)


def _identity(request: Request) -> Import:
    source, images = resolved(request.source), resolved(request.options.images)
    return Import(request.kind, str(source), str(images), request.choice.split, False)


def _import_of(request: Request, plan: Plan) -> Import:
    return replace(
        _identity(request),
        in_folders=plan.placed.folders is not None,
        names=tuple(image.name for image in plan.images),
    )


def _settings(request: Request) -> dict[str, Any]:
    """What decides how the maps of all images are drawn, and how images are written."""
    drawn = asdict(request.options)
    for where in ("images", "out", "in_place"):
        del drawn[where]
    return {"kind": request.kind, "link": request.link, **drawn}


def _require_valid(content: DatasetFile) -> None:
    """InputError if `data.dataset_file` would refuse what is to be written, by a class's name."""
    if not content.classes:
        raise InputError("there are no classes: no annotation has a label that is taken")
    parse_dataset_file(parse_json(format_dataset_file(content), ""), DATASET_FILE)


def _gone(ours: Import, present: Iterable[Import]) -> tuple[str, ...]:
    """Images of an earlier run of the same import that it has no more, or cannot make."""
    before = [name for other in present if other.is_same(ours) for name in other.names]
    now = set(ours.names)
    return tuple(name for name in before if name not in now)


def _say_done(plan: Plan, done: Done) -> None:
    failures = [*plan.failures, *done.failures]
    print(f"images: {len(done.made)} made, {len(done.fresh)} up to date, {len(failures)} failed")
    report_failures(failures)


def _write_if_new(out: Path, content: DatasetFile) -> None:
    path = out / DATASET_FILE
    if not path.exists() or path.read_text(encoding="utf-8") != format_dataset_file(content):
        write_dataset_file(out, content)


def _left_out(
    index: ImageIndex, found: Annotations, gone: Sequence[str], *, keep: bool
) -> list[str]:
    """Lines about images that have no annotation, and about those of an earlier run."""
    notes = []
    annotated = {entry.image for entry in found.entries}
    bare = [path for path in index.files if path not in annotated]
    if bare:
        what = "have empty labels" if keep else "are left out (--unlabelled keep takes them)"
        shown = first_few(path.relative_to(index.folder) for path in bare)
        notes.append(f"{len(bare)} images that no annotation names {what}: {shown}")
    if gone:
        notes.append(
            f"{len(gone)} images of an earlier run are not among those of this one and stay: "
            f"{first_few(gone)}"
        )
    return notes
