"""Greedy coverage in float64, as its definition reads."""

import numpy as np

TIE = 2.0**-36  # of the total weight, as `geometry.coverage.herding` states


def similarity(points, kernel, scale):
    """float64[N, N]."""
    points = points.astype(np.float64)
    if kernel == "cosine":
        norm = np.sqrt((points**2).sum(1, keepdims=True))
        points = points / np.where(norm > 0, norm, 1)
        return np.maximum(points @ points.T, 0)
    squared = ((points[:, None] - points) ** 2).sum(-1)
    if kernel == "top_hat":
        return (squared <= scale**2 * (1 + 2.0**-40)).astype(float)
    return np.exp(-squared / scale**2)


def median_distance(points):
    """Of all pairs of rows, which must not be mostly equal."""
    points = points.astype(np.float64)
    squared = ((points[:, None] - points) ** 2).sum(-1)
    return float(np.sqrt(np.median(squared[np.triu_indices(len(points), 1)])))


def greedy(k, budget, weight, labelled=()):
    """(picks, gains): largest gain first; of gains that tie, the lowest row."""
    covered = k[:, list(labelled)].max(1, initial=0)
    free = np.ones(len(k), bool)
    free[list(labelled)] = False
    picks, gains = [], []
    for _ in range(budget):
        gain = weight @ np.maximum(k - covered[:, None], 0)
        gain[~free] = -1
        pick = int(np.argmax(gain >= gain.max() - TIE * weight.sum()))
        picks.append(pick)
        gains.append(gain[pick])
        free[pick] = False
        covered = np.maximum(covered, k[:, pick])
    return picks, gains
