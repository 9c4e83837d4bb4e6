"""Equal forms of the modules that run faster or in less memory.

Each form is a subclass of a module in `models` (or of PyTorch's) that overrides `forward` alone,
says when it applies, and otherwise calls the definition's.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.casenet import CASENet, CASENetHead, FusedClassification
from models.decouple import DecoupledNet
from models.dff import DFF, DFFHead, DynamicFusion, WeightLearner
from models.fast.convolution import FastConv2d
from models.fast.edge_heads import (
    StripCASENet,
    StripCASENetHead,
    StripDFF,
    StripDFFHead,
    takes_strips,
)
from models.fast.folding import fold_batch_norms, left_over
from models.fast.fused import FusedBasicBlock, FusedBottleneck, FusedPreActivationBlock
from models.fast.fusion import FastDynamicFusion, FastFusedClassification
from models.fast.residual import FastBasicBlock, FastBottleneck
from models.fast.seg_heads import (
    FoldedASPP,
    FoldedDecoupledNet,
    FoldedPyramidPooling,
    FoldedSegNet,
)
from models.fast.sequential import (
    FastDenseBlock,
    FastPreActivationBlock,
    FastSequential,
    FastWeightLearner,
)
from models.fast.upsample import FastConvTranspose2d
from models.gffnet import DenseBlock
from models.joint import EDGE_OUTPUTS, JointNet
from models.layers import ASPP, PyramidPooling
from models.resnet import BasicBlock, Bottleneck, ResNet
from models.segnets import SegNet
from models.wider_resnet import PreActivationBlock

# Definition -> its form in training. Exact types: a subclass may mean something else.
TRAINING_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: FastConv2d,
    nn.ConvTranspose2d: FastConvTranspose2d,
    nn.Sequential: FastSequential,
    BasicBlock: FastBasicBlock,
    Bottleneck: FastBottleneck,
    PreActivationBlock: FastPreActivationBlock,
    DenseBlock: FastDenseBlock,
    WeightLearner: FastWeightLearner,
    DynamicFusion: FastDynamicFusion,
    FusedClassification: FastFusedClassification,
}


DEFINITIONS = {form: definition for definition, form in TRAINING_FORMS.items()}
# Definition -> its form in evaluation, of a folded net.
INFERENCE_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    BasicBlock: FusedBasicBlock,
    Bottleneck: FusedBottleneck,
    PreActivationBlock: FusedPreActivationBlock,
    nn.ConvTranspose2d: FastConvTranspose2d,
}
# Those that arrange weights of their own in `prepare`. They leave out normalisations, which another
# kind of these would not be: so only where all are folded.
HEAD_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    SegNet: FoldedSegNet,
    DecoupledNet: FoldedDecoupledNet,
    ASPP: FoldedASPP,
    PyramidPooling: FoldedPyramidPooling,
}
# Likewise, where the head itself has no normalisation left.
EDGE_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    DFF: StripDFF,
    DFFHead: StripDFFHead,
    CASENet: StripCASENet,
    CASENetHead: StripCASENetHead,
}
# Those whose forward pass takes `wanted`, the outputs that are.
PARTIAL_FORMS = (StripDFF, StripCASENet, FoldedSegNet, FoldedDecoupledNet)


def tried_on(device: str) -> bool:
    """Whether the forms have been run on a kind of device, and so are the default there."""
    return device == "cpu"


def optimize_for_training(model: nn.Module) -> nn.Module:
    """Give every module that has one its faster form, in place, and return the model.

    Only classes change: parameters, buffers, hooks and names stay, and so do the numbers, up to
    rounding. There is one exception: the gradient of a bias in front of a batch normalisation is
    exactly 0 where the definition has rounding noise. Gradients of gradients are not available, nor
    is `torch.utils.checkpoint` without reentrance, which lets saved maps be read only once.
    """
    for module in model.modules():
        module.__class__ = TRAINING_FORMS.get(type(module), type(module))
    return model


def optimize_for_inference(model: nn.Module) -> nn.Module:
    """A folded copy of a model, in evaluation mode; its numbers are equal up to rounding.

    Batch normalisations are part of the convolutions, ReLUs and residual sums too, the heads of the
    edge nets run strip by strip, and those of the segmentation nets with less work on large maps.
    The copy cannot be trained, and neither changes with the model nor has its hooks. Its parameters
    may be made bfloat16.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in folded.modules():
        module.__class__ = DEFINITIONS.get(type(module), type(module))
    fold_batch_norms(folded)
    for module in folded.modules():
        module.__class__ = INFERENCE_FORMS.get(type(module), type(module))
    forms = {} if left_over(folded) else HEAD_FORMS
    for module in [*folded.modules()]:
        form = forms.get(type(module))
        if type(module) in EDGE_FORMS and not left_over(module) and takes_strips(module):
            form = EDGE_FORMS[type(module)]
        if form is not None:
            module.__class__ = form
            prepare = module.prepare
            assert callable(prepare)
            prepare()
    return folded.to(memory_format=torch.channels_last)


def _fits(module: nn.Module) -> bool:
    """Whether a head's form is for its net: the edge nets' are for the strides of our ResNet."""
    return not isinstance(module, DFF | CASENet) or type(module.backbone) is ResNet


def forward_for(model: nn.Module, image: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
    """model(image), of which only some outputs are needed.

    A folded copy leaves out the others' work, and of every net an edge head does not run unless its
    edges are needed. What it returns may have other outputs too, or lack those that the net does
    not have.
    """
    model = needed_part(model, outputs)
    if isinstance(model, PARTIAL_FORMS) and set(outputs) <= set(model.outputs):
        return model(image, wanted=tuple(outputs))
    return model(image)


def needed_part(model: nn.Module, outputs: Sequence[str]) -> nn.Module:
    """The net, without its edge head where that is not needed for the outputs."""
    if isinstance(model, JointNet) and not set(outputs) & set(EDGE_OUTPUTS):
        return model.without_edge_head()
    return model
