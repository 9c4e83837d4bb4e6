"""A network and all that is chosen about a run: from an image to scores, class ids or a drawing.

    predictor = utils.inference.load("runs/dff/best.pth", scales=(0.5, 1, 2), mirror=True)
    prob = predictor("street.jpg")    # edges: float32 (K, H, W); segmentation: uint8 (H, W)
    labels, prob = predictor.both("street.jpg")    # a segmentation net with an edge head
    Image.fromarray(predictor.draw("street.jpg")).save("edges.png")

The one way from an image to scores that test.py, predict.py and Python share, for both tasks.
Validation in training has its own, which needs the loss too.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import InputError
from data.image_io import image_size, read_image
from data.samples.transforms import resize_long_side
from models.fast import tried_on
from models.joint import EDGE_OUTPUTS
from utils.checkpoint import ModelInfo
from utils.export.graph import MAIN
from utils.inference.averaging import mean_scores
from utils.inference.device import memory_errors, pick_device
from utils.inference.drawing import Choice, draw_result
from utils.inference.edge_lines import EdgeChoice
from utils.inference.engines import Engine
from utils.inference.engines.torch_engine import TorchEngine
from utils.inference.image_arrays import ImageLike, pad_to_min_side, require_image
from utils.inference.line_style import LineStyle
from utils.inference.memory import require_fitting
from utils.inference.options import InferenceOptions
from utils.inference.outlines import OutlineChoice
from utils.inference.scores import resize_by_class
from utils.inference.temperature import apply_temperature
from utils.inference.words import keywords_for_flags


class Predictor:
    """A network on its device, called with an image: a file, or uint8 (H, W, 3) RGB of any size.

    Files are read as those of its data set were: pixels as they are stored, whatever EXIF data say,
    or turned where `info.upright` says so. The result has the image's own size. InputError for
    files that cannot be read, images that do not fit into memory and outputs that are not finite;
    ValueError for arrays of another type or shape.

    Args:
        model: moved to `device`, once; ValueError unless it is in evaluation mode. Or an engine,
            which has its own device and precision.
        info: what the model is, see `utils.checkpoint.ModelInfo`.
        device: where it runs: "auto", "cpu", "cuda", "cuda:1", or a torch.device.
        options: sizes, windows, scales, precision.
        fast: see `utils.inference.load`. The model itself stays as it is: a copy gets the faster
            forms.
        names_flags: errors name the flags of the command line, not keywords.

    `note` is a line about the engine for the terminal; None if it is PyTorch without a compiler.
    `warning` is one about a temperature that was fitted for another net or otherwise, or None.
    """

    note: str | None = None
    warning: str | None = None

    def __init__(
        self,
        model: nn.Module | Engine,
        info: ModelInfo,
        *,
        device: str | torch.device = "auto",
        options: InferenceOptions | None = None,
        fast: bool | None = None,
        names_flags: bool = False,
    ) -> None:
        _require_net(model, info, options)
        self.in_keywords = partial(keywords_for_flags, active=not names_flags)
        self.options = options or InferenceOptions(base_size=info.base_size)
        if isinstance(model, nn.Module):
            self.engine = self._torch_engine(model, device, fast)
        else:
            self.engine = model
        self.device = self.engine.device
        self.info = info

    def _torch_engine(
        self, model: nn.Module, device: str | torch.device, fast: bool | None
    ) -> Engine:
        with self.in_keywords():
            place = pick_device(str(device))
        if not isinstance(fast, bool | None):
            raise InputError(f"fast {fast!r}: expected True or False")
        fast = tried_on(place.type) if fast is None else fast
        return TorchEngine(model, place, fast=fast, half=self.options.half)

    @property
    def model(self) -> nn.Module | None:
        """The net that PyTorch runs, the faster copy where there is one; None for other engines."""
        return getattr(self.engine, "model", None)

    def options_of_scores(self) -> dict[str, Any]:
        """The options that the scores depend on, and the engine if it is not PyTorch as it is."""
        engine = {} if self.engine.name == "torch" else {"engine": self.engine.name}
        return self.options.of_the_scores() | engine

    @property
    def task(self) -> str:
        """What the network is for: "edge" or "seg"."""
        return self.info.task

    @property
    def has_edge_head(self) -> bool:
        """Whether it is a segmentation net that gives semantic edges, too: see `both`."""
        return self.info.has_edge_head and (
            not self.engine.outputs or "fuse" in self.engine.outputs
        )

    def describe(self) -> str:
        """Which net it is, in words, and of an exported one, if its edge head was left out."""
        left_out = self.info.has_edge_head and not self.has_edge_head
        return f"{self.info.net}{' (exported without the head)' if left_out else ''}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return self.info.classes

    @property
    def palette(self) -> np.ndarray:
        """Their colours: uint8 (K, 3), RGB."""
        return self.info.palette

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """The probability from which on each class is an edge, as the last validation in training
        found it best for thinned edges; None if the checkpoint has none."""
        return self.info.all_thresholds

    def __call__(self, image: ImageLike) -> np.ndarray:
        """Edges: probabilities float32 (K, H, W). Segmentation: class ids uint8 (H, W)."""
        if self.task == "edge":
            return self.scores(image)
        with self.in_keywords():
            return _labels(self._scores(self._array(image), ("seg",))["seg"])

    def both(self, image: ImageLike) -> tuple[np.ndarray, np.ndarray]:
        """Class ids uint8 (H, W) and edge probabilities float32 (K, H, W), of one run of the net.

        What `predictor(image)` and `predictor.scores(image, output="fuse")` give one by one.
        ValueError for a net without `has_edge_head`.
        """
        self._require_edge_head("both")
        with self.in_keywords():
            scores = self._scores(self._array(image), ("seg", "fuse"))
            return _labels(scores.pop("seg")), scores.pop("fuse").cpu().numpy()

    def scores(
        self, image: ImageLike, *, output: str | None = None, native: bool = False
    ) -> np.ndarray:
        """The mean over windows and scales, float32 (K, H, W): probabilities (edge), logits (seg).

        Args:
            image: a file or an array.
            output: which of the network's outputs. Edge nets: "fuse" (default) or "side5".
                Segmentation nets: "seg" (default), "body" or "edge" of a decoupled one, and
                "fuse" or "side5", which are probabilities, of one with an edge head. ValueError for
                others.
            native: leave the scores at the size of the image after `base_size`.
        """
        name = output or MAIN[self.task]
        with self.in_keywords():
            return self._scores(self._array(image), (name,), native)[name].cpu().numpy()

    def outputs(self, image: ImageLike, names: Sequence[str]) -> dict[str, np.ndarray]:
        """`scores` of several of the network's outputs, by name, of one run of the net."""
        with self.in_keywords():
            found = self._scores(self._array(image), tuple(names))
            return {name: found.pop(name).cpu().numpy() for name in names}

    def read(self, path: str | Path, *, upright: bool | None = None) -> np.ndarray:
        """The image of a file, uint8 (H, W, 3), RGB, if it is not too large to be predicted.

        That is looked at before anything is decoded; InputError if it is, or cannot be read.
        upright: turn it as its EXIF orientation says; None: if the net was trained on such images.
        """
        upright = self.info.upright if upright is None else upright
        with self.in_keywords():
            if not str(path):
                raise InputError("image: found an empty path, expected that of an image file")
            self._require_fitting(image_size(path), path)
            return read_image(path, upright=upright)

    def _array(self, image: ImageLike) -> np.ndarray:
        """The image, read if it is a file; ValueError for an array that is not uint8 (H, W, 3)."""
        if isinstance(image, str | Path):
            return self.read(image)
        require_image(image)
        self._require_fitting(image.shape[:2], None)
        return image

    def _require_fitting(self, size: tuple[int, int], path: str | Path | None) -> None:
        require_fitting(
            *(size, path, self.info, self.options, self.device.type),
            engine=self.engine.name,
            fast=getattr(self.engine, "fast", False),
        )

    def edges(
        self,
        image: ImageLike,
        *,
        threshold: float | Sequence[float] | None = None,
        thin: bool | None = None,
        min_length: int = 0,
        nms: bool = False,
        source: str | None = None,
    ) -> np.ndarray:
        """Which pixels are edges of which class: bool (K, H, W).

        Of an edge net, or of the edge head of a segmentation net. Of a segmentation net without
        one: the outlines of its label map, see `utils.inference.outlines`.

        Args:
            image: a file or an array.
            threshold: the least probability of an edge, for all classes or of each; None:
                `thresholds`, or 0.5 if there are none. ValueError for outlines.
            thin: to lines of one pixel, as the evaluation does; None: if `thresholds` are used, and
                for outlines.
            min_length: leave out thinned lines of fewer pixels.
            nms: keep only the ridges of the probabilities, see `utils.inference.suppression`.
                ValueError for outlines.
            source: "head" or "outlines", of a segmentation net with an edge head; None: the head.
                ValueError for one that the net does not have.
        """
        if source is None:  # outlines in place of a head's edges would be others
            source = "head" if self.info.has_edge_head else self._sources[0]
        choice = self._choice(source, threshold, thin, min_length, nms)
        return choice.edges(self._result(image, source))

    @property
    def _sources(self) -> tuple[str, ...]:
        """Where its edges can be taken from, the best one first."""
        if self.task == "edge":
            return ("head",)
        return ("head", "outlines") if self.has_edge_head else ("outlines",)

    def _result(self, image: ImageLike, source: str | None) -> np.ndarray:
        """What edges from `source` are chosen in, or the classes (None) are drawn from."""
        return self.scores(image, output="fuse") if source == "head" else self(image)

    def _require_edge_head(self, what: str) -> None:
        if self.has_edge_head:
            return
        if self.info.has_edge_head:
            has = (
                f"has no output 'fuse' here, but {', '.join(self.engine.outputs)}; export it "
                'again with --outputs seg fuse, or give source="outlines" to edges()'
            )
        else:
            has = "is for edges alone" if self.task == "edge" else "has no edge head"
        raise ValueError(f"{what}: the network {self.info.name} {has}")

    def _choice(
        self,
        source: str,
        threshold: float | Sequence[float] | None,
        thin: bool | None,
        min_length: int,
        nms: bool,
        line_width: int = 0,
    ) -> Choice:
        """Which edges; ValueError for a source that the net does not have."""
        if source == "head" and self.info.has_edge_head:
            self._require_edge_head("edges")
        if source not in self._sources:
            has = " and ".join(self._sources)
            raise ValueError(f"source {source!r}: the edges of {self.info.name} are of {has}")
        with self.in_keywords():
            style = LineStyle(width=line_width)
            if source == "head":
                return EdgeChoice.of(
                    self.info,
                    threshold=threshold,
                    thin=thin,
                    min_length=min_length,
                    nms=nms,
                    style=style,
                )
            if threshold is not None or nms:
                name = "nms" if threshold is None else "threshold"
                of_head = "; outlines have none" if self.has_edge_head else ""
                raise ValueError(
                    f"{name}: the network {self.info.name} is for segmentation{of_head}"
                )
            return OutlineChoice.of(self.info, thin=thin, min_length=min_length, style=style)

    def draw(
        self,
        image: ImageLike,
        *,
        threshold: float | Sequence[float] | None = None,
        thin: bool | None = None,
        min_length: int = 0,
        nms: bool = False,
        line_width: int = 0,
        outlines: bool = False,
        edges: bool = False,
        side_by_side: bool = False,
    ) -> np.ndarray:
        """The drawing that predict.py writes: uint8 (H', W', 3), RGB, larger by the legend below.

        Args:
            image: a file or an array.
            threshold, thin, min_length, nms: of edges, see `edges`.
            line_width: pixels of thinned lines; 0: by the image's width.
            outlines: of a net for segmentation, draw the outlines and not the classes.
            edges: of a net with an edge head, draw its edges and not the classes.
            side_by_side: with the image to the left of the drawing.
        """
        if edges and outlines:
            raise ValueError("draw: found edges=True and outlines=True; give one of them")
        source, choice = None, None
        if self.task == "edge" or edges:
            source = "head"
        elif outlines:
            source = "outlines"
        if source is not None:
            choice = self._choice(source, threshold, thin, min_length, nms, line_width)
        elif (threshold, thin) != (None, None) or min_length or nms or line_width:
            add = "edges=True or outlines=True" if self.has_edge_head else "outlines=True"
            raise ValueError(f"draw: {self.info.name} has no edges to choose; add {add}")
        array = self._array(image)
        left = array if side_by_side else None
        return draw_result(self._result(array, source), self.info, choice, image=left)

    @torch.inference_mode()
    def _scores(
        self, image: np.ndarray, outputs: tuple[str, ...], native: bool = False
    ) -> dict[str, Tensor]:
        """The mean scores float32 (K, H, W) of each output."""
        height, width = image.shape[:2]
        # As published for segmentation: logits of a whole image are scaled back with aligned
        # corners, those of windows without.
        align_corners = {
            output: self.options.window is None and not self._of_edges(output) for output in outputs
        }
        forward = partial(self._forward, outputs=outputs)
        with memory_errors(self.device, height, width):
            resized = resize_long_side(image, self.options.base_size)
            scores = mean_scores(forward, resized, self.options, align_corners=align_corners)
            if not native:
                for output in outputs:
                    scores[output] = resize_by_class(scores[output], image.shape[:2])
            if "fuse" in outputs:
                apply_temperature(scores["fuse"], self.options.temperature)
            return scores

    def _of_edges(self, output: str) -> bool:
        """Whether the scores of an output are probabilities of edges."""
        return self.task == "edge" or output in EDGE_OUTPUTS

    def _forward(self, crops: list[np.ndarray], outputs: tuple[str, ...]) -> dict[str, Tensor]:
        """Scores float32 (N, K, h, w) by output, of crops uint8 (h, w, 3) of one size."""
        height, width = crops[0].shape[:2]
        batch = np.stack([pad_to_min_side(crop) for crop in crops])
        found = self.engine(batch, outputs)
        for output in outputs:
            logits = found[output][:, :, :height, :width]
            self._require_sound(output, logits)
            # Looked at before: the sigmoid of an infinite logit is finite.
            found[output] = logits.sigmoid() if self._of_edges(output) else logits
        return found

    def _require_sound(self, output: str, logits: Tensor) -> None:
        """ValueError for a wrong number of classes, InputError for numbers that are not finite."""
        if output != "edge" and logits.shape[1] != self.info.num_classes:
            raise ValueError(
                f"the network's output {output!r} has {logits.shape[1]} classes, info says "
                f"{self.info.num_classes}"
            )
        # One number that is not finite makes the sum so, too.
        if not torch.isfinite(logits.sum()):
            raise InputError(
                f"the net's output {output!r} is not finite: the checkpoint is damaged, its "
                "training diverged, or 16-bit floats do not suffice"
            )


def _labels(logits: Tensor) -> np.ndarray:
    """uint8 (H, W) of logits (K, H, W): chosen there, so that a byte a pixel comes back."""
    return logits.argmax(dim=0).to(torch.uint8).cpu().numpy()


def _require_net(model: object, info: object, options: object) -> None:
    """ValueError unless the arguments of a Predictor are what they should be."""
    if not callable(model) or not (isinstance(model, nn.Module) or hasattr(model, "outputs")):
        raise ValueError(f"model: found {type(model).__name__}, expected a torch.nn.Module")
    if not isinstance(info, ModelInfo):
        raise ValueError(f"info: found {type(info).__name__}, expected a ModelInfo")
    if not isinstance(options, InferenceOptions | None):
        found = type(options).__name__
        raise ValueError(f"options: found {found}, expected InferenceOptions")
