"""SBD as downloaded, three images with golden labels: a pytest plugin (see conftest.py)."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from data import sbd_gtlabel as script
from data.edges import unpack

NAME = "2008_000051"  # of train
OTHER = "2008_000007"  # of train, held out
TESTED = "2008_000002"  # of val, which the field calls test


@pytest.fixture(scope="module")
def sbd_golden() -> dict[str, np.ndarray]:
    """The published arrays; `boundaries` (N, H, W) is one map for each instance."""
    with np.load(Path(__file__).parents[1] / "golden/labels_sbd.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    count, _, width = arrays["boundaries_shape"]
    packed = arrays["boundaries_packed"]
    arrays["boundaries"] = np.unpackbits(packed, axis=-1, count=width).astype(bool)
    assert len(arrays["boundaries"]) == count
    return arrays


@pytest.fixture
def sbd_root(tmp_path: Path, sbd_golden: dict[str, np.ndarray]) -> Path:
    """SBD as downloaded, of three images that all have the golden labels."""
    folder = tmp_path / "sbd" / "dataset"
    (folder / "img").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name in (NAME, OTHER, TESTED):
        write_ground_truth(folder, name, sbd_golden)
        image = rng.integers(0, 256, (371, 500, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "img" / f"{name}.jpg"), image)
    (folder / "train.txt").write_text(f"{NAME}\n{OTHER}\n")
    (folder / "val.txt").write_text(f"{TESTED}\n")
    (tmp_path / "held_out.txt").write_text(f"{OTHER}\n")
    return tmp_path / "sbd"


def write_ground_truth(folder: Path, name: str, sbd_golden: dict[str, np.ndarray]) -> None:
    """Write cls/NAME.mat and inst/NAME.mat as SBD has them."""
    cls = {
        "Boundaries": cell(unpack(sbd_golden["thin_cls"], 20)),
        "Segmentation": sbd_golden["cls_seg"],
        "CategoriesPresent": np.array([[5], [9], [15]]),
    }
    inst = {
        "Segmentation": sbd_golden["inst_seg"],
        "Boundaries": cell(sbd_golden["boundaries"]),
        "Categories": sbd_golden["categories"].reshape(-1, 1),
    }
    for kind, variable, structure in (("cls", "GTcls", cls), ("inst", "GTinst", inst)):
        path = folder / kind / f"{name}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(path, {variable: structure}, do_compression=True)


def cell(maps: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """A MATLAB cell (N, 1) of sparse maps."""
    made = np.empty((len(maps), 1), object)
    for number, one in enumerate(maps):
        made[number, 0] = scipy.sparse.csc_array(one)
    return made


def run(sbd_root: Path, out: Path, *flags: object) -> int:
    """The status of the label script with these flags."""
    held_out = ["--val-list", str(sbd_root.parent / "held_out.txt")]
    return script.main(
        script.parse_args(["--root", str(sbd_root), "--out", str(out), *held_out, *map(str, flags)])
    )
