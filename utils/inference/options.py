"""The options of inference: sizes, windows, scales, mirror image, precision."""

from dataclasses import dataclass

from data.errors import InputError

MIN_SIDE = 32  # the smallest side that every net takes (models.build_model's contract)
MAX_SCALE = 16  # a larger factor is a slip of the finger: it would not fit into any memory


@dataclass(frozen=True)
class InferenceOptions:
    """How an image goes through a network; InputError if a value makes no sense.

    The defaults take each image whole and at its own size.

    Args:
        base_size: long side in pixels to which an image is resized first; 0 keeps its size.
        window: side in pixels of the sliding window; None takes the whole image at once.
        overlap: share of a window that the next one covers again, 0 to below 1.
        scales: factors of the image's size, over which scores are averaged.
        mirror: average over the image and its mirror image.
        batch_size: the number of windows (or of an image and its mirror image) in a forward pass.
        half: run the network in 16-bit floats: float16 on GPUs, bfloat16 on CPUs.
        quirks: weigh overlapping windows as the published code does, see
            `utils.inference.sliding_window.Windows.published_share`.
    """

    base_size: int = 0
    window: int | None = None
    overlap: float = 1 / 3
    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False
    batch_size: int = 1
    half: bool = False
    quirks: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))  # a list is taken too
        if self.base_size < 0:
            raise InputError(f"base size {self.base_size}: expected a long side in pixels, or 0")
        if not self.scales or not all(0 < scale <= MAX_SCALE for scale in self.scales):
            raise InputError(
                f"scales {list(self.scales)}: expected one or more factors above 0, such as 0.5 1 2"
            )
        if not 0 <= self.overlap < 1:
            raise InputError(
                f"overlap {self.overlap}: expected a share of the window, from 0 to below 1"
            )
        if self.window is not None and self.window < MIN_SIDE:
            raise InputError(f"window {self.window}: expected {MIN_SIDE} pixels or more")
        if self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size}: expected 1 or more")
