"""SBD as downloaded, of three images with golden labels."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from data import sbd_gtlabel as script
from data.edges import unpack

NAME, OTHER, TESTED = "2008_000051", "2008_000007", "2008_000002"


@pytest.fixture(scope="module")
def sbd_golden():
    with np.load(Path(__file__).parents[1] / "golden/labels_sbd.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    count, _, width = arrays["boundaries_shape"]
    arrays["boundaries"] = np.unpackbits(arrays["boundaries_packed"], axis=-1, count=width).astype(
        bool
    )
    assert len(arrays["boundaries"]) == count
    return arrays


@pytest.fixture
def sbd_root(tmp_path, sbd_golden):
    """SBD as downloaded, of three images that all have the golden labels."""
    folder = tmp_path / "sbd" / "dataset"
    for name in (NAME, OTHER, TESTED):
        write_truth(folder, name, sbd_golden)
    (folder / "img").mkdir()
    rng = np.random.default_rng(1)
    for name in (NAME, OTHER, TESTED):
        cv2.imwrite(
            str(folder / "img" / f"{name}.jpg"),
            rng.integers(0, 256, (371, 500, 3)).astype(np.uint8),
        )
    (folder / "train.txt").write_text(f"{NAME}\n{OTHER}\n")
    (folder / "val.txt").write_text(f"{TESTED}\n")
    (tmp_path / "held_out.txt").write_text(f"{OTHER}\n")
    return tmp_path / "sbd"


def write_truth(folder, name, sbd_golden):
    cls_cell = cell(unpack(sbd_golden["thin_cls"], 20))
    cls = {
        "Boundaries": cls_cell,
        "Segmentation": sbd_golden["cls_seg"],
        "CategoriesPresent": np.array([[5], [9], [15]]),
    }
    inst = {
        "Segmentation": sbd_golden["inst_seg"],
        "Boundaries": cell(sbd_golden["boundaries"]),
        "Categories": sbd_golden["categories"].reshape(-1, 1),
    }
    for kind, variable, truth in (("cls", "GTcls", cls), ("inst", "GTinst", inst)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(folder / kind / f"{name}.mat", {variable: truth}, do_compression=True)


def cell(maps):
    made = np.empty((len(maps), 1), object)
    for place, one in enumerate(maps):
        made[place, 0] = scipy.sparse.csc_array(one)
    return made


def run(sbd_root, out, *flags):
    held_out = ["--val-list", str(sbd_root.parent / "held_out.txt")]
    return script.main(
        script.parse_args(["--root", str(sbd_root), "--out", str(out), *held_out, *map(str, flags)])
    )
