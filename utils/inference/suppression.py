"""Non-maximum suppression: of a broad response, the pixels along its ridge."""

import cv2
import numpy as np

SMOOTHING = 1.5  # pixels, sigma of the response that is compared and whose gradient is taken
NEIGHBOURHOOD = 3.0  # pixels, sigma over which the gradient's direction is averaged

ROUNDING = 1e-6  # of the smoothed and interpolated response: a smaller step is none


def suppress(prob: np.ndarray) -> np.ndarray:
    """Probabilities (H, W) with 0 wherever another pixel across the edge is stronger.

    The response is smoothed by a Gaussian (sigma 1.5 pixels). The direction across the edge is that
    in which its gradient is strongest, averaged by a Gaussian (sigma 3 pixels) of the gradient's
    outer product, as in Foerstner's structure tensor: at the ridge itself the gradient is 0, but on
    both flanks it points across. A pixel keeps its own probability if the smoothed response there
    is no lower than one pixel away on one side, by linear interpolation, and higher than on the
    other. A top that is flat over more than about ten pixels stays as it is. Ridges closer than
    about four pixels become one.

    prob: float32. Returns float32 (H, W).
    """
    smooth = cv2.GaussianBlur(prob, (0, 0), SMOOTHING, borderType=cv2.BORDER_REPLICATE)
    across = _across(smooth)
    rows, columns = np.indices(prob.shape, np.float32)
    sides = [
        cv2.remap(
            smooth,
            columns + sign * across[0],
            rows + sign * across[1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for sign in (-1, 1)
    ]
    # Of two equal pixels side by side one is kept; on a flat top, all.
    steps = [smooth - side for side in sides]
    ridge = (steps[0] >= -ROUNDING) & (steps[1] > ROUNDING)
    flat = (np.abs(steps[0]) <= ROUNDING) & (np.abs(steps[1]) <= ROUNDING)
    return np.where(ridge | flat, prob, np.float32(0))


def _across(smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit vector (x, y) across the edge at each pixel, each float32 (H, W)."""
    dx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    dy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    xx, yy, xy = (
        cv2.GaussianBlur(product, (0, 0), NEIGHBOURHOOD, borderType=cv2.BORDER_REPLICATE)
        for product in (dx * dx, dy * dy, dx * dy)
    )
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    x, y = np.cos(angle), np.sin(angle)
    # To the right or down, so that neighbours along an edge agree about its sides.
    sign = np.where(np.where(np.abs(x) >= np.abs(y), x, y) < 0, np.float32(-1), np.float32(1))
    return sign * x, sign * y
