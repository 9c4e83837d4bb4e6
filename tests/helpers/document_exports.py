"""Exports of annotation tools, as the documents' commands read them: two boxes on every image.

Written from the formats' documentation; what the importer makes of them is tested in
`tests/data/test_import_*.py` with exports of their own.
"""

import json
from pathlib import Path

import cv2
import numpy as np

from data.image_io import image_size, write_png

CAR = (4, 6, 20, 16)  # x, y, width, height
ROAD = (0, 30, 60, 14)
BOXES = (("road", ROAD), ("car", CAR))
COLORS = {"road": (128, 64, 128), "car": (0, 0, 142)}
VOC_CAR, VOC_BORDER = 7, 255


def write_exports(place: Path, photos: Path) -> None:
    """Write an export of each kind below `place` for the images of the folder `photos`."""
    images = sorted(photos.iterdir())
    write_coco(place / "annotations.json", images)
    write_labelme(place / "labelme", images)
    write_cvat(place / "annotations.xml", images)
    write_label_studio(place / "label-studio.json", images)
    write_maps(place, images)


def corners(box: tuple[int, int, int, int]) -> list[list[float]]:
    x, y, width, height = box
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]


def write_coco(path: Path, images: list[Path]) -> None:
    sizes = [image_size(image) for image in images]
    annotations = [
        {
            "id": 10 * number + category,
            "image_id": number,
            "category_id": category,
            "segmentation": [[value for corner in corners(box) for value in corner]],
            "bbox": list(box),
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for number, _ in enumerate(images, 1)
        for category, (_, box) in enumerate(BOXES, 1)
    ]
    content = {
        "images": [
            {"id": number, "file_name": image.name, "width": size[1], "height": size[0]}
            for number, (image, size) in enumerate(zip(images, sizes, strict=True), 1)
        ],
        "categories": [{"id": number, "name": name} for number, (name, _) in enumerate(BOXES, 1)],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content))


def write_labelme(folder: Path, images: list[Path]) -> None:
    folder.mkdir(parents=True)
    for image in images:
        height, width = image_size(image)
        shapes = [
            {"label": name, "points": corners(box), "shape_type": "polygon", "flags": {}}
            for name, box in BOXES
        ]
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": [shape | {"group_id": None} for shape in shapes],
            "imagePath": image.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        (folder / f"{image.stem}.json").write_text(json.dumps(content))


def write_cvat(path: Path, images: list[Path]) -> None:
    rows = []
    for number, image in enumerate(images):
        height, width = image_size(image)
        shapes = "".join(
            f'<polygon label="{name}" source="manual" occluded="0" z_order="{order}" points="'
            + ";".join(f"{x:.2f},{y:.2f}" for x, y in corners(box))
            + '"></polygon>'
            for order, (name, box) in enumerate(BOXES)
        )
        rows.append(
            f'<image id="{number}" name="{image.name}" width="{width}" height="{height}">'
            f"{shapes}</image>"
        )
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        + "".join(rows)
        + "</annotations>\n"
    )


def write_label_studio(path: Path, images: list[Path]) -> None:
    tasks = []
    for number, image in enumerate(images, 1):
        height, width = image_size(image)
        results = [
            {
                "id": f"r{order}",
                "type": "polygonlabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "points": [[100 * x / width, 100 * y / height] for x, y in corners(box)],
                    "polygonlabels": [name],
                },
            }
            for order, (name, box) in enumerate(BOXES)
        ]
        tasks.append(
            {
                "id": number,
                "data": {"image": f"/data/upload/1/0a1b2c3d-{image.name}"},
                "annotations": [{"id": number, "was_cancelled": False, "result": results}],
            }
        )
    path.write_text(json.dumps(tasks))


def write_maps(place: Path, images: list[Path]) -> None:
    """VOC/, ADE/, id-maps/ with names.txt, color-maps/ with palette.json."""
    (place / "palette.json").write_text(json.dumps({**COLORS, "nothing": (0, 0, 0)}))
    (place / "names.txt").write_text("nothing\nroad\ncar\n")
    (place / "ade-names.txt").write_text("road\ncar\n")
    for number, image in enumerate(images):
        size = image_size(image)
        ids = drawn(size, {"road": 1, "car": 2})
        write_png(place / "id-maps" / f"{image.stem}.png", ids)
        table = np.array([(0, 0, 0), COLORS["road"], COLORS["car"]], np.uint8)
        write_png(place / "color-maps" / f"{image.stem}.png", table[ids])
        part = "validation" if number % 3 == 1 else "training"
        write_png(place / "ADE" / "annotations" / part / f"{image.stem}.png", ids)
        write_image(image, place / "ADE" / "images" / part / f"{image.stem}.jpg")
        voc = place / "VOC"
        write_png(voc / "SegmentationClass" / f"{image.stem}.png", drawn(size, {"car": VOC_CAR}))
        write_png(voc / "SegmentationObject" / f"{image.stem}.png", drawn(size, {"car": 1}))
        write_image(image, voc / "JPEGImages" / f"{image.stem}.jpg")
    lists = place / "VOC" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = [image.stem for image in images]
    for split, found in (("train", names[::2]), ("val", names[1::2])):
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in found))


def drawn(size: tuple[int, int], ids: dict[str, int]) -> np.ndarray:
    """uint8 (H, W): the boxes of the classes that have an id, and 0."""
    label = np.zeros(size, np.uint8)
    for name, (x, y, width, height) in BOXES:
        if name in ids:
            label[y : y + height, x : x + width] = ids[name]
    return label


def write_image(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(target), cv2.imread(str(source)))
