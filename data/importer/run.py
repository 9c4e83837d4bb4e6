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
from data.importer.checks import require_out, require_own_names, require_room
from data.importer.formats import reader_of
from data.importer.images import ImageIndex
from data.importer.lock import sole_import
from data.importer.merge import Merged, merge_classes
from data.importer.plan import Plan, maker_of, plan_images, targets_of
from data.importer.report import print_next, print_summary
from data.importer.splits import SplitChoice, decide_splits
from data.importer.state import Import, Made, Records, read_imports, write_imports
from data.importer.work import fill_instances, make_all


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


@dataclass(frozen=True)
class Prepared:
    """What is known before anything is written.

    Args:
        found: what the reader returned.
        index: of all images below --images.
        base: what dataset.json says already; None: nothing that stays.
        merged: the classes and their ids.
        plan: of the images.
        imports: of --out, this one last.
        gone: names of an earlier run of this import that it has no more, or cannot make.
    """

    found: Annotations
    index: ImageIndex
    base: DatasetFile | None
    merged: Merged
    plan: Plan
    imports: tuple[Import, ...]
    gone: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Of all images below --out."""
        return [name for one in self.imports for name in one.names]


def run_import(request: Request) -> int:
    """Make what is missing or stale; returns the exit status."""
    with sole_import(request.out):
        return _run_alone(request)


def _run_alone(request: Request) -> int:
    prepared = _prepare(request)
    write_imports(request.out, prepared.imports)
    if prepared.base:  # new ids are said before maps have them, or another source could take them
        _write_if_new(request.out, prepared.merged.content)
    records = Records(request.out)
    settings = _settings(request)
    work = [
        maker_of(
            image, targets_of(request.out, image), prepared.merged.table, settings, prepared.plan
        )
        for image in prepared.plan.images
    ]
    done = make_all(work, records, request.work)
    failures = [*prepared.plan.failures, *done.failures]
    print(f"images: {len(done.made)} made, {len(done.fresh)} up to date, {len(failures)} failed")
    report_failures(failures)
    made = {name: one for name in prepared.names if (one := records.get(name))}
    _conclude(request, prepared, made)
    return 2 if failures else 0


def _prepare(request: Request) -> Prepared:
    """Read and plan; InputError for whatever no image alone is at fault for."""
    out, options, overwrite = request.out, request.options, request.work.overwrite
    present = read_imports(out)
    require_out(out, request.source, options.images, ours=present is not None)
    present = present or ()
    found = reader_of(request.kind)(request.source, options)
    index = ImageIndex(options.images, skip=out, required=False)
    base = _base(request, present)
    former = _former(out) if base is None else None
    merged = merge_classes(found.classes, base, request.background, found.covers, former)
    plan = plan_images(
        found,
        index if request.keep_unlabelled else None,
        request.choice,
        upright=request.upright,
        before=base.upright if base else None,
    )
    require_valid(merged.content, found.notes)
    ours = _import_of(request, plan)
    others = require_own_names(out, ours, present, overwrite=overwrite)
    require_room(out, plan, link=request.link)
    gone = _gone(ours, present)
    ours = replace(ours, names=(*ours.names, *gone))
    return Prepared(found, index, base, merged, plan, (*others, ours), gone)


def _conclude(request: Request, prepared: Prepared, made: dict[str, Made]) -> None:
    """Write dataset.json, and say what there is. made: all images below --out."""
    if not made:
        raise InputError("no image could be imported; the lines above say why")
    out, plan, merged = request.out, prepared.plan, prepared.merged
    fill_instances(out, made)
    content, split_notes = decide_splits(
        replace(merged.content, upright=plan.upright),
        list(made),
        plan.placed.folders,
        request.choice,
        prepared.base,
    )
    _write_if_new(out, content)
    notes = [*prepared.found.notes, *merged.notes, *plan.notes, *split_notes]
    notes += _left_out(prepared, keep=request.keep_unlabelled)
    print_summary(content, list(made.values()), notes)
    if not any(one.classes for one in made.values()):
        raise InputError(
            "no image has a pixel of any class, so there is nothing to learn; the notes above say "
            "what was not drawn"
        )
    print_next(out)


def _base(request: Request, present: Sequence[Import]) -> DatasetFile | None:
    """What dataset.json says already: ids, colours and splits stay when an import is repeated.

    With --overwrite an import that is the only one starts afresh.
    """
    others = [other for other in present if not other.is_same(_identity(request))]
    if not (request.out / DATASET_FILE).exists():
        if others:
            raise InputError(
                f"--out {request.out}: has no {DATASET_FILE}, which says what the labels of "
                f"{others[0].source} mean; run that import again first"
            )
        return None
    if request.work.overwrite and not others:
        return None
    return read_dataset_file(request.out)


def _former(out: Path) -> DatasetFile | None:
    """What dataset.json says that --overwrite replaces; None if nothing can be read of it."""
    try:
        found = read_dataset_file(out)
    except (InputError, OSError):
        return None
    return None if found.colored else found


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


def require_valid(content: DatasetFile, notes: Sequence[str] = ()) -> None:
    """InputError if `data.dataset_file` would refuse what is to be written, by a class's name.

    notes: on what the reader did not take, which say why there may be no class.
    """
    if not content.classes:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise InputError(f"there are no classes: no annotation has a label that is taken{why}")
    parse_dataset_file(parse_json(format_dataset_file(content), ""), DATASET_FILE)


def _gone(ours: Import, present: Iterable[Import]) -> tuple[str, ...]:
    """Images of an earlier run of the same import that it has no more, or cannot make."""
    before = [name for other in present if other.is_same(ours) for name in other.names]
    now = set(ours.names)
    return tuple(name for name in before if name not in now)


def _write_if_new(out: Path, content: DatasetFile) -> None:
    path = out / DATASET_FILE
    if not path.exists() or path.read_text(encoding="utf-8") != format_dataset_file(content):
        write_dataset_file(out, content)


def _left_out(prepared: Prepared, *, keep: bool) -> list[str]:
    """Lines about images that have no annotation, and about those of an earlier run."""
    found, index, gone = prepared.found, prepared.index, prepared.gone
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
