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
    """CASENet's reweighted multi-label BCE as DFF published it.

    In each image an edge pixel weighs max(1, #non-edge / #edge). Two odd choices that the published
    numbers depend on: one weight serves all classes of an image, and #non-edge is the valid pixels,
    counted once, minus the edges of all classes. The ratio is held between 1 and the number of
    valid pixels, so an image without an edge keeps a finite loss. Where the published code gives
    NaN, an image of padding alone, ours adds 0.

    Args:
        logits: float (N, K, H, W).
        target: (N, K, H, W), 1 on edges; its values on padding do not matter.
        valid: (N, 1, H, W), 0 on padding.

    Returns the scalar mean over images of the mean over K x H x W, padding included (as zeros).
    """
    return _weighted_bce(logits, *_edge_weights(target, valid, at_least_single(logits).dtype))


def edge_losses(outputs: dict[str, Tensor], target: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """`edge_loss` of the outputs "side5" and "fuse": DFF and CASENet train with their sum."""
    target, weight = _edge_weights(target, valid, at_least_single(outputs["fuse"]).dtype)
    return {name: _weighted_bce(outputs[name], target, weight) for name in ("side5", "fuse")}


def _edge_weights(target: Tensor, valid: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(N, K, H, W) each: the target, 0 on padding, and the weight of every pixel (`edge_loss`)."""
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
    """Weighted mean negative log-likelihood over the pixels that are not ignored; 0 without any.

    Args:
        logits: float (N, K, H, W).
        label: integers (N, H, W).
        weight: (K,), of each class; 1 by default.
        ignore: the label of pixels that do not count.
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
    """Cross-entropy over the hard pixels of the batch (OHEM).

    Shrivastava et al., CVPR 2016, as DecoupleSegNets published it.

    Args:
        logits: float (N, K, H, W).
        label: integers (N, H, W).
        thresh: a pixel is hard if its true class has at most this probability.
        min_kept: the least number of pixels that count, the hardest ones; with 0, or more than
            there are valid pixels, all of them count.
        weight: (K,), of each class; 1 by default.
        ignore: the label of pixels that do not count.
    """
    nll = pixel_nll(logits, label, ignore)
    hard = hard_pixels(nll.detach(), label != ignore, thresh, min_kept)
    return weighted_mean(nll, pixel_weight(label, weight, ignore, nll) * hard)


def hard_pixels(nll: Tensor, valid: Tensor, thresh: float, min_kept: int) -> Tensor:
    """Which pixels `ohem_cross_entropy` keeps, bool (N, H, W); the device is not waited for.

    nll, valid: (N, H, W). Ignored pixels have a nll of 0, that is, a probability of 1.
    """
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
    """Cross-entropy with weights of the classes from each image (Zhu et al., CVPR 2019).

    weight_k = 1 + upper_bound (1 - share of class k among the image's valid pixels), and 1 for an
    absent class. Returns the sum over images of the weighted means; logits (N, K, H, W), label
    integers (N, H, W).
    """
    nll = pixel_nll(logits, label, ignore)
    valid = label != ignore
    counts = torch.zeros(logits.shape[:2], device=logits.device, dtype=nll.dtype)
    index = mask_ignored(label, ignore)
    counts.scatter_add_(1, index.flatten(1), valid.flatten(1).to(nll.dtype))
    weights = rarity_weights(counts, counts.sum(dim=1, keepdim=True), upper_bound)  # (N, K)
    weights = weights.gather(1, index.flatten(1)).view_as(nll) * valid
    means = (weights * nll).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=TINY)
    return means.sum()


def relaxed_nll(
    logits: Tensor, multihot: Tensor, *, upper_bound: float = 1.0, quirks: bool = True
) -> Tensor:
    """The boundary-relaxed loss (Zhu et al., CVPR 2019): any mixture of the near classes is right.

    At a pixel with the hot classes C: -log(sum over C of p_k) * (mean over C of w_k), with the
    image's weights w_k = 1 + upper_bound (1 - share of class k in all ones of the image, void's
    among them). A pixel without a class does not count. The sum is divided, image by image, by the
    number of pixels that count plus 1, and then added up over images, not averaged.

    Args:
        logits: float (N, K, H, W).
        multihot: (N, K + 1, H, W), 1 where a class or, in the last channel, void is within the
            border.
        upper_bound: of the weights above 1.
        quirks: as published, an image of a batch of N is summed N times, the mean over its classes
            taken with the number of hot classes of each of the N images in turn. A batch of one
            image is not affected.
    """
    logits, hot = at_least_single(logits), multihot[:, :-1] != 0
    ones = multihot.ne(0).sum(dim=(2, 3)).to(logits.dtype)  # (N, K + 1)
    weights = rarity_weights(ones[:, :-1], ones.sum(dim=1, keepdim=True), upper_bound)
    counted = hot.any(dim=1)  # (N, H, W)
    per_class = 1 / hot.sum(dim=1).clamp(min=1).to(logits.dtype)  # (N, H, W)
    if quirks:
        per_class = per_class.sum(dim=0, keepdim=True)
    # Where no class is hot all classes stay, so that the pixel's nll is -log 1 = 0.
    within = logits.masked_fill(~hot & counted.unsqueeze(1), -torch.inf)
    nll = logits.logsumexp(dim=1) - within.logsumexp(dim=1)
    loss = nll * torch.einsum("nk,nkhw->nhw", weights, hot.to(logits.dtype)) * per_class
    return (loss.sum(dim=(1, 2)) / (counted.sum(dim=(1, 2)) + 1)).sum()


def balanced_edge_loss(logits: Tensor, edge: Tensor, *, quirks: bool = True) -> Tensor:
    """BCE in which all edge pixels of the batch weigh as much as all others; mean over all pixels.

    Args:
        logits: float (N, 1, H, W).
        edge: (N, 1, H, W), 1 on edges.
        quirks: the published network ends in a sigmoid, and its loss takes another one.
    """
    logits, edge = at_least_single(logits), edge != 0
    share = edge.to(logits.dtype).mean()
    weight = torch.where(edge, 1 - share, share)
    return F.binary_cross_entropy_with_logits(
        logits.sigmoid() if quirks else logits, edge.to(logits.dtype), weight
    )


def hard_label(multihot: Tensor, *, ignore: int = IGNORE) -> Tensor:
    """The hot class of the lowest id, or `ignore` where void is within the border.

    (N, K + 1, H, W) -> int64 (N, H, W). So along a boundary the label may be the neighbour's, and
    the image's outermost pixels are ignored: as published, and the published numbers depend on it.
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
    """The four terms of DecoupleSegNets; the published total is their sum (BODY_EDGE_WEIGHTS).

    "seg": OHEM. "body": relaxed. "edge": balanced BCE times `edge_factor`. "edge_attention": OHEM
    of seg over the pixels where the net sees an edge with a probability above `attention`; 0 if
    there are none (published: NaN).

    Args:
        outputs: logits "seg" and "body" (N, K, H, W), "edge" (N, 1, H, W).
        targets: "multihot" (N, K + 1, H, W), "edge" (N, 1, H, W); without quirks also "label"
            (N, H, W), 255 = void.
        quirks: those of `relaxed_nll`, `balanced_edge_loss` and `hard_label`; without them the
            label is "label".
        edge_factor: the weight within the term "edge".
        attention: the probability of an edge above which a pixel is attended to.
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
    """Negative log-likelihood (N, H, W), at least single precision; 0 on ignored pixels."""
    return F.cross_entropy(
        at_least_single(logits), label.long(), ignore_index=ignore, reduction="none"
    )


def pixel_weight(label: Tensor, weight: Tensor | None, ignore: int, like: Tensor) -> Tensor:
    """(N, H, W): the weight of each pixel's class, 0 on ignored pixels."""
    valid = (label != ignore).to(like.dtype)
    return valid if weight is None else weight.to(like)[mask_ignored(label, ignore)] * valid


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of the values; 0 if all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=TINY)


def rarity_weights(counts: Tensor, totals: Tensor, upper_bound: float) -> Tensor:
    """1 + upper_bound (1 - count / total), 1 where the count is 0.

    counts: (N, K). totals: (N, 1).
    """
    return 1 + (counts != 0) * upper_bound * (1 - counts / totals.clamp(min=1))


def mask_ignored(label: Tensor, ignore: int) -> Tensor:
    """int64 labels that can index a tensor of classes: 0 on ignored pixels."""
    return label.long().masked_fill(label == ignore, 0)


def at_least_single(logits: Tensor) -> Tensor:
    """Half precision as float32: a sum over an image's pixels does not fit into half precision."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
