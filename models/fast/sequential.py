"""Layers in a row: pairs and triples of them that have a leaner form together.

Shapes: N images, C channels in, O channels out, H x W pixels.
"""

from collections.abc import Iterable, Iterator
from typing import TypeGuard

from torch import Tensor, nn

from models.dff import WeightLearner
from models.fast.convolution import convolve, geometry_of, has_hooks, is_conv, on_grid
from models.fast.norm_relu_conv import batch_norm, is_plain_norm, norm_relu_conv
from models.fast.residual import FastBasicBlock, FastBottleneck, residual_block, runs_whole
from models.fast.upsample import is_upsample, upsample_convolve
from models.gffnet import DenseBlock
from models.wider_resnet import PreActivationBlock


class FastSequential(nn.Sequential):
    """nn.Sequential through `run_layers`, which applies where training has plain batch norms."""

    def forward(self, input: Tensor) -> Tensor:
        """What its layers in turn return."""
        return run_layers(self, input)


class FastWeightLearner(WeightLearner):
    """Both of its parts as one row of layers: up-sampling and the next convolution merge."""

    def forward(self, x5: Tensor) -> Tensor:
        """(N, C, H / 8, W / 8) -> weights (N, K, 4, H, W)."""
        return run_layers([self.project, self.refine], x5).unflatten(1, (-1, 4))


class FastPreActivationBlock(PreActivationBlock):
    """Where the block keeps its shape, its first normalisation is a part of the first convolution.

    Applies in training with plain batch normalisation (`run_layers`). Where the shape changes, two
    convolutions read the activated input, which is therefore kept.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, widths[-1], h / stride, w / stride)."""
        if self.proj_conv is not None:
            return super().forward(x)
        return run_layers([self.bn1, self.convs], x) + x


class FastDenseBlock(DenseBlock):
    """Applies in training with plain batch normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, width, h, w)."""
        norm1, conv1, norm2, conv2 = self.norm1, self.conv1, self.norm2, self.conv2
        if not (is_plain_norm(norm1, x) and is_plain_norm(norm2, x)):
            return super().forward(x)
        if not (is_conv(conv1) and is_conv(conv2)):
            return super().forward(x)
        x = norm_relu_conv(x, norm1, conv1, add_bias=False)
        return norm_relu_conv(x, norm2, conv2, pending_bias=conv1.bias)


def run_layers(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    """The modules in turn, except for these rows of layers, if no hook is on any of their parts:

    - plain batch normalisation, ReLU, convolution: `norm_relu_conv`;
    - up-sampling and a 1x1 convolution in front of a plain batch normalisation: one product;
    - a convolution in front of a plain batch normalisation: without its bias, see `batch_norm`;
    - residual blocks: only the last one's output is kept.

    A batch normalisation is plain if `is_plain_norm`: in training, neither frozen nor joint.
    """
    layers = [*_flatten(modules)]
    position = 0
    pending_bias = None  # that of the last convolution, if it was left out
    while position < len(layers):
        first = layers[position]
        second, third, fourth = (
            layers[position + n] if position + n < len(layers) else None for n in (1, 2, 3)
        )
        used = 1
        if is_plain_norm(first, x) and _is_relu(second) and is_conv(third):
            used = 3
            leave_out = is_plain_norm(fourth, x)
            x = norm_relu_conv(x, first, third, pending_bias=pending_bias, add_bias=not leave_out)
            pending_bias = third.bias if leave_out else None
        elif is_plain_norm(first, x):
            x = batch_norm(x, first, pending_bias)
            pending_bias = None
        elif is_upsample(first) and _is_1x1(second) and is_plain_norm(third, x):
            used = 2
            x = upsample_convolve(x, first, second)
            pending_bias = second.bias
        elif is_conv(first) and is_plain_norm(second, x):
            geometry = geometry_of(first)
            x = convolve(on_grid(x, geometry.step), first.weight, None, geometry)
            pending_bias = first.bias
        elif _is_residual(first) and runs_whole(first, x):
            x = residual_block(first, x, keep_output=not _is_residual(second))
        else:
            x = first(x)
        position += used
    return x


def _is_relu(module: nn.Module | None) -> bool:
    return isinstance(module, nn.ReLU) and type(module) is nn.ReLU and not has_hooks(module)


def _is_residual(module: nn.Module | None) -> TypeGuard[FastBasicBlock | FastBottleneck]:
    if module is None or type(module) not in (FastBasicBlock, FastBottleneck):
        return False
    return not has_hooks(module)


def _is_1x1(module: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    if not is_conv(module):
        return False
    one_tap = module.kernel_size == (1, 1) and module.padding == (0, 0)
    return one_tap and module.stride == (1, 1) and module.groups == 1


def _is_row(module: nn.Module) -> TypeGuard[nn.Sequential]:
    return type(module) in (nn.Sequential, FastSequential) and not has_hooks(module)


def _flatten(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """The layers of (nested) plain rows; a row with hooks stays whole."""
    for module in modules:
        if _is_row(module):
            yield from _flatten(module)
        else:
            yield module
