"""Losses as functions of logits.

Shapes: N images, K classes, H x W pixels.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = 255
OHEM_THRESH = 0.7
TINY = 1e-12  # a divisor where there is nothing to divide


def edge_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """CASENet's reweighted multi-label BCE as DFF published it: in each image an edge pixel weighs max(1, #non-edge / #edge).

    logits: float (N, K, H, W). target: (N, K, H, W), 1 on edges; what it holds on padding does not matter. valid: (N, 1, H, W), 0 on
    padding. Returns the scalar mean over images of the mean over K x H x W, padding included (it adds zeros).

    Two odd choices that the published numbers depend on: one weight serves all classes of an image, and its numerator takes the
    edges of all classes from the valid pixels counted once. The ratio is held between 1 and the number of valid pixels, so an
    image without an edge keeps a finite loss. Where the published code gives NaN, an image of padding alone, ours adds 0.
    """
    return _weighted_bce(logits, *_edge_weights(target, valid, at_least_single(logits).dtype))


def edge_losses(outputs: dict[str, Tensor], target: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """The two terms that DFF and CASENet train with, "side5" and "fuse"; the published total is their sum, each weighing 1."""
    truth = _edge_weights(target, valid, at_least_single(outputs["fuse"]).dtype)
    return {name: _weighted_bce(outputs[name], *truth) for name in ("side5", "fuse")}


def _edge_weights(target: Tensor, valid: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(N, K, H, W) each: target without padding, and what every pixel weighs, see `edge_loss`."""
    valid = valid.to(dtype)
    target = target.to(dtype) * valid
    positives = target.sum(dim=(1, 2, 3), keepdim=True)
    pixels = valid.sum(dim=(1, 2, 3), keepdim=True)
    ratio = ((pixels - positives) / positives).nan_to_num(nan=1, posinf=float("inf"))
    ratio = ratio.clamp(min=1).minimum(pixels.clamp(min=1))
    return target, torch.addcmul(valid, target, ratio - 1)


def _weighted_bce(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(at_least_single(logits), target, weight)


def cross_entropy(
    logits: Tensor, label: Tensor, *, weight: Tensor | None = None, ignore: int = IGNORE
) -> Tensor:
    """Mean negative log-likelihood over the pixels that are not ignored, each weighing `weight` of its class; 0 if there are none.

    logits: float (N, K, H, W). label: integers (N, H, W). weight: (K,).
    """
    nll = pixel_nll(logits, label, ignore)
    return weighted_mean(nll, pixel_weight(label, weight, ignore, nll))


def ohem_cross_entropy(
    logits: Tensor,
    label: Tensor,
    *,
    thresh: float = OHEM_THRESH,
    min_kept: int = 10000,
    weight: Tensor | None = None,
    ignore: int = IGNORE,
) -> Tensor:
    """Cross-entropy over the hard pixels of the batch: those whose true class has a probability of at most `thresh`, but no
    fewer than the `min_kept` hardest (Shrivastava et al., CVPR 2016, as DecoupleSegNets published it).

    With fewer valid pixels than `min_kept`, or `min_kept` 0, all of them count. Shapes as in `cross_entropy`.
    """
    nll = pixel_nll(logits, label, ignore)
    hard = hard_pixels(nll.detach(), label != ignore, thresh, min_kept)
    return weighted_mean(nll, pixel_weight(label, weight, ignore, nll) * hard)


def hard_pixels(nll: Tensor, valid: Tensor, thresh: float, min_kept: int) -> Tensor:
    """bool (N, H, W), without a wait for the device. Ignored pixels have a nll of 0, so a probability of 1."""
    if not 0 < thresh <= 1:
        raise ValueError(f"thresh is {thresh}; expected a probability above 0")
    if not 0 < min_kept <= nll.numel():
        return valid
    last_kept = nll.flatten().topk(min_kept).values[-1]
    bound = last_kept.clamp(max=-math.log(thresh))
    return valid & ((nll >= bound) | (valid.sum() < min_kept))


def image_weighted_cross_entropy(
    logits: Tensor, label: Tensor, *, upper_bound: float = 1.0, ignore: int = IGNORE
) -> Tensor:
    """Cross-entropy in which each image weighs its classes by how rare they are in it; the sum over images of weighted means.

    weight_k = 1 + upper_bound (1 - share of class k among the image's valid pixels), 1 for a class that is absent. Shapes as in
    `cross_entropy`. (Zhu et al., CVPR 2019.)
    """
    nll = pixel_nll(logits, label, ignore)
    valid = label != ignore
    counts = torch.zeros(logits.shape[:2], device=logits.device, dtype=nll.dtype)
    counts.scatter_add_(1, known(label, ignore).flatten(1), valid.flatten(1).to(nll.dtype))
    weights = rarity_weights(counts, counts.sum(dim=1, keepdim=True), upper_bound)  # (N, K)
    weights = weights.gather(1, known(label, ignore).flatten(1)).view_as(nll) * valid
    means = (weights * nll).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=TINY)
    return means.sum()


def relaxed_nll(
    logits: Tensor, multihot: Tensor, *, upper_bound: float = 1.0, quirks: bool = True
) -> Tensor:
    """The boundary-relaxed loss (Zhu et al., CVPR 2019): near a boundary, any mixture of the neighbouring classes is right.

    logits: float (N, K, H, W). multihot: (N, K + 1, H, W), 1 where a class or, in the last channel, void is within the border.
    At a pixel with the hot classes C: -log(sum over C of p) * (mean over C of the image's class weights, 1 + upper_bound (1 - share
    of the class in the image's ones, void's among them)). A pixel without a class does not count. The sum is divided, image by
    image, by the number of pixels that count plus 1, and then added up over images, not averaged.

    quirks: in the published code an image of a batch of N is summed N times, its classes' mean taken with the number of hot
    classes of each of the N images in turn; a batch of one is not affected.
    """
    logits, hot = at_least_single(logits), multihot[:, :-1] != 0
    ones = multihot.ne(0).sum(dim=(2, 3)).to(logits.dtype)  # (N, K + 1)
    weights = rarity_weights(ones[:, :-1], ones.sum(dim=1, keepdim=True), upper_bound)
    counted = hot.any(dim=1)  # (N, H, W)
    per_class = 1 / hot.sum(dim=1).clamp(min=1).to(logits.dtype)  # (N, H, W)
    if quirks:
        per_class = per_class.sum(dim=0, keepdim=True)
    within = logits.masked_fill(
        ~hot & counted.unsqueeze(1), -torch.inf
    )  # all classes where none is hot: log 1 = 0
    nll = logits.logsumexp(dim=1) - within.logsumexp(dim=1)
    loss = nll * torch.einsum("nk,nkhw->nhw", weights, hot.to(logits.dtype)) * per_class
    return (loss.sum(dim=(1, 2)) / (counted.sum(dim=(1, 2)) + 1)).sum()


def balanced_edge_loss(logits: Tensor, edge: Tensor, *, quirks: bool = True) -> Tensor:
    """BCE in which the edge pixels of the batch weigh as much as the others together; the mean over all pixels.

    logits: float (N, 1, H, W). edge: (N, 1, H, W), 1 on edges.
    quirks: the published network already ends in a sigmoid, and its loss takes another one.
    """
    logits, edge = at_least_single(logits), edge != 0
    share = edge.to(logits.dtype).mean()
    weight = torch.where(edge, 1 - share, share)
    return F.binary_cross_entropy_with_logits(
        logits.sigmoid() if quirks else logits, edge.to(logits.dtype), weight
    )


def hard_label(multihot: Tensor, *, ignore: int = IGNORE) -> Tensor:
    """(N, K + 1, H, W) -> int64 (N, H, W): the hot class of the lowest id, or `ignore` where void is within the border.

    So along a boundary the label may be the neighbour's, and the image's outermost pixels are ignored: published, and relied upon.
    """
    label = (multihot[:, :-1] != 0).to(torch.uint8).argmax(dim=1)
    return label.masked_fill(multihot[:, -1] != 0, ignore)


# What the published command line gives each term of `body_edge_loss` in the total.
BODY_EDGE_WEIGHTS = {"seg": 1.0, "body": 1.0, "edge": 1.0, "edge_attention": 1.0}


def body_edge_loss(
    outputs: dict[str, Tensor],
    targets: dict[str, Tensor],
    *,
    quirks: bool = True,
    edge_factor: float = 20.0,
    attention: float = 0.8,
) -> dict[str, Tensor]:
    """The four terms that DecoupleSegNets trains with; the published total is their sum, each weighing 1 (BODY_EDGE_WEIGHTS).

    outputs: logits "seg" and "body" (N, K, H, W), "edge" (N, 1, H, W). targets: "multihot" (N, K + 1, H, W), "edge" (N, 1, H, W);
    without quirks also "label" (N, H, W), 255 = void.
    seg: OHEM. body: relaxed. edge: balanced BCE times 20. edge_attention: OHEM of seg over the pixels where the net sees an edge
    with a probability above 0.8; 0 if there are none (published: NaN).
    quirks: those of `relaxed_nll`, `balanced_edge_loss` and `hard_label`; without them the label is "label".
    """
    label = hard_label(targets["multihot"]) if quirks else targets["label"].long()
    nll = pixel_nll(outputs["seg"], label, IGNORE)  # of both OHEM terms
    seen = outputs["edge"].detach()[:, 0].sigmoid() > attention
    hard = hard_pixels(nll.detach(), label != IGNORE, OHEM_THRESH, 10000)
    attended = hard_pixels(nll.detach() * seen, seen & (label != IGNORE), OHEM_THRESH, 5000)
    return {
        "seg": weighted_mean(nll, hard.to(nll.dtype)),
        "body": relaxed_nll(outputs["body"], targets["multihot"], quirks=quirks),
        "edge": edge_factor * balanced_edge_loss(outputs["edge"], targets["edge"], quirks=quirks),
        "edge_attention": weighted_mean(nll, attended.to(nll.dtype)),
    }


def pixel_nll(logits: Tensor, label: Tensor, ignore: int) -> Tensor:
    """(N, H, W), at least single precision; 0 on ignored pixels."""
    return F.cross_entropy(
        at_least_single(logits), label.long(), ignore_index=ignore, reduction="none"
    )


def pixel_weight(label: Tensor, weight: Tensor | None, ignore: int, like: Tensor) -> Tensor:
    """(N, H, W): the weight of each pixel's class, 0 on ignored pixels."""
    valid = (label != ignore).to(like.dtype)
    return valid if weight is None else weight.to(like)[known(label, ignore)] * valid


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Their weighted mean, 0 if the weights are."""
    return (values * weights).sum() / weights.sum().clamp(min=TINY)


def rarity_weights(counts: Tensor, totals: Tensor, upper_bound: float) -> Tensor:
    """1 + upper_bound (1 - count / total), 1 where the count is 0. counts: (N, K). totals: (N, 1)."""
    return 1 + (counts != 0) * upper_bound * (1 - counts / totals.clamp(min=1))


def known(label: Tensor, ignore: int) -> Tensor:
    """int64 labels that can index: class 0 on ignored pixels."""
    return label.long().masked_fill(label == ignore, 0)


def at_least_single(logits: Tensor) -> Tensor:
    """Half precision as float32: a sum over an image's pixels does not fit it."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
