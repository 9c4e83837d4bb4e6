"""Score a network, or anybody's prediction files.

    python test.py --checkpoint runs/camvid/dff/best.pth --data-root datasets/CamVid --split test
    python test.py --task edge --predictions DIR --dataset cityscapes --split val
    python test.py --task edge --predictions DIR --labels DIR --workers 8 --out scores
    python test.py --task seg --predictions DIR --labels DIR --num-classes 19 --out scores
    python test.py --checkpoint seg.pth --window 832 --scales 0.5 0.75 1 1.25 1.5 1.75 2 --mirror
    python test.py --checkpoint seg.pth --submit submission    # Cityscapes' test split -> .zip
    torchrun --nproc-per-node 8 test.py --checkpoint runs/cityscapes/dff/best.pth

The windows, scales and mirror image above are the published ones of DecoupleSegNets and GFFNet.
With torchrun, each GPU takes its share of the images.

A test leaves metrics.json and report.html in --out, with scores.csv, curves.csv and counts.npz
(edge) or scores.csv and confusion.csv (seg). An interrupted test of edges goes on when run again.
"""

from data.errors import quiet_interrupts
from data.files import resolved
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
from utils.evaluation.args import chosen_protocols, chosen_task, parse_score_args
from utils.evaluation.class_names import class_names
from utils.evaluation.edges.counter import ImageCounter
from utils.evaluation.edges.examples import edge_example_loader
from utils.evaluation.edges.ground_truth import (
    DatasetGroundTruth,
    EdgeGroundTruth,
    FolderGroundTruth,
    sizes_in_words,
)
from utils.evaluation.edges.partial import ResumableCounter, fingerprint
from utils.evaluation.edges.predictions import PredictionFolder
from utils.evaluation.edges.protocols import EdgeProtocol, same_tolerances
from utils.evaluation.edges.results import (
    edge_results,
    format_overview,
    report_result,
    require_result_folders,
    require_temperature,
    score_result,
    write_result,
)
from utils.evaluation.edges.run import count_edge_images
from utils.evaluation.edges.sources import (
    FileSource,
    NetworkSource,
    match_images,
    require_image_sizes,
)
from utils.evaluation.inputs import (
    declared_classes,
    note_data,
    note_turned,
    open_dataset,
    require_same_classes,
)
from utils.evaluation.out_dir import require_out_dir
from utils.evaluation.segmentation.examples import seg_example_loader
from utils.evaluation.segmentation.label_maps import (
    DatasetLabels,
    FolderLabels,
    LabelMaps,
    NetworkLabels,
    require_few_classes,
)
from utils.evaluation.segmentation.pairing import match_maps, require_same_sizes
from utils.evaluation.segmentation.report import write_seg_report
from utils.evaluation.segmentation.run import count_label_maps, write_seg_results
from utils.evaluation.segmentation.scores import SegProtocol, image_quality, score_images
from utils.evaluation.segmentation.submission import write_submission
from utils.evaluation.segmentation.tables import format_scores
from utils.inference.args import predictor_from_flags
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
        if predictor and predictor.note and ranks.is_main:
            print(predictor.note)
        task = chosen_task(args, predictor and predictor.task)
        if predictor and args.submit:
            submit(args, predictor, ranks)
        elif task == "seg":
            score_labels(args, predictor, ranks)
        else:
            score_edges(args, predictor, ranks)


def score_edges(args: argparse.Namespace, predictor: Predictor | None, ranks: Ranks) -> None:
    """Count on all ranks; add up, print and write on the main one. predictor: None scores files."""
    info = predictor and predictor.info
    name = args.dataset or (info.dataset if info else "")
    dataset = open_images(args, name, "edge")
    if predictor and dataset:
        note_turned(dataset, ranks)
    if dataset and not args.labels:
        note_data(dataset, args.workers, ranks)
    protocols = chosen_protocols(args, name)
    source, truth = open_edges(args, predictor, dataset, name, protocols[0], ranks)
    protocols = same_tolerances(truth.protocol, protocols)
    results = edge_results(args.out, source, protocols)
    if args.fit_temperature:
        require_temperature(results)
    from_main(lambda: require_result_folders(results), ranks)
    places = image_places(source, truth, dataset)
    if ranks.is_main:
        sizes = sizes_in_words(truth.size(i) for i in source.indices)
        for protocol in protocols:
            print(protocol.describe(sizes))
        if isinstance(truth, FolderGroundTruth) and (note := truth.note()):
            print(f"note: {note}", file=sys.stderr)
    meaning = filter(None, [dataset.meaning()] if dataset else [])
    counter = ResumableCounter(
        ImageCounter(truth, protocols, source.files, source.image_files, source.variants),
        fingerprint(source.identity, truth.origin, *meaning),
        args.out / "partial",
    )
    predict = source.scores if isinstance(source, NetworkSource) else None
    records = count_edge_images(counter, source.indices, args.workers, ranks, predict=predict)
    if ranks.is_main:
        names, palette = class_names(info, name, truth.num_classes, dataset)
        origin = {**source.origin, **truth.origin, "images": len(source.indices)}
        image_names = [truth.names[i] for i in source.indices]
        scored = [score_result(result, records, names, args.fit_temperature) for result in results]
        for each in scored:
            print(each.format_tables())
            write_result(each, origin, image_names)
            if args.report:
                load = edge_example_loader(source, truth, dataset, places, each.result.variant)
                report_result(each, origin, palette, load_example=load, images=args.examples)
        counter.forget()
        print(format_overview(scored, args.out))


def score_labels(args: argparse.Namespace, predictor: Predictor | None, ranks: Ranks) -> None:
    """Count on all ranks; add up, print and write on the main one. predictor: None scores files."""
    info = predictor and predictor.info
    name = args.dataset or (info.dataset if info else "")
    dataset = open_images(args, name, "seg")
    num_classes = info.num_classes if info else declared_classes(name, args.num_classes, dataset)
    if num_classes is None:
        raise InputError(
            "label maps do not say how many classes there are; add --num-classes or --dataset"
        )
    require_few_classes(num_classes)
    names, palette = class_names(info, name, num_classes, dataset)
    protocol = SegProtocol(tuple(names), tuple(args.bounds), args.boundary_iou)
    if predictor and dataset:
        note_turned(dataset, ranks)
    if dataset and not args.labels:
        note_data(dataset, args.workers, ranks)
    truth, predictions = open_labels(args, predictor, dataset, num_classes)
    tell = partial(print, file=sys.stderr) if ranks.is_main else (lambda _text: None)
    matches = match_maps(truth, predictions, allow_missing=args.allow_missing, report=tell)
    require_same_sizes(truth, predictions, matches)
    load_example = seg_example_loader(truth, predictions, matches, dataset)
    counts = count_label_maps(
        truth, predictions, matches, protocol, workers=args.workers, ranks=ranks
    )
    if ranks.is_main:
        scores = score_images(list(counts.values()), protocol)
        source = {**predictions.origin, **truth.origin, "images": len(counts)}
        print(format_scores(scores))
        write_seg_results(args.out, scores, source)
        if args.report:
            quality = image_quality(list(counts.values()))
            write_seg_report(
                args.out,
                scores,
                quality,
                source,
                palette,
                load_example=load_example,
                images=args.examples,
            )
        print(f"\nscores: {args.out}")


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


def open_edges(
    args: argparse.Namespace,
    predictor: Predictor | None,
    dataset: Dataset | None,
    name: str,
    protocol: EdgeProtocol,
    ranks: Ranks,
) -> tuple[NetworkSource | FileSource, EdgeGroundTruth]:
    """The scores of edges, from the network or from files, and the ground truth.

    name: of the data set, "" if there is none.
    """
    if predictor is None:
        declared = declared_classes(name, args.num_classes, dataset)
        folder = PredictionFolder(args.predictions, declared)
        if folder.layout == "arrays" and resolved(folder.root) in resolved(args.out).parents:
            raise InputError(
                f"--out {args.out}: lies in the folder of predictions, and its arrays would be "
                "taken for some; choose another"
            )
        truth = open_truth(args, dataset, protocol, folder.num_classes)
        source = FileSource(folder, truth, allow_missing=args.allow_missing, is_main=ranks.is_main)
        return source, truth
    assert dataset is not None, "a network needs images: see parse_score_args"
    require_same_classes(args.checkpoint, predictor, dataset)
    truth = open_truth(args, dataset, protocol, dataset.num_classes)
    return NetworkSource(args.checkpoint, predictor, dataset, truth), truth


def image_places(
    source: NetworkSource | FileSource, truth: EdgeGroundTruth, dataset: Dataset | None
) -> dict[int, int]:
    """Index in the ground truth -> index in the data set; InputError if their sizes differ."""
    if dataset is None:
        return {}
    if isinstance(source, NetworkSource):
        return source.images
    places = match_images(truth, dataset)
    if isinstance(truth, FolderGroundTruth):
        require_image_sizes(truth, dataset, places)
    return places


def open_truth(
    args: argparse.Namespace, dataset: Dataset | None, protocol: EdgeProtocol, num_classes: int
) -> EdgeGroundTruth:
    """The true edges: files, or what the data set makes of its labels."""
    if args.labels:
        return FolderGroundTruth(args.labels, protocol, num_classes)
    assert dataset is not None, "without --labels there is a data set: see open_images"
    return DatasetGroundTruth(dataset, protocol)


def open_labels(
    args: argparse.Namespace,
    predictor: Predictor | None,
    dataset: Dataset | None,
    num_classes: int,
) -> tuple[LabelMaps, LabelMaps]:
    """The true label maps and the predicted ones: files, or the data set's and the network's."""
    folder = partial(FolderLabels, num_classes=num_classes, label_ids=args.label_ids)
    if args.labels:
        truth = folder(args.labels, what="labels")
    else:
        assert dataset is not None, "without --labels there is a data set: see open_images"
        truth = DatasetLabels(dataset)
    if predictor is None:
        return truth, folder(args.predictions, what="predictions")
    assert dataset is not None, "a network needs images: see parse_score_args"
    return truth, open_network(args, predictor, dataset)


def open_network(args: argparse.Namespace, predictor: Predictor, dataset: Dataset) -> NetworkLabels:
    """The label maps that the network makes of the data set's images."""
    require_same_classes(args.checkpoint, predictor, dataset)
    return NetworkLabels(args.checkpoint, predictor, dataset)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
