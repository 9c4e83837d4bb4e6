"""The submission to Cityscapes' server for semantic labelling: a zip of label maps in label ids.

The server's rules, from `cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling`: for each
test image <city>_<sequence>_<frame> exactly one file whose name begins so and ends in .png, in any
folder; as large as the image; each pixel a label id (not a train id). We name the file
<city>_<sequence>_<frame>.png.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.base import Dataset
from data.cityscapes import TRAIN_LABELS, Cityscapes
from data.errors import InputError
from data.files import first_few, require_space, require_writable, write_aside
from data.image_io import image_size, read_index, write_png
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main, gather_objects
from utils.evaluation.label_files import CITYSCAPES_NAME
from utils.evaluation.segmentation.label_maps import LabelMaps

TEST_IMAGES = 1525  # in Cityscapes' test split
LISTED = 5  # problems named in an error, and ids named in a problem
# Label maps of streets take 1/80 to 1/40 byte a pixel as PNG, and the zip holds them again.
PIXELS_PER_BYTE = 40


def label_id_table() -> np.ndarray:
    """uint8 (256,): label id of each train id; 0, "unlabeled", for all others."""
    table = np.zeros(256, np.uint8)
    for label in TRAIN_LABELS:
        table[label.train_id] = label.id
    return table


def require_submittable(dataset: Dataset, folder: Path) -> None:
    """Raise InputError unless `dataset` can be submitted and no files would be overwritten.

    It must have Cityscapes' classes and names, and all images if it is Cityscapes' test split.
    """
    if folder.name in ("", ".."):  # the zip could have no name
        raise InputError(f"--submit {folder}: expected a new folder, with a name of its own")
    if not isinstance(dataset, Cityscapes):
        raise InputError(f"--submit is for Cityscapes' server; the data set is {dataset.name}")
    if dataset.name == "cityscapes" and dataset.split == "test" and len(dataset) != TEST_IMAGES:
        raise InputError(
            f"{dataset.root} has {len(dataset)} test images, the server expects {TEST_IMAGES}; "
            "unzip leftImg8bit_trainvaltest.zip again"
        )
    strange = [r.name for r in dataset.records if not CITYSCAPES_NAME.fullmatch(r.name)]
    if strange:
        raise InputError(
            f"{dataset.root}: {len(strange)} images are not named <city>_<sequence>_<frame> as the "
            f"server expects, such as {first_few(map(ascii, strange))}; rename or remove them"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--submit {folder}: is not empty; give another folder")
    if zip_path(folder).exists():
        raise InputError(f"{zip_path(folder)} is there already; give --submit another folder")


def write_submission(dataset: Dataset, predictions: LabelMaps, folder: Path, ranks: Ranks) -> Path:
    """Predict each image of `dataset` on all ranks; check and zip on the main one; return the zip.

    Args:
        dataset: Cityscapes' test split, or another split of a data set with its classes.
        predictions: Label maps of its images, in train ids.
        folder: Gets a PNG for each image; the zip is written beside it. Must be empty or absent.
        ranks: Each rank predicts its share of the images.
    """
    # The main rank alone looks, before any rank writes: a rank's first file would look like an old
    # submission to a slower one.
    sizes = from_main(lambda: prepare_submission(dataset, folder), ranks)
    mine = predictions.names[ranks.rank :: ranks.world]
    for name in tqdm(mine, unit="image", disable=None if ranks.is_main else True):
        write_label_ids(folder, name, predictions.load(name))
    gather_objects(None, ranks)
    if ranks.is_main:
        check_submission(folder, sizes)
        zip_submission(folder, predictions.names)
    return zip_path(folder)


def prepare_submission(dataset: Dataset, folder: Path) -> dict[str, tuple[int, int]]:
    """Size (H, W) of each image by name, once all that can be known before predicting is in order.

    InputError, or OSError, for what would end the submission: see `require_submittable`; images
    whose headers cannot be read; a folder that cannot be written to, or has too little space.
    """
    require_submittable(dataset, folder)
    images = {record.name: record.image for record in dataset.records}
    sizes = {name: image_size(path) for name, path in images.items() if path}
    require_writable(folder, "--submit")
    require_writable(folder.absolute().parent, "--submit")  # where the zip goes
    pixels = sum(height * width for height, width in sizes.values())
    require_space(folder, 2 * pixels // PIXELS_PER_BYTE, "a submission")
    return sizes


def zip_path(folder: Path) -> Path:
    """The zip that goes with the folder: beside it, under its name."""
    return folder.with_name(f"{folder.name}.zip")


def write_label_ids(folder: Path, name: str, train_ids: np.ndarray) -> Path:
    """Write the label map of one image, uint8 (H, W) of train ids, as the server expects it."""
    path = folder / f"{name}.png"
    write_png(path, label_id_table()[train_ids], compression=9)
    return path


def check_submission(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """Raise InputError for what the server would refuse, or score as wrong.

    sizes: image's name -> (H, W).
    """
    by_name: dict[str, list[Path]] = {name: [] for name in sizes}
    unknown = []
    for path in sorted(folder.rglob("*.png")):
        name = "_".join(path.stem.split("_")[:3])  # <city>_<sequence>_<frame>
        if name in by_name:
            by_name[name].append(path)
        else:
            unknown.append(path.name)
    problems = [f"no file for {name}" for name, found in by_name.items() if not found]
    problems += [
        f"{len(found)} files for {name}" for name, found in by_name.items() if len(found) > 1
    ]
    problems += [f"{name} is of no test image" for name in unknown]
    for name, found in by_name.items():
        problems += [problem for path in found for problem in _problems_of(path, sizes[name])]
    if problems:
        more = f" (and {len(problems) - LISTED} more)" if len(problems) > LISTED else ""
        raise InputError(f"{folder} is no valid submission: {'; '.join(problems[:LISTED])}{more}")


def _problems_of(path: Path, size: tuple[int, int]) -> list[str]:
    """What is wrong with one file; size: (H, W) of its image."""
    ids = read_index(path)
    problems = []
    if ids.dtype != np.uint8:
        problems.append(f"{path.name} has {8 * ids.itemsize} bits, not 8")
    if ids.shape != size:
        problems.append(f"{path.name} is {ids.shape[1]}x{ids.shape[0]}, not {size[1]}x{size[0]}")
    scored = {label.id for label in TRAIN_LABELS}
    wrong = [i for i in np.flatnonzero(np.bincount(ids.ravel())).tolist() if i not in scored]
    if wrong:
        listed = ", ".join(map(str, wrong[:LISTED]))
        problems.append(f"{path.name} holds {listed}, which the server does not score")
    return problems


def zip_submission(folder: Path, names: Sequence[str]) -> Path:
    """Pack the checked files beside the folder. PNGs are compressed already, so they are stored."""
    with (
        write_aside(zip_path(folder)) as aside,
        zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name in names:
            archive.write(folder / f"{name}.png", f"{name}.png")
    return zip_path(folder)
