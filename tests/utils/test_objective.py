"""The table of losses: which net takes which, and that training and validation compute the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data import build_dataset
from data.edges import label_to_edges, unpack
from data.samples.edge import EdgeLabels
from models import MODELS, build_model
from models.losses import edge_loss
from utils.distributed.environment import Ranks
from utils.training.objective import LOSS_NAMES, LOSSES, Objective, default_loss, losses_of
from utils.training.validate_edges import EdgeScoring
from utils.training.validation import ImageValidation

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def constant(_epoch: int, _step: int, _steps: int) -> float:
    return 0.1


def test_every_net_has_its_published_loss() -> None:
    published = {name: default_loss(name) for name in MODELS}
    for name, loss in published.items():
        expected = "reweighted" if name in ("casenet", "dff") else "ohem"
        assert loss == ("body-edge" if name.endswith("_decouple") else expected)
    assert list(losses_of("fcn")) == ["ohem", "ce", "image-weighted", "relaxed"]
    assert list(losses_of("fcn_decouple")) == ["body-edge"]
    assert len(set(LOSS_NAMES)) == len(LOSS_NAMES)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_a_loss_has_the_terms_that_its_line_names(name: str) -> None:
    torch.manual_seed(0)
    (loss,) = (table[name] for table in LOSSES.values() if name in table)
    outputs = {
        **{key: torch.randn(2, 4, 16, 16) for key in ("side5", "fuse", "seg", "body")},
        "edge": torch.randn(2, 1, 16, 16),
    }
    batch = {
        "image": torch.zeros(2, 16, 16, 3, dtype=torch.uint8),
        "edges": torch.randint(0, 16, (2, 16, 16), dtype=torch.int32),
        "valid": torch.ones(2, 1, 16, 16, dtype=torch.uint8),
        "label": torch.randint(0, 4, (2, 16, 16), dtype=torch.uint8),
        "bits": torch.randint(1, 32, (2, 1, 16, 16), dtype=torch.int32),
        "edge": torch.randint(0, 2, (2, 1, 16, 16), dtype=torch.uint8),
    }
    objective = Objective(loss, 4, {}, constant, images_per_loss=2)
    terms = objective.batch_terms(outputs, batch)
    assert tuple(terms) == loss.terms
    assert all(term.dim() == 0 and term > 0 for term in terms.values())


def test_a_term_without_a_weight_counts_once() -> None:
    objective = Objective(LOSSES["edge"]["reweighted"], 4, {"fuse": 0.5}, constant)
    assert objective.total({"side5": 2.0, "fuse": 3.0}) == 3.5


def test_the_loss_in_validation_is_the_trained_one_on_whole_images(tiny_camvid: Path) -> None:
    """The weighted terms of each image by itself, and their mean over images."""
    torch.manual_seed(0)
    model = build_model("dff", num_classes=11, backbone="resnet18").eval()
    dataset = build_dataset("camvid", tiny_camvid, "val")
    weights = {"side5": 0.25, "fuse": 2.0}
    objective = Objective(LOSSES["edge"]["reweighted"], 11, weights, constant)
    scoring = EdgeScoring(EdgeLabels.of(dataset), objective, thresholds=3)
    validation = ImageValidation(dataset, scoring, base_size=0)
    scores = validation(model, device="cpu", ranks=Ranks())
    expected = []
    for sample in map(dataset.__getitem__, range(len(dataset))):
        image = ((sample.image / 255 - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
        bits = label_to_edges(sample.label, num_classes=11, radius=2)
        target = torch.from_numpy(unpack(bits, 11))[None]
        with torch.inference_mode():
            outputs = model(torch.from_numpy(image))
            terms = {
                name: float(edge_loss(outputs[name], target, torch.ones(1, 1, *bits.shape)))
                for name in weights
            }
        expected.append(sum(weights[name] * term for name, term in terms.items()))
    assert scores.loss == pytest.approx(np.mean(expected), rel=1e-5)
