"""A KITTI frame drawn small."""

import numpy as np

ROAD, CAR = 7, 26


def draw_frame(shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(label ids uint8, instance map uint16 as KITTI codes it), 12x20.

    A road, two touching cars, a strip of void; `shift` moves the left end of the cars.
    """
    label = np.full((12, 20), ROAD, np.uint8)
    label[4:9, 4 + shift : 14] = CAR
    label[:2] = 0
    coded = label.astype(np.uint16) << 8
    coded[4:9, 4 + shift : 9] += 1
    coded[4:9, 9:14] += 2
    return label, coded
