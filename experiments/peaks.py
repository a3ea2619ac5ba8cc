"""The peak of dense matrix products of devices, as their makers publish it."""

from typing import NamedTuple


class Peak(NamedTuple):
    """FLOP/s of one device as JAX counts devices; None: not published, or no units."""

    bfloat16: float | None
    float32: float | None  # of products with all 23 bits, not TF32


# Beginning of `device_kind`, the most special first. NVIDIA: data sheets of each card,
# without sparsity, at its boost clock. Google: "System architecture" of each TPU in the
# documentation of Cloud TPU; float32 products have no rate of their own there.
_PEAKS = {
    "NVIDIA H200": Peak(989e12, 67e12),
    "NVIDIA H100 PCIe": Peak(756e12, 51e12),
    "NVIDIA H100 NVL": Peak(835e12, 60e12),
    "NVIDIA H100": Peak(989e12, 67e12),  # SXM5
    "NVIDIA A100": Peak(312e12, 19.5e12),
    "NVIDIA L4": Peak(121e12, 30.3e12),
    "Tesla T4": Peak(None, 8.1e12),
    "TPU v4": Peak(275e12, None),
    "TPU v5 lite": Peak(197e12, None),  # v5e
    "TPU v5p": Peak(459e12, None),
    "TPU v5": Peak(459e12, None),  # as JAX calls v5p
    "TPU v6 lite": Peak(918e12, None),  # v6e
}


def of(device_kind: str, precision: str) -> float | None:
    """FLOP/s of a device in "float32" or "bfloat16"; None where it is not known.

    Args:
      device_kind: as `jax.Device.device_kind` gives it.
    """
    for name, peak in _PEAKS.items():
        rest = device_kind.removeprefix(name)
        if rest != device_kind and not rest[:1].isalnum():  # no L4 in L40
            return peak.bfloat16 if precision == "bfloat16" else peak.float32
    return None
