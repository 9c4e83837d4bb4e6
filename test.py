"""Score a network, or anybody's prediction files.

    python test.py --checkpoint runs/camvid/dff/best.pth --data-root datasets/CamVid --split test
    python test.py --task edge --predictions DIR --dataset cityscapes --data-root datasets/cityscapes --split val
    python test.py --task edge --predictions DIR --labels DIR --workers 8 --out scores
    torchrun --nproc-per-node 8 test.py --checkpoint runs/cityscapes/dff/best.pth     # each GPU takes its share

A test leaves metrics.json, scores.csv, curves.csv, counts.npz and report.html in --out. Interrupted, it goes on when
run again.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
from torch import nn

from data import build_dataset, dataset_class, parse_options
from data.base import Dataset, InputError
from data.cli import run
from utils.checkpoint import ModelInfo, load_model
from utils.distributed import Ranks, close_distributed, init_distributed
from utils.edge_counts import PictureCounter, fingerprint
from utils.edge_eval import count_pictures, write_results
from utils.edge_report import write_report
from utils.edge_scores import format_table, score_modes
from utils.edge_source import FileSource, NetworkSource, class_names, shower
from utils.inference import pick_device
from utils.prediction_files import PredictionFolder
from utils.protocols import Protocol
from utils.score_args import chosen_protocol, chosen_task, parse_score_args
from utils.truth_files import DatasetTruth, FolderTruth, Truth


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    return parse_score_args(__doc__, argv)


def main(args: argparse.Namespace) -> None:
    """Score what the flags name."""
    device = pick_device(args.device)
    ranks = init_distributed(device.type)
    if device.type == "cuda" and ranks.world > 1:
        device = torch.device("cuda", ranks.local_rank)
        torch.cuda.set_device(device)
    try:
        model, info = None, None
        if args.checkpoint:
            model, info = load_model(args.checkpoint, name=args.model, backbone=args.backbone, dataset=args.dataset)
            model.to(device)
        if chosen_task(args, info and info.task) == "seg":
            raise InputError("--task seg: this version scores edges only")
        score_edges(args, model, info, device, ranks)
    finally:
        close_distributed()


def score_edges(
    args: argparse.Namespace, model: nn.Module | None, info: ModelInfo | None, device: torch.device, ranks: Ranks
) -> None:
    """Count on all ranks; add up, print and write on the main one."""
    name = args.dataset or (info.dataset if info else "")
    protocol = chosen_protocol(args, name)
    if ranks.is_main:
        print(protocol.describe())
    dataset = open_pictures(args, name)
    if args.predictions:
        folder = PredictionFolder(args.predictions, known_classes(args, name))
        truth = open_truth(args, protocol, dataset, folder.num_classes)
        source = FileSource(folder, truth, allow_missing=args.allow_missing, is_main=ranks.is_main)
    else:
        require_classes(args, info, dataset)
        truth = open_truth(args, protocol, dataset, info.num_classes)
        base_size = info.base_size if args.base_size is None else args.base_size
        source = NetworkSource(args.checkpoint, model, dataset, truth, device=device, base_size=base_size)
    counter = PictureCounter(
        truth, protocol, fingerprint(source.identity, truth.origin), args.out / "partial", source.files
    )
    predict = None if args.predictions else source.scores
    counts = count_pictures(counter, source.indices, args.workers, ranks, predict=predict)
    if ranks.is_main:
        names, palette = class_names(info, name, counts.shape[2])
        scores = score_modes(counts, names, protocol)
        origin = {**source.origin, **truth.origin, "images": len(counts)}
        for mode in scores:
            print(f"\n{mode.mode}\n{format_table(mode)}")
        write_results(args.out, scores, counts, protocol, origin, [truth.names[i] for i in source.indices])
        if args.report:
            show = shower(source, truth, dataset)
            write_report(args.out, scores, counts, protocol, origin, palette, show=show, pictures=args.pictures)
        counter.forget()
        print(f"\nscores: {args.out}")


def open_pictures(args: argparse.Namespace, name: str) -> Dataset | None:
    """The data set: its pictures, its labels; beside --predictions and --labels only with --data-root."""
    if args.labels and args.predictions and not args.data_root:
        return None
    if not name:
        raise InputError(f"{args.checkpoint} does not say what it was trained on; add --dataset")
    return build_dataset(name, args.data_root or f"datasets/{name}", args.split, **parse_options(args.data_option))


def open_truth(args: argparse.Namespace, protocol: Protocol, dataset: Dataset | None, num_classes: int) -> Truth:
    """The true edges: files, or what the data set makes of its labels."""
    return FolderTruth(args.labels, protocol, num_classes) if args.labels else DatasetTruth(dataset, protocol)


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
