"""Data sets as `datasets` has them on this machine; nothing is downloaded."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Any

from dact_jax import errors
from dact_jax.data.huggingface.spec import Spec

_SAVED = ("state.json", "dataset_dict.json")  # in a folder by save_to_disk


def parts(spec: Spec) -> Mapping[str, Any]:
    """The splits of a data set by name; "" where it has none.

    Raises:
      InputError: `datasets` is missing, or it has neither the data set nor the split.
    """
    if importlib.util.find_spec("datasets") is None:
        raise errors.InputError(
            f"{spec.text!r} needs datasets, which pip install 'dact_jax[hf]' brings."
        )
    import datasets

    with _offline(datasets):
        loaded = _load(datasets, spec)
    if not isinstance(loaded, dict):  # one split, by save_to_disk
        loaded = {"": loaded}
    if not spec.split or "[" in spec.split or "+" in spec.split:
        return loaded
    if spec.split not in loaded:
        raise errors.InputError(
            f"{spec.text!r}: there is no split {spec.split!r}; "
            f"{errors.suggestion(spec.split, list(loaded))}"
        )
    return {spec.split: loaded[spec.split]}


@contextlib.contextmanager
def _offline(datasets: Any) -> Iterator[None]:
    """While it is open, `datasets` asks the Hub for nothing and prints nothing."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _load(datasets: Any, spec: Spec) -> Any:
    is_folder = os.path.isdir(spec.name)
    try:
        if any(os.path.isfile(os.path.join(spec.name, name)) for name in _SAVED):
            return datasets.load_from_disk(spec.name)
        # Of an expression, such as train[:100] or train+test, `datasets` makes one.
        if "[" in spec.split or "+" in spec.split:
            part = datasets.load_dataset(
                spec.name, spec.config or None, split=spec.split
            )
            return {"": part}
        return datasets.load_dataset(spec.name, spec.config or None)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # of the Hub, of pyarrow, of a builder
        why = errors.clause(error)
        if is_folder:
            raise errors.InputError(
                f"{spec.text!r}: datasets cannot read this folder: {why}."
            ) from None
        config = f", {spec.config!r}" if spec.config else ""
        raise errors.InputError(
            f"{spec.text!r} is not in the cache of datasets "
            f"({datasets.config.HF_DATASETS_CACHE}), and nothing is downloaded here: "
            'run this once, where there is a network: python -c "import datasets; '
            f'datasets.load_dataset({spec.name!r}{config})" ({why}).'
        ) from None
