"""A network and all that is chosen about a run: from an image to scores, class ids or a drawing.

    predictor = utils.inference.load("runs/dff/best.pth", scales=(0.5, 1, 2), mirror=True)
    prob = predictor("street.jpg")    # edges: float32 (K, H, W); segmentation: uint8 (H, W)
    Image.fromarray(predictor.draw("street.jpg")).save("edges.png")

The one way from an image to scores that test.py, predict.py and Python share, for both tasks.
Validation in training has its own, which needs the loss too.
"""

from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from data.samples.transforms import normalize, resize_long_side
from models import OPTIONS
from models.fast import optimize_for_inference, tried_on
from utils.checkpoint import ModelInfo, load_model
from utils.inference.averaging import mean_scores
from utils.inference.device import memory_errors, pick_device
from utils.inference.image_files import read_input_image
from utils.inference.options import MIN_SIDE, InferenceOptions
from utils.inference.outputs import draw_result
from utils.inference.scores import resize_by_class

ImageLike = str | Path | np.ndarray  # a file, or uint8 (H, W, 3), RGB

# What `load` takes beside its own parameters: options of some networks, and options of the run.
NET_OPTIONS = tuple(dict.fromkeys(option for names in OPTIONS.values() for option in names))
RUN_OPTIONS = tuple(option.name for option in fields(InferenceOptions))


def load(
    checkpoint: str | Path,
    device: str | torch.device = "auto",
    *,
    model: str | None = None,
    backbone: str | None = None,
    dataset: str | None = None,
    fast: bool | None = None,
    **options: Any,
) -> "Predictor":
    """The network of a checkpoint, ready to be called with images.

    Raises, each with one line: CheckpointError for a file that cannot be read, does not fit or does
    not say what it holds; InputError for a value that makes no sense; TypeError for an option that
    does not exist.

    Args:
        checkpoint: ours or a published one.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1".
        model, backbone: for a file that does not say what it holds, such as the published ones.
        dataset: likewise; it gives the classes their names and colours.
        fast: run equal, faster forms of the layers; None: on CPUs, the devices they have run on.
        options: the fields of `InferenceOptions` (`base_size` is the checkpoint's unless given),
            and `align_corners` and `fusion` as in `models.OPTIONS`. None stands for the default.
    """
    if unknown := sorted(options.keys() - {*NET_OPTIONS, *RUN_OPTIONS}):
        taken = ", ".join(("model", "backbone", "dataset", "fast", *NET_OPTIONS, *RUN_OPTIONS))
        raise TypeError(f"load() has no option {unknown[0]!r}; it has {taken}")
    given = {name: value for name, value in options.items() if value is not None}
    net_options = {name: given[name] for name in NET_OPTIONS if name in given}
    run_options = {name: given[name] for name in RUN_OPTIONS if name in given}
    place = pick_device(str(device))
    net, info = load_model(
        checkpoint, name=model, backbone=backbone, dataset=dataset, options=net_options
    )
    run = replace(InferenceOptions(base_size=info.base_size), **run_options)
    return Predictor(net, info, device=place, options=run, fast=fast)


class Predictor:
    """A network on its device, called with an image: a file, or uint8 (H, W, 3) RGB of any size.

    Files are read as predict.py reads them: photographs are turned upright as their EXIF data say.
    The result has the image's own size. InputError for files that cannot be read, images that do
    not fit into memory and scores that are not finite; ValueError for arrays of another type or
    shape.

    Args:
        model: moved to `device`, once; ValueError unless it is in evaluation mode.
        info: what the model is, see `utils.checkpoint.ModelInfo`.
        device: where it runs.
        options: sizes, windows, scales, precision.
        fast: see `load`. The model itself stays as it is: a copy gets the faster forms.
    """

    def __init__(
        self,
        model: nn.Module,
        info: ModelInfo,
        *,
        device: torch.device,
        options: InferenceOptions | None = None,
        fast: bool | None = None,
    ) -> None:
        if model.training:
            raise ValueError(
                "inference needs model.eval(): batch norm must use its running statistics"
            )
        self.device = device
        if fast is None:
            fast = tried_on(device.type)
        self.model = (optimize_for_inference(model) if fast else model).to(device)
        self.info = info
        self.options = options or InferenceOptions(base_size=info.base_size)

    @property
    def task(self) -> str:
        """What the network is for: "edge" or "seg"."""
        return self.info.task

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return self.info.classes

    @property
    def palette(self) -> np.ndarray:
        """Their colours: uint8 (K, 3), RGB."""
        return self.info.palette

    def __call__(self, image: ImageLike) -> np.ndarray:
        """Edges: probabilities float32 (K, H, W). Segmentation: class ids uint8 (H, W)."""
        if self.task == "edge":
            return self.scores(image)
        # The best class is chosen on the device: a byte per pixel comes back, not K floats.
        return self._scores(as_array(image)).argmax(dim=0).to(torch.uint8).cpu().numpy()

    def scores(
        self, image: ImageLike, *, output: str | None = None, native: bool = False
    ) -> np.ndarray:
        """The mean over windows and scales, float32 (K, H, W): probabilities (edge), logits (seg).

        Args:
            image: a file or an array.
            output: which of the network's logits: "fuse" (default) or "side5" for edges; "seg"
                (default), or "body" or "edge" of a decoupled net. ValueError for others.
            native: leave the scores at the size of the image after `base_size`.
        """
        return self._scores(as_array(image), output, native).cpu().numpy()

    def draw(self, image: ImageLike, *, threshold: float = 0.5) -> np.ndarray:
        """The drawing that predict.py writes: uint8 (H', W', 3), RGB, larger by the legend below.

        threshold: the least probability of an edge that is drawn.
        """
        return draw_result(self(image), self.info, threshold)

    @torch.inference_mode()
    def _scores(self, image: np.ndarray, output: str | None = None, native: bool = False) -> Tensor:
        edges = self.task == "edge"
        resized = resize_long_side(image, self.options.base_size)
        height, width = resized.shape[:2]
        # As published for segmentation: logits of a whole image are scaled back with aligned
        # corners, those of windows without.
        align_corners = self.options.window is None and not edges
        forward = partial(self._forward, output=output or ("fuse" if edges else "seg"))
        with memory_errors(self.device, height, width):
            scores = mean_scores(forward, resized, self.options, align_corners=align_corners)
            return scores if native else resize_by_class(scores, image.shape[:2])

    def _forward(self, crops: list[np.ndarray], output: str) -> Tensor:
        """Scores float32 (N, K, h, w) of crops uint8 (h, w, 3) of one size."""
        height, width = crops[0].shape[:2]
        batch = np.stack([pad_to_min_side(crop) for crop in crops])
        net_input = normalize(torch.from_numpy(batch).to(self.device))
        dtype = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=dtype, enabled=self.options.half):
            outputs = self.model(net_input)
        if output not in outputs:
            raise ValueError(f"no output {output!r}; the network has {', '.join(outputs)}")
        logits = outputs[output][:, :, :height, :width].float()
        return logits.sigmoid() if self.task == "edge" else logits


def as_array(image: ImageLike) -> np.ndarray:
    """The image, read if it is a file; ValueError for an array that is not uint8 (H, W, 3)."""
    if isinstance(image, str | Path):
        return read_input_image(Path(image), upright=True)
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"image: found {type(image).__name__}, "
            "expected a path or a NumPy array uint8 (H, W, 3), RGB"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: found {image.dtype} {image.shape}, expected uint8 (H, W, 3), RGB")
    return image


def pad_to_min_side(image: np.ndarray) -> np.ndarray:
    """Repeat the last row and column until both sides have MIN_SIDE pixels; contiguous.

    Repeated pixels draw no edge of their own, as a border of one colour would.
    """
    below, right = (max(0, MIN_SIDE - side) for side in image.shape[:2])
    if below or right:
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(image)
