"""Edges of a segmentation: against loops, against the making of the ground truth, and bounds."""

from itertools import product
from math import ceil

import numpy as np
import pytest

from data.edges import (
    PNG_CLASSES,
    boundary_probability,
    class_edges,
    evaluation_edges,
    hard_edges,
    label_to_edges,
    scale_between,
    soft_edges,
    thin_classes,
    unpack,
)

SIZES = [(24, 32), (23, 37), (1, 9), (9, 1), (2, 2), (1, 1)]
SCALES = (1.0, 0.5, 0.37)


def blocks(size: tuple[int, int], classes: int, seed: int = 0, block: int = 5) -> np.ndarray:
    """uint8 (H, W): squares of random classes, some of none (255); the last class is missing."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, [-(-n // block) for n in size])
    label = np.kron(coarse, np.ones((block, block), int))[: size[0], : size[1]].astype(np.uint8)
    label[label == classes - 1] = 255
    return label


def one_hot(label: np.ndarray, classes: int) -> np.ndarray:
    """float32 (K, H, W)."""
    return (label == np.arange(classes)[:, None, None]).astype(np.float32)


def loop_probability(prob: np.ndarray, radius: int) -> np.ndarray:
    """The largest probability, over the neighbours, that exactly one of the two is of the class."""
    height, width = prob.shape
    found = np.zeros(prob.shape)
    for y, x in product(range(height), range(width)):
        for v, u in product(range(height), range(width)):
            if 0 < (v - y) ** 2 + (u - x) ** 2 <= radius**2:
                here, there = float(prob[y, x]), float(prob[v, u])
                found[y, x] = max(found[y, x], here * (1 - there) + (1 - here) * there)
    return found


@pytest.mark.parametrize("size", [(7, 9), (1, 6), (5, 1), (1, 1)])
@pytest.mark.parametrize("radius", [1, 2])
def test_the_probability_is_that_of_a_loop_over_all_pairs(size, radius):
    prob = np.random.default_rng(radius).random(size, np.float32)
    prob.flat[0] = 0.5
    found = boundary_probability(prob, radius)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, loop_probability(prob, radius), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("radius", [1, 2])
def test_certain_probabilities_give_the_rule_itself(size, radius):
    label = blocks(size, 5)
    edges = unpack(label_to_edges(label, num_classes=5, radius=radius), 5)
    found = np.stack([boundary_probability(prob, radius) for prob in one_hot(label, 5)])
    assert np.array_equal(found, edges.astype(np.float32))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("thin", [True, False])
def test_soft_edges_of_certain_probabilities_are_the_ground_truth(size, scale, thin):
    """At every scale; thin ones once they are thinned, which the evaluation does."""
    label = blocks(size, 5, seed=1)
    soft = np.stack([soft_edges(prob, thin=thin, scale=scale) for prob in one_hot(label, 5)])
    assert set(np.unique(soft)) <= {0.0, 1.0}
    bits = sum((plane == 1).astype(np.uint32) << np.uint32(k) for k, plane in enumerate(soft))
    true = evaluation_edges(label, num_classes=5, thin=thin, scale=scale)
    assert np.array_equal(thin_classes(bits) if thin else bits, true)


@pytest.mark.parametrize("classes", [1, 5, 24, 25, 60])
@pytest.mark.parametrize("thin", [True, False])
def test_hard_edges_are_those_of_each_class_by_itself(classes, thin):
    """With any number of classes: of one class, with the others as one region of none."""
    label = blocks((23, 37), classes + 1, seed=2)
    groups = hard_edges(label, num_classes=classes, thin=thin, scale=0.5)
    assert len(groups) == -(-classes // PNG_CLASSES)
    for k in range(classes):
        alone = np.where(label == k, 0, 255).astype(np.uint8)
        true = evaluation_edges(alone, num_classes=1, thin=thin, scale=0.5)
        assert np.array_equal(class_edges(groups, k), true.astype(bool))


def test_a_class_beyond_the_last_is_none():
    """As the background, which is a class of segmentation alone."""
    label = blocks((20, 20), 5)
    background = np.where(label == 255, 4, label).astype(np.uint8)
    for thin in (True, False):
        ours, theirs = (hard_edges(ids, num_classes=4, thin=thin) for ids in (label, background))
        # Between the background and void there is a border, but of no class.
        assert np.array_equal(*ours, *theirs)


def test_thinning_again_changes_nothing():
    rng = np.random.default_rng(0)
    for seed in range(5):
        label = rng.integers(0, 4, (40, 45)).astype(np.uint8) if seed else blocks((40, 45), 4)
        (bits,) = hard_edges(label, num_classes=4, thin=True)
        assert bits.any()
        assert np.array_equal(thin_classes(bits), bits)


def test_uncertainty_of_a_gradual_step_is_kept():
    """A step that up-sampling has spread over 16 pixels is an edge of 0.5 where it crosses 0.5."""
    prob = np.tile(np.clip((np.arange(40, dtype=np.float32) - 12) / 16, 0, 1), (5, 1))
    found = soft_edges(prob, thin=True)
    assert found.max() == pytest.approx(0.5, abs=0.01)
    assert abs(int(found[2].argmax()) - 20) <= 1
    assert found[:, :11].max() == found[:, 30:].max() == 0


@pytest.mark.parametrize(
    ("size", "target", "usual", "scale"),
    [
        ((360, 480), (360, 480), (1.0, 0.5), 1.0),
        ((721, 961), (361, 481), (1.0, 0.5), 0.5),
        ((10, 10), (5, 5), (0.45, 0.5), 0.45),  # ceil(4.5) = 5: the first usual one that fits
        ((100, 200), (25, 50), (), 0.25),
        ((7, 11), (3, 5), (), 3 / 7),
        ((100, 200), (50, 60), (0.5,), None),
        ((100, 200), (200, 400), (2.0,), None),
    ],
)
def test_the_scale_between_two_sizes(size, target, usual, scale):
    found = scale_between(size, target, usual)
    assert found == scale
    if found is not None:
        edges = hard_edges(np.zeros(size, np.uint8), num_classes=1, thin=False, scale=found)
        assert edges[0].shape == target


def test_a_scale_is_found_for_every_size_that_resizing_gives():
    """Divisions that are rounded up, too."""
    for n, scale in product(range(1, 60), (0.9, 0.61, 1 / 3, 0.07)):
        size = (n, 2 * n + 1)
        target = tuple(ceil(side * scale) for side in size)
        assert scale_between(size, target, ()) is not None, (size, target)
