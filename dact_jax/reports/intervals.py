"""How sure an accuracy is that was measured on few images."""

import math

_Z = 1.959963984540054  # 97.5 % of a normal distribution lie below


def wilson(accuracy: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` trials (Wilson, JASA 1927), in [0, 1].

    Args:
      accuracy: the share, in [0, 1].
      count: trials, at least 1.
    """
    scale = 1 + _Z**2 / count
    center = (accuracy + _Z**2 / (2 * count)) / scale
    spread = accuracy * (1 - accuracy) / count + _Z**2 / (4 * count**2)
    half = _Z * math.sqrt(spread) / scale
    # Rounding must not leave the accuracy outside.
    return max(0.0, min(center - half, accuracy)), min(
        1.0, max(center + half, accuracy)
    )
