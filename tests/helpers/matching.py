"""Matching, the slow and obvious way."""

import numpy as np


def plain_match(pred: np.ndarray, gt: np.ndarray, radius: float) -> int:
    """Kuhn's algorithm on the explicit list of pairs."""
    true = np.argwhere(gt)
    near = [
        np.flatnonzero(((true - p) ** 2).sum(axis=1) <= radius * radius) for p in np.argwhere(pred)
    ]
    partner: dict[int, int] = {}

    def find(p: int, seen: set[int]) -> bool:
        for g in near[p]:
            if g not in seen:
                seen.add(g)
                if g not in partner or find(partner[g], seen):
                    partner[g] = p
                    return True
        return False

    return sum(find(p, set()) for p in range(len(near)))
