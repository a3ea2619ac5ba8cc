"""Finds the weights of a network among what checkpoints hold, and their plain names."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from dact_jax import errors

# What tools call a network, as the key of its state dict or as the beginning of the
# names of its tensors.
NETWORKS = (
    *("state_dict", "model_state_dict", "model_state", "model", "module", "_orig_mod"),
    *("net", "network", "backbone", "encoder", "encoder_q", "base_encoder", "resnet"),
    *("feature_extractor", "trunk", "student", "teacher", "ema", "model_ema"),
    *("ema_state_dict", "state_dict_ema", "params", "weights"),
)
_NO_NETWORK = "optim"  # part of the keys of optimizers
_LEVELS = 8  # of containers within containers that are searched
_LISTED = 8  # names that a message spells out
_LONGEST = 1000  # characters of a key that begins the names of tensors
T = TypeVar("T")


def find(content: Any, kind: type[T]) -> dict[str, T]:
    """The tensors of the state dict in a checkpoint, by name.

    A state dict maps names to tensors; its other entries are skipped. A checkpoint is a
    dict that holds one, perhaps in further dicts. Those under a key that tools use for
    networks come first. Several are returned together, and the keys begin the names.

    Args:
      content: of the file.
      kind: of its tensors.

    Raises:
      ValueError: there is no tensor, or one whose key is no name.
    """
    found = _search(content, kind, _LEVELS, set())
    if not found:
        raise ValueError("it contains no tensors by name")
    return found


def _search(
    content: Any, kind: type[T], levels: int, searched: set[int]
) -> dict[str, T]:
    """The tensors in a container, which may hold others, the same one, or itself."""
    if not isinstance(content, Mapping) or not levels or id(content) in searched:
        return {}
    searched.add(id(content))
    inner = {}
    for key, value in content.items():
        is_name = isinstance(key, str) and len(key) < _LONGEST
        if is_name and _NO_NETWORK not in key.lower():
            inner[key] = _search(value, kind, levels - 1, searched)
    inner = {key: tensors for key, tensors in inner.items() if tensors}
    networks = {key: inner[key] for key in NETWORKS if key in inner}
    if not networks and any(isinstance(value, kind) for value in content.values()):
        return _tensors(content, kind)
    several = networks or inner
    if len(several) == 1:
        return next(iter(several.values()))
    return {
        f"{key}.{name}": tensor
        for key, tensors in several.items()
        for name, tensor in tensors.items()
    }


def _tensors(state: Mapping[Any, Any], kind: type[T]) -> dict[str, T]:
    tensors = {key: value for key, value in state.items() if isinstance(value, kind)}
    for key in tensors:
        if not isinstance(key, str):
            raise ValueError(
                f"its entry {errors.quoted(key)} is a tensor without a name: save "
                "{name: tensor}, as model.state_dict() gives"
            )
    return tensors


def choose(tensors: Mapping[str, T], prefix: str, where: str) -> dict[str, T]:
    """The tensors of one network, by their names within it.

    What tools put before names ("module.", "_orig_mod.", "backbone.", ...) is removed
    where all names begin with it.

    Args:
      prefix: only tensors whose names begin with it, such as "src_net."; "": all.
      where: the file, for messages.

    Raises:
      InputError: no name begins with the prefix.
    """
    plain = _strip(tensors)
    if not prefix:
        return plain
    start = prefix.removesuffix(".") + "."
    for named in (tensors, plain):
        chosen = {
            name.removeprefix(start): tensor
            for name, tensor in named.items()
            if name.startswith(start)
        }
        if chosen:
            return _strip(chosen)
    raise errors.InputError(
        f"model.weights_prefix={prefix!r}: no name in {where} begins with it; its "
        f"names are {listed(plain)}."
    )


def _strip(tensors: Mapping[str, T]) -> dict[str, T]:
    named = dict(tensors)
    for _ in range(_LEVELS):
        start = _shared(named)
        named = {name.removeprefix(start): tensor for name, tensor in named.items()}
    return named


def _shared(names: Collection[str]) -> str:
    """The prefix of a network that all names begin with; "" if there is none."""
    starts = {name.partition(".")[0] for name in names if "." in name}
    if len(starts) == 1 and all("." in name for name in names):
        (start,) = starts
        return f"{start}." if start in NETWORKS else ""
    return ""


def prefixes(names: Collection[str], needed: Collection[str]) -> Iterator[str]:
    """What stands before all needed names, for each network among the names."""
    first = next(iter(needed))
    for name in names:
        start = name.removesuffix(first)
        if start.endswith(".") and all(f"{start}{part}" in names for part in needed):
            yield start


def listed(names: Collection[str]) -> str:
    """The first names, and how many more there are, for a message."""
    first = ", ".join(map(errors.quoted, list(names)[:_LISTED]))
    more = len(names) - _LISTED
    return f"{first}, and {more} more" if more > 0 else first
