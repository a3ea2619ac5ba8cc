"""The few parts of `datasets` that the reader uses, on tables of pyarrow."""

import types

import pyarrow as pa


class Image:
    """A type of a column."""


class Value:
    """A type of a column."""


class ClassLabel:
    """A type of a column."""

    def __init__(self, names):
        self.names = names


class Dataset:
    """A split."""

    def __init__(self, table, features, fingerprint):
        self.table, self.features, self._fingerprint = table, features, fingerprint

    def __len__(self):
        return len(self.table)

    def select_columns(self, names):
        table = self.table.select(names)
        features = {name: self.features[name] for name in names}
        return Dataset(table, features, self._fingerprint)

    def with_format(self, kind):
        assert kind == "arrow"
        return self

    def __getitem__(self, rows):
        return (
            self.table.take(list(range(len(self))[rows]))
            if isinstance(rows, slice)
            else self.table.take(rows)
        )


def dataset(columns, features, fingerprint="1"):
    kinds = {"image": Image(), "text": Value(), "integer": Value()}
    types_of = {
        name: kinds[kind] if isinstance(kind, str) else ClassLabel(kind)
        for name, kind in features.items()
    }
    return Dataset(pa.table(columns), types_of, fingerprint)


def library(found):
    """A module `datasets` that has these data sets: name or folder -> splits."""

    def load_dataset(name, config=None, split=None):
        assert module.config.HF_HUB_OFFLINE
        if name not in found:
            raise ConnectionError(f"Couldn't reach the Hub for {name}\n(offline)")
        if split is None:
            return found[name]
        (part, end) = split.rstrip("]").split("[:")
        data = found[name][part]
        return Dataset(data.table[: int(end)], data.features, f"{split}")

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    module.load_from_disk = found.__getitem__
    module.disable_progress_bars = lambda: None
    module.logging = types.SimpleNamespace(set_verbosity_error=lambda: None)
    module.config = types.SimpleNamespace(
        HF_HUB_OFFLINE=False, HF_DATASETS_CACHE="/cache/datasets"
    )
    return module
