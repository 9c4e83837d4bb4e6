"""Segmentation nets with an edge head: losses and gradients, samples, parameter groups."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers.tiny_nets import JOINT, registered

from data.base import Sample
from data.edges import label_to_edges
from data.image_io import IGNORE
from data.samples.class_uniform import CropKey
from data.samples.edge import EdgeLabels, unpack_edges
from data.samples.seg import Relaxation, SegTraining
from data.samples.transforms import Augmentation, draw_window
from models import build_model
from models.losses import edge_loss, ohem_cross_entropy
from utils.training.objective import LOSSES, Objective, default_loss, losses_of
from utils.training.optimizer import HEAD_FACTOR, seg_optimizer

CLASSES = 3
WEIGHTS = {"seg": 0.5, "side5": 0.25, "fuse": 2.0}


class Drawn:
    """Three images with blobs of some classes, and instances; one is smaller than the crop."""

    name, split = "drawn", "train"
    sizes = ((60, 91), (40, 33), (75, 50))

    def __init__(self, num_classes: int = 4, seed: int = 0) -> None:
        self.num_classes = num_classes
        self.seed = seed
        self.records = [SimpleNamespace(instance=None)] * len(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, index))
        label = np.full(self.sizes[index], IGNORE, np.uint8)
        instance = np.zeros(label.shape, np.int32)
        for number in range(12):
            centre = (int(rng.integers(label.shape[1])), int(rng.integers(label.shape[0])))
            radius, k = int(rng.integers(5, 16)), int(rng.integers(self.num_classes))
            cv2.circle(label, centre, radius, k, -1)
            cv2.circle(instance, centre, radius // 2, number, -1)
        image = rng.integers(0, 256, (*label.shape, 3), np.uint8)
        return Sample(image, label, instance, f"{self.seed} {index}")


def batch_of(model: str, images: int = 2) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """A batch of random targets, and normalised images."""
    side = 32
    generator = torch.Generator().manual_seed(3)

    def random(high: int, *size: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
        return torch.randint(0, high, size, generator=generator, dtype=dtype)

    batch = {
        "image": random(256, images, side, side, 3),
        "label": random(CLASSES, images, side, side),
        "edges": random(2**CLASSES, images, side, side, dtype=torch.int32),
        "valid": random(2, images, 1, side, side),
    }
    if model.endswith("_decouple"):
        batch["bits"] = 2 ** random(CLASSES, images, 1, side, side, dtype=torch.int32)
        batch["edge"] = random(2, images, 1, side, side)
    return batch, torch.randn(images, 3, side, side, generator=generator)


def gradients(model: torch.nn.Module, total: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of every parameter; zeros where the loss does not depend on it."""
    model.zero_grad(set_to_none=True)
    total.backward(retain_graph=True)
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


@pytest.mark.parametrize(("name", "head"), [("fcn_decouple", "casenet"), ("gffnet", "dff")])
def test_the_joint_loss_is_the_sum_of_both_and_so_is_its_gradient(name: str, head: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, num_classes=CLASSES, backbone="resnet18", edge_head=head)
    batch, image = batch_of(name)
    loss = losses_of(name)[default_loss(name)]
    objective = Objective(loss, CLASSES, WEIGHTS, lambda *_: 0.1, images_per_loss=1, edge_head=True)
    alone = Objective(loss, CLASSES, WEIGHTS, lambda *_: 0.1, images_per_loss=1)
    model.double()
    outputs = model(image.double())
    terms = objective.batch_terms(outputs, batch)
    assert tuple(terms) == objective.term_names == (*loss.terms, "side5", "fuse")

    # The edge terms by the function of the edge nets, each over its two images at once.
    target = unpack_edges(batch["edges"], CLASSES)
    edges = sum(
        WEIGHTS[key] * edge_loss(outputs[key], target, batch["valid"]) for key in ("side5", "fuse")
    )
    seg = alone.total(alone.batch_terms(outputs, batch))
    if name != "fcn_decouple":
        each = [
            ohem_cross_entropy(outputs["seg"][n : n + 1], batch["label"][n : n + 1]) for n in (0, 1)
        ]
        assert seg.item() == pytest.approx(0.5 * sum(each).item() / 2, rel=1e-6)
    total = objective.total(terms)
    assert total.item() == pytest.approx(seg.item() + edges.item(), rel=1e-6)

    of_total, of_seg, of_edges = (gradients(model, each) for each in (total, seg, edges))
    touched = set()
    for key, value in of_total.items():
        part = key.partition(".")[0]
        if part == "edge_head":
            expected = of_edges[key]
            assert not of_seg[key].any(), key
        elif part == "backbone":
            expected = of_seg[key] + of_edges[key]
            touched.add((bool(of_seg[key].any()), bool(of_edges[key].any())))
        else:
            expected = of_seg[key]
            assert not of_edges[key].any(), key
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-12, msg=key)
    assert (True, True) in touched


@pytest.mark.parametrize("size", [0, 1, 2])
def test_images_per_loss_changes_nothing_of_the_edge_terms(size: int) -> None:
    batch, _ = batch_of("fcn", images=4)
    outputs = {key: torch.randn(4, CLASSES, 32, 32) for key in ("seg", "side5", "fuse")}
    objective = Objective(
        LOSSES["seg"]["ohem"], CLASSES, {}, lambda *_: 0.1, images_per_loss=size, edge_head=True
    )
    terms = objective.batch_terms(outputs, batch)
    target = unpack_edges(batch["edges"], CLASSES)
    for key in ("side5", "fuse"):
        expected = edge_loss(outputs[key], target, batch["valid"])
        assert float(terms[key]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("instance", [True, False])
@pytest.mark.parametrize("relaxed", [True, False])
def test_a_joint_crop_has_the_edges_of_the_whole_image_and_the_label_as_without(
    relaxed: bool, instance: bool
) -> None:
    augmentation = Augmentation(0, 48, (0.8, 1.6))
    relaxation = Relaxation() if relaxed else None
    dataset = Drawn()
    labels = EdgeLabels.of(dataset, instance_sensitive=instance)
    joint = SegTraining(dataset, augmentation, 5, relaxation, edges=labels)
    plain = SegTraining(dataset, augmentation, 5, relaxation)
    seen = 0
    for key in [CropKey(0, n, p) for n in range(3) for p in range(4)]:
        item, without = joint[key], plain[key]
        assert item.keys() - without.keys() == {"edges", "valid"}
        for name, value in without.items():
            assert value == item[name] if name == "name" else torch.equal(value, item[name]), name
        # The plain way: the edges of the whole scaled image, then the window.
        sample = dataset[key.sample]
        rng = np.random.default_rng((5, 0, key.sample, key.position))
        window = draw_window(*sample.label.shape, augmentation, rng)
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
            for n, m in zip(window.size, sample.label.shape, strict=True)
        )
        scaled = [values[rows][:, columns] for values in (sample.label, sample.instance)]
        bits = label_to_edges(*scaled, num_classes=4, radius=2, instance_sensitive=instance)
        part = bits[window.top : window.top + 48, window.left : window.left + 48]
        expected, valid = np.zeros((48, 48), np.uint32), np.zeros((48, 48), np.uint8)
        expected[: part.shape[0], : part.shape[1]] = part
        valid[: part.shape[0], : part.shape[1]] = 1
        if window.mirror:
            expected, valid = expected[:, ::-1], valid[:, ::-1]
        np.testing.assert_array_equal(item["edges"].numpy().view(np.uint32), expected)
        np.testing.assert_array_equal(item["valid"][0].numpy(), valid)
        seen += int(part.any())
    assert seen > 6


def test_coarse_samples_have_edges_of_their_own_labels() -> None:
    """Also where the data set's come from somewhere else, and there are more coarse ones."""
    augmentation = Augmentation(0, 48, (1.0, 1.0), mirror=False)
    coarse = Drawn(seed=7)
    coarse.sizes = Drawn.sizes * 2
    items = SegTraining(
        Drawn(), augmentation, 0, coarse=coarse, edges=None, coarse_edges=EdgeLabels.of(coarse)
    )
    alone = SegTraining(coarse, augmentation, 0, edges=EdgeLabels.of(coarse))
    assert "edges" not in items[0, 1]
    item, expected = items[0, 3 + 1], alone[0, 1]  # smaller than the crop: always the same one
    assert item["name"] == "7 1"
    assert torch.equal(item["edges"], expected["edges"])
    assert item["edges"].any()
    assert items[0, 3 + 4]["name"] == "7 4"


def test_more_than_32_classes_are_groups() -> None:
    dataset = Drawn(num_classes=60)
    augmentation = Augmentation(0, 48, (1.0, 1.0), mirror=False)
    labels = EdgeLabels.of(dataset, instance_sensitive=False)
    item = SegTraining(dataset, augmentation, 0, edges=labels)[0, 1]
    assert item["edges"].shape == (3, 48, 48)
    edges = unpack_edges(item["edges"][None], 60)[0]
    label = np.full((48, 48), IGNORE, np.uint8)
    label[:40, :33] = dataset[1].label
    for k in range(60):
        # The class by itself: 0, against all others, 1.
        alone = np.where(label == IGNORE, IGNORE, np.where(label == k, 0, 1)).astype(np.uint8)
        bits = label_to_edges(
            alone[:40, :33], dataset[1].instance, num_classes=2, instance_sensitive=False
        )
        np.testing.assert_array_equal(edges[k, :40, :33].numpy(), bits & 1 != 0)
    assert edges.any()
    assert edges[33:].any()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_edge_head_learns_ten_times_as_fast(kind: str) -> None:
    model = build_model("fcn", num_classes=CLASSES, backbone="resnet18", edge_head="dff")
    optimizer = seg_optimizer(model, lr=0.02, momentum=0.9, weight_decay=1e-4, kind=kind)
    slow, fast = optimizer.param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(names[id(p)].startswith("edge_head.") for p in fast["params"])
    assert not any(names[id(p)].startswith("edge_head.") for p in slow["params"])
    assert len(slow["params"]) + len(fast["params"]) == len(names)
    assert (slow["lr"], fast["lr"]) == (0.02, pytest.approx(0.02 * HEAD_FACTOR))
    without = build_model("fcn", num_classes=CLASSES, backbone="resnet18")
    assert len(seg_optimizer(without, lr=1, momentum=0, weight_decay=0).param_groups) == 1


def test_the_stem_beside_a_backbone_is_of_the_head() -> None:
    """Of a backbone whose first stage is the image itself."""
    with registered():
        model = build_model(JOINT, num_classes=CLASSES, backbone="resnet18", edge_head="casenet")
    optimizer = seg_optimizer(model, lr=0.02, momentum=0.9, weight_decay=1e-4)
    fast = {id(p) for p in optimizer.param_groups[1]["params"]}
    found = {n.partition(".")[0] for n, p in model.named_parameters() if id(p) in fast}
    assert found == {"edge_head", "edge_stem"}
