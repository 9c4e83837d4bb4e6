"""dataset.json for label maps and images that lie in OUT already, and stay as they are."""

from dataclasses import replace

from data.dataset_file import NAME as DATASET_FILE
from data.dataset_file import write_dataset_file
from data.errors import InputError
from data.files import resolved
from data.gtlabel.jobs import report_failures
from data.importer.formats import reader_of
from data.importer.merge import check_background
from data.importer.plan import plan_images
from data.importer.report import print_next
from data.importer.run import Request, require_valid
from data.importer.splits import decide_splits


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
    require_valid(content)
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
