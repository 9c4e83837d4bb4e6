"""Score a network, or anybody's prediction files.

    python test.py --checkpoint runs/camvid/dff/best.pth --data-root datasets/CamVid --split test
    python test.py --task edge --predictions DIR --dataset cityscapes --split val
    python test.py --task edge --predictions DIR --labels DIR --workers 8 --out scores
    python test.py --predictions DIR --dataset camvid --max-dist 0.02 0.0075 3px --classes road car
    python test.py --task edge --checkpoint seg.pth            # edges derived, hard and soft
    python test.py --task edge --predictions DIR --prediction-kind labels --dataset cityscapes
    python test.py --task seg --predictions DIR --labels DIR --num-classes 19 --out scores
    python test.py --checkpoint seg.pth --window 832 --scales 0.5 0.75 1 1.25 1.5 1.75 2 --mirror
    python test.py --checkpoint seg.pth --submit submission    # Cityscapes' test split -> .zip
    torchrun --nproc-per-node 8 test.py --checkpoint runs/cityscapes/dff/best.pth

The windows, scales and mirror image above are the published ones of DecoupleSegNets and GFFNet.
With torchrun, each GPU takes its share of the images.

Several --max-dist are counted in one pass, and the results of each lie in a folder of their own:
OUT/max-dist-0.02, OUT/max-dist-3px; so do OUT/hard and OUT/soft, and the tasks of a net with an
edge head, OUT/seg and OUT/edge. --classes scores some classes alone, by name or number.

A test leaves metrics.json and report.html in --out, with scores.csv, counts.npz and curves.csv
(edge) or confusion.csv (seg). An interrupted test of edges goes on when run again. To compare two
of these folders: python -m utils.compare A B
"""

from data.errors import quiet_interrupts
from data.system.threads import let_threads_sleep

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow
    let_threads_sleep()

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from data import dataset_class
from data.base import Dataset
from data.errors import InputError, run
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main, own_device, process_group
from utils.evaluation.args import chosen_protocols, parse_score_args
from utils.evaluation.class_choice import choose_classes
from utils.evaluation.class_names import class_names, known_names
from utils.evaluation.edges.derived import EdgeMaking
from utils.evaluation.edges.ground_truth import (
    DatasetGroundTruth,
    EdgeGroundTruth,
    FolderGroundTruth,
)
from utils.evaluation.edges.kinds import refuse_label_maps, refuse_out_among_arrays
from utils.evaluation.edges.predictions import PredictionFolder
from utils.evaluation.edges.protocols import EdgeProtocol
from utils.evaluation.edges.scoring import EdgeScoring
from utils.evaluation.edges.segmentation_sources import LabelMapSource, SegNetSource
from utils.evaluation.edges.sources import EdgeSource, FileSource, NetworkSource
from utils.evaluation.inputs import (
    declared_classes,
    known_colors,
    note_images,
    note_turned,
    open_dataset,
    report_to,
    require_same_classes,
    required_classes,
    seg_classes,
)
from utils.evaluation.label_files import FolderLabels
from utils.evaluation.out_dir import out_of_task, require_out_dir
from utils.evaluation.segmentation.label_maps import (
    DatasetLabels,
    NetworkLabels,
    require_few_classes,
)
from utils.evaluation.segmentation.scores import SegProtocol
from utils.evaluation.segmentation.scoring import SegScoring
from utils.evaluation.segmentation.submission import write_submission
from utils.evaluation.task_choice import chosen_tasks, chosen_variants
from utils.evaluation.tasks import count_tasks
from utils.inference.args import announce, predictor_from_flags
from utils.inference.device import pick_device
from utils.inference.predictor import Predictor


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    return parse_score_args(__doc__ or "", argv)


def main(args: argparse.Namespace) -> None:
    """Score what the flags name."""
    device = pick_device(args.device)
    with process_group(device.type) as ranks:
        if not args.submit:
            inputs = (args.labels, args.predictions, args.data_root)
            from_main(lambda: require_out_dir(args.out, inputs), ranks)
        device = own_device(device, ranks)
        # Of `folder` the data set itself names the classes, if the checkpoint does not.
        names = args.dataset if args.dataset and dataset_class(args.dataset).classes else None
        predictor = predictor_from_flags(args, device, dataset=names) if args.checkpoint else None
        if predictor and ranks.is_main:
            announce(predictor)
        tasks = chosen_tasks(args, predictor)
        if predictor and args.submit:
            submit(args, predictor, ranks)
        else:
            score(args, predictor, tasks, ranks)


def score(
    args: argparse.Namespace, predictor: Predictor | None, tasks: Sequence[str], ranks: Ranks
) -> None:
    """Count on all ranks; add up, print and write on the main one. predictor: None scores files.

    Of two tasks each has a folder of its own in --out, and the net runs once over the images.
    """
    for task in tasks:
        from_main(partial(require_out_dir, out_of_task(args.out, task, tasks), ()), ranks)
    seg = open_seg(args, predictor, tasks, ranks) if "seg" in tasks else None
    edges = open_edges(args, predictor, tasks, ranks) if "edge" in tasks else None
    counts, records = count_tasks(seg, edges, args.workers, ranks)
    images = args.examples if args.report else None
    if ranks.is_main and seg and counts:
        seg.write(counts, images)
    if ranks.is_main and edges and records:
        edges.write(records, images)


def submit(args: argparse.Namespace, predictor: Predictor, ranks: Ranks) -> None:
    """Write, check and zip the label maps for Cityscapes' server."""
    info = predictor.info
    if info.task != "seg":
        raise InputError(
            f"{args.checkpoint} holds {info.name}, a network for edges; --submit wants label maps"
        )
    dataset = open_named(args, args.dataset or info.dataset, "seg")
    note_turned(dataset, ranks)
    predictions = open_network(args, predictor, dataset)
    path = write_submission(dataset, predictions, args.submit, ranks)
    if ranks.is_main:
        print(f"{len(dataset)} label maps, valid by the server's rules: {path}")


def open_seg(
    args: argparse.Namespace, predictor: Predictor | None, tasks: Sequence[str], ranks: Ranks
) -> SegScoring:
    """What is scored against what, as segmentation."""
    info = predictor and predictor.info
    name = args.dataset or (info.dataset if info else "")
    dataset = open_images(args, name, "seg")
    num_classes = info.num_classes if info else required_classes(name, args.num_classes, dataset)
    require_few_classes(num_classes)
    names, palette = class_names(info, name, num_classes, dataset)
    noted = {"by_net": predictor is not None, "as_truth": not args.labels}
    note_images(dataset, args.workers, ranks, **noted)
    folder = partial(FolderLabels, num_classes=num_classes, label_ids=args.label_ids)
    if args.labels:
        truth = folder(args.labels, what="labels")
    else:
        assert dataset is not None, "without --labels there is a data set: see open_images"
        truth = DatasetLabels(dataset)
    if predictor:
        assert dataset is not None, "a network needs images: see parse_score_args"
        predictions = open_network(args, predictor, dataset)
    else:
        colors = known_colors(name, dataset)
        predictions = folder(args.predictions, what="predictions", colors=colors)
    return SegScoring.matched(
        truth,
        predictions,
        SegProtocol(tuple(names), tuple(args.bounds), args.boundary_iou),
        palette,
        out_of_task(args.out, "seg", tasks),
        dataset,
        allow_missing=args.allow_missing,
        report=report_to(ranks.is_main),
    )


def open_network(args: argparse.Namespace, predictor: Predictor, dataset: Dataset) -> NetworkLabels:
    """The label maps that the network makes of the data set's images."""
    require_same_classes(args.checkpoint, predictor, dataset)
    return NetworkLabels(args.checkpoint, predictor, dataset)


def open_edges(
    args: argparse.Namespace, predictor: Predictor | None, tasks: Sequence[str], ranks: Ranks
) -> EdgeScoring:
    """What is scored against what, as semantic edges."""
    info = predictor and predictor.info
    name = args.dataset or (info.dataset if info else "")
    dataset = open_images(args, name, "edge")
    if "seg" not in tasks:  # else open_seg has
        noted = {"by_net": predictor is not None, "as_truth": not args.labels}
        note_images(dataset, args.workers, ranks, **noted)
    protocols = chosen_protocols(args, name)
    if predictor:
        assert dataset is not None, "a network needs images: see parse_score_args"
        source, truth = open_net_edges(args, predictor, dataset, protocols[0])
    elif args.prediction_kind == "labels":
        source, truth = open_label_maps(args, dataset, name, protocols[0], ranks)
    else:
        source, truth = open_edge_files(args, dataset, name, protocols[0], ranks)
    described = class_names(info, name, truth.num_classes, dataset)
    out = out_of_task(args.out, "edge", tasks)
    fit = args.fit_temperature
    scoring = EdgeScoring.prepared(source, truth, protocols, described, out, dataset, ranks, fit)
    if ranks.is_main:
        scoring.announce()
    return scoring


def open_net_edges(
    args: argparse.Namespace, predictor: Predictor, dataset: Dataset, protocol: EdgeProtocol
) -> tuple[EdgeSource, EdgeGroundTruth]:
    """The edges of a network, derived ones if it is for segmentation, and the ground truth."""
    require_same_classes(args.checkpoint, predictor, dataset)
    variants = chosen_variants(args, predictor)
    truth = open_truth(args, dataset, protocol, dataset.num_classes)
    names, _ = class_names(predictor.info, dataset.name, dataset.num_classes, dataset)
    classes = choose_classes(args.classes, names[: truth.num_classes])
    if predictor.task == "edge":
        return NetworkSource(args.checkpoint, predictor, dataset, truth, classes), truth
    making = EdgeMaking(truth.num_classes, protocol.modes, classes)
    source = SegNetSource(
        args.checkpoint, predictor, dataset, truth, variants=variants, making=making
    )
    return source, truth


def open_label_maps(
    args: argparse.Namespace,
    dataset: Dataset | None,
    name: str,
    protocol: EdgeProtocol,
    ranks: Ranks,
) -> tuple[EdgeSource, EdgeGroundTruth]:
    """The edges of label maps, and the ground truth. name: of the data set, or ""."""
    num_classes = required_classes(name, args.num_classes, dataset)
    most = seg_classes(name, num_classes, dataset)
    require_few_classes(most)
    folder = FolderLabels(
        args.predictions,
        most,
        what="predictions",
        label_ids=args.label_ids,
        colors=known_colors(name, dataset),
    )
    truth = open_truth(args, dataset, protocol, num_classes)
    names, _ = class_names(None, name, num_classes, dataset)
    source = LabelMapSource(
        folder,
        truth,
        dataset,
        EdgeMaking(num_classes, protocol.modes, choose_classes(args.classes, names)),
        allow_missing=args.allow_missing,
        is_main=ranks.is_main,
    )
    return source, truth


def open_edge_files(
    args: argparse.Namespace,
    dataset: Dataset | None,
    name: str,
    protocol: EdgeProtocol,
    ranks: Ranks,
) -> tuple[EdgeSource, EdgeGroundTruth]:
    """Edges from files, and the ground truth. name: of the data set, or ""."""
    declared = declared_classes(name, args.num_classes, dataset)
    names = known_names(name, dataset)
    if len(args.classes or ()) != 1:  # of which grey images may be the scores
        refuse_label_maps(args.predictions, declared, names)
    folder = PredictionFolder(args.predictions, declared, names=names, classes=args.classes)
    if ranks.is_main and (note := folder.note()):
        print(f"note: {note}", file=sys.stderr)
    refuse_out_among_arrays(folder, args.out)
    truth = open_truth(args, dataset, protocol, folder.num_classes)
    source = FileSource(folder, truth, allow_missing=args.allow_missing, is_main=ranks.is_main)
    return source, truth


def open_truth(
    args: argparse.Namespace, dataset: Dataset | None, protocol: EdgeProtocol, num_classes: int
) -> EdgeGroundTruth:
    """The true edges: files, or what the data set makes of its labels."""
    if args.labels:
        return FolderGroundTruth(args.labels, protocol, num_classes)
    assert dataset is not None, "without --labels there is a data set: see open_images"
    return DatasetGroundTruth(dataset, protocol)


def open_images(args: argparse.Namespace, name: str, task: str) -> Dataset | None:
    """The data set, or None if only files are scored and --data-root does not give their images."""
    if args.labels and args.predictions and not args.data_root:
        return None
    return open_named(args, name, task)


def open_named(args: argparse.Namespace, name: str, task: str) -> Dataset:
    """The data set `name`; InputError if neither the flags nor the checkpoint name one."""
    if not name:
        raise InputError(f"{args.checkpoint} does not say what it was trained on; add --dataset")
    return open_dataset(
        name, root=args.data_root, split=args.split, task=task, options=args.data_option
    )


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
