"""Score a network, or anybody's prediction files.

    python test.py --checkpoint runs/camvid/dff/best.pth --data-root datasets/CamVid --split test
    python test.py --task edge --predictions DIR --dataset cityscapes --data-root datasets/cityscapes --split val
    python test.py --task edge --predictions DIR --labels DIR --workers 8 --out scores
    python test.py --task seg --predictions DIR --labels DIR --num-classes 19 --out scores
    torchrun --nproc-per-node 8 test.py --checkpoint runs/cityscapes/dff/best.pth     # each GPU takes its share
    python test.py --checkpoint seg.pth --window 832 --scales 0.5 0.75 1 1.25 1.5 1.75 2 --mirror    # as published
    python test.py --checkpoint seg.pth --submit submission         # Cityscapes' test split -> submission.zip

A test leaves metrics.json and report.html in --out, with scores.csv, curves.csv and counts.npz (edge) or scores.csv and
confusion.csv (seg). An interrupted test of edges goes on when run again.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from data import build_dataset, dataset_class, parse_options
from data.base import Dataset
from data.errors import InputError, run
from utils.checkpoint import ModelInfo, load_model
from utils.distributed.environment import Ranks
from utils.distributed.group import own_device, process_group
from utils.evaluation.args import chosen_protocol, chosen_task, parse_score_args
from utils.evaluation.class_names import class_names
from utils.evaluation.edges.counter import ImageCounter
from utils.evaluation.edges.examples import edge_example_loader
from utils.evaluation.edges.ground_truth import DatasetTruth, FolderTruth, Truth
from utils.evaluation.edges.partial import ResumableCounter, fingerprint
from utils.evaluation.edges.predictions import PredictionFolder
from utils.evaluation.edges.protocols import EdgeProtocol
from utils.evaluation.edges.report import write_edge_report
from utils.evaluation.edges.run import count_edge_images, write_edge_results
from utils.evaluation.edges.scores import score_modes
from utils.evaluation.edges.sources import FileSource, NetworkSource
from utils.evaluation.edges.tables import format_table
from utils.evaluation.segmentation.examples import seg_example_loader
from utils.evaluation.segmentation.label_maps import (
    DatasetLabels,
    FolderLabels,
    LabelMaps,
    NetworkLabels,
    match_maps,
)
from utils.evaluation.segmentation.report import write_seg_report
from utils.evaluation.segmentation.run import count_label_maps, write_seg_results
from utils.evaluation.segmentation.scores import SegProtocol, image_quality, score_images
from utils.evaluation.segmentation.submission import write_submission
from utils.evaluation.segmentation.tables import format_scores
from utils.inference.args import chosen_modes, described_network
from utils.inference.device import pick_device


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    return parse_score_args(__doc__, argv)


def main(args: argparse.Namespace) -> None:
    """Score what the flags name."""
    device = pick_device(args.device)
    with process_group(device.type) as ranks:
        device = own_device(device, ranks)
        model, info = None, None
        if args.checkpoint:
            model, info = load_model(args.checkpoint, **described_network(args))
            model.to(device)
        task = chosen_task(args, info and info.task)
        if args.submit:
            submit(args, model, info, device, ranks)
        elif task == "seg":
            score_labels(args, model, info, device, ranks)
        else:
            score_edges(args, model, info, device, ranks)


def score_edges(
    args: argparse.Namespace,
    model: nn.Module | None,
    info: ModelInfo | None,
    device: torch.device,
    ranks: Ranks,
) -> None:
    """Count on all ranks; add up, print and write on the main one."""
    name = args.dataset or (info.dataset if info else "")
    protocol = chosen_protocol(args, name)
    if ranks.is_main:
        print(protocol.describe())
    dataset = open_images(args, name)
    if args.predictions:
        folder = PredictionFolder(args.predictions, known_classes(args, name))
        truth = open_truth(args, protocol, dataset, folder.num_classes)
        source = FileSource(folder, truth, allow_missing=args.allow_missing, is_main=ranks.is_main)
    else:
        require_classes(args, info, dataset)
        truth = open_truth(args, protocol, dataset, info.num_classes)
        modes = chosen_modes(args, info.base_size)
        source = NetworkSource(args.checkpoint, model, dataset, truth, device=device, modes=modes)
    counter = ResumableCounter(
        ImageCounter(truth, protocol, source.files),
        fingerprint(source.identity, truth.origin),
        args.out / "partial",
    )
    predict = None if args.predictions else source.scores
    counts = count_edge_images(counter, source.indices, args.workers, ranks, predict=predict)
    if ranks.is_main:
        names, palette = class_names(info, name, counts.shape[2])
        scores = score_modes(counts, names, protocol)
        origin = {**source.origin, **truth.origin, "images": len(counts)}
        for mode in scores:
            print(f"\n{mode.mode}\n{format_table(mode)}")
        write_edge_results(
            args.out, scores, counts, protocol, origin, [truth.names[i] for i in source.indices]
        )
        if args.report:
            load_example = edge_example_loader(source, truth, dataset)
            write_edge_report(
                args.out,
                scores,
                counts,
                protocol,
                origin,
                palette,
                load_example=load_example,
                images=args.pictures,
            )
        counter.forget()
        print(f"\nscores: {args.out}")


def score_labels(
    args: argparse.Namespace,
    model: nn.Module | None,
    info: ModelInfo | None,
    device: torch.device,
    ranks: Ranks,
) -> None:
    """Count on all ranks; add up, print and write on the main one."""
    name = args.dataset or (info.dataset if info else "")
    dataset = open_images(args, name)
    num_classes = info.num_classes if info else known_classes(args, name)
    if num_classes is None:
        raise InputError(
            "label maps do not say how many classes there are; add --num-classes or --dataset"
        )
    names, palette = class_names(info, name, num_classes)
    protocol = SegProtocol(tuple(names), tuple(args.bounds), args.boundary_iou)
    truth = open_labels(args, dataset, num_classes)
    if args.predictions:
        predictions = FolderLabels(
            args.predictions, num_classes, what="predictions", label_ids=args.label_ids
        )
    else:
        predictions = open_network(args, model, info, dataset, device)
    tell = partial(print, file=sys.stderr) if ranks.is_main else (lambda _text: None)
    matches = match_maps(truth, predictions, allow_missing=args.allow_missing, report=tell)
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
            load_example = seg_example_loader(truth, predictions, matches, dataset)
            write_seg_report(
                args.out,
                scores,
                quality,
                source,
                palette,
                load_example=load_example,
                images=args.pictures,
            )
        print(f"\nscores: {args.out}")


def submit(
    args: argparse.Namespace, model: nn.Module, info: ModelInfo, device: torch.device, ranks: Ranks
) -> None:
    """Write, check and zip the label maps for Cityscapes' server."""
    if info.task != "seg":
        raise InputError(
            f"{args.checkpoint} holds {info.name}, a network for edges; --submit wants label maps"
        )
    dataset = open_images(args, args.dataset or info.dataset)
    predictions = open_network(args, model, info, dataset, device)
    path = write_submission(dataset, predictions, args.submit, ranks)
    if ranks.is_main:
        print(f"{len(dataset)} label maps, valid by the server's rules: {path}")


def open_images(args: argparse.Namespace, name: str) -> Dataset | None:
    """The data set: its images, its labels; beside --predictions and --labels only with --data-root."""
    if args.labels and args.predictions and not args.data_root:
        return None
    if not name:
        raise InputError(f"{args.checkpoint} does not say what it was trained on; add --dataset")
    return build_dataset(
        name, args.data_root or f"datasets/{name}", args.split, **parse_options(args.data_option)
    )


def open_truth(
    args: argparse.Namespace, protocol: EdgeProtocol, dataset: Dataset | None, num_classes: int
) -> Truth:
    """The true edges: files, or what the data set makes of its labels."""
    return (
        FolderTruth(args.labels, protocol, num_classes)
        if args.labels
        else DatasetTruth(dataset, protocol)
    )


def open_labels(args: argparse.Namespace, dataset: Dataset | None, num_classes: int) -> LabelMaps:
    """The true label maps: files, or the data set's."""
    if args.labels:
        return FolderLabels(args.labels, num_classes, what="labels", label_ids=args.label_ids)
    return DatasetLabels(dataset)


def open_network(
    args: argparse.Namespace,
    model: nn.Module,
    info: ModelInfo,
    dataset: Dataset,
    device: torch.device,
) -> NetworkLabels:
    """The label maps that the network makes of the data set's images."""
    require_classes(args, info, dataset)
    return NetworkLabels(
        args.checkpoint, model, dataset, device=device, modes=chosen_modes(args, info.base_size)
    )


def known_classes(args: argparse.Namespace, name: str) -> int | None:
    """How many classes the truth has, as far as the flags say; None: as many as the predictions."""
    return len(dataset_class(name).classes) if name else args.num_classes


def require_classes(args: argparse.Namespace, info: ModelInfo, dataset: Dataset) -> None:
    """InputError unless the network's classes are the data set's."""
    if info.num_classes != dataset.num_classes:
        raise InputError(
            f"{args.checkpoint} has {info.num_classes} classes, {dataset.name} has {dataset.num_classes}; "
            "choose the --dataset that it was trained on"
        )


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
