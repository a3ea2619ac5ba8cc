"""hf:NAME: a stand-in for `datasets`, and `datasets` itself where it is installed."""

import importlib.util
import io
import os
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from dact_jax import errors
from dact_jax.data.huggingface import spec
from dact_jax.data.readers import files, sources
from tests.data.huggingface import stand_in

NAMES = ["dog", "cat", "1"]
COLORS = ["red", "lime", "blue", "white", "black"]


def _png(color):
    out = io.BytesIO()
    Image.new("RGB", (9, 7), color).save(out, "PNG")
    return out.getvalue()


def _columns(count=5):
    images = [{"bytes": _png(color), "path": None} for color in COLORS[:count]]
    images[0]["path"] = "a/b.png"
    return {
        "picture": images,
        "species": [0, 1, -1, 0, 2][:count],
        "domain": ["photo", "sketch", "photo", "photo", "sketch"][:count],
    }


FEATURES = {"picture": "image", "species": NAMES, "domain": "text"}


def _stand_in(monkeypatch, tmp_path):
    """Gives `datasets` these splits under a name; returns the name."""

    def give(splits, name="org/pets"):
        parts = {
            key: stand_in.dataset(*pair, fingerprint=f"{name}{key}")
            for key, pair in splits.items()
        }
        module = stand_in.library({name: parts})
        monkeypatch.setitem(sys.modules, "datasets", module)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: module)
        return name

    return give


def _saved(monkeypatch, tmp_path):
    """Saves the splits by save_to_disk; returns the folder."""
    import datasets

    kinds = {"text": datasets.Value("string"), "integer": datasets.Value("int64")}

    def feature(kind):
        if kind == "image":
            return datasets.Image()
        return kinds[kind] if isinstance(kind, str) else datasets.ClassLabel(names=kind)

    def give(splits, name="org/pets"):
        parts = {
            key: datasets.Dataset.from_dict(
                columns,
                datasets.Features({k: feature(v) for k, v in features.items()}),
            )
            for key, (columns, features) in splits.items()
        }
        folder = tmp_path / name
        datasets.DatasetDict(parts).save_to_disk(folder)
        return str(folder)

    return give


LIBRARIES = {"stand-in": _stand_in}
if importlib.util.find_spec("datasets"):
    LIBRARIES["datasets"] = _saved


@pytest.fixture(params=LIBRARIES)
def give(request, monkeypatch, tmp_path):
    return LIBRARIES[request.param](monkeypatch, tmp_path)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dact_jax" / "datasets"


def _load(text, **options):
    return sources.load(text, size=4, channels=3, **options)


def _refused(text):
    with pytest.raises(errors.InputError) as caught:
        _load(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _colors(data):
    return [tuple(image[0, 0]) for image in np.asarray(data.image[:])]


RGB = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}


def test_columns_are_found_by_their_types(give, cache):
    name = give({"train": (_columns(), FEATURES), "test": (_columns(2), FEATURES)})
    data = _load(f"hf:{name}")
    assert data.class_names == ("dog", "cat", "1")
    assert data.label.tolist() == [0, 1, -1, 0, 2, 0, 1]
    assert data.split.tolist() == ["train"] * 5 + ["test"] * 2
    assert data.id.tolist()[:2] == ["train/0.png", "train/1"]
    assert _colors(data)[:3] == [*RGB.values()]
    assert isinstance(data.image, files.ImageFiles)  # as a folder of photos
    assert all(pathlib.Path(file).is_relative_to(cache) for file in data.files)
    assert (data.name, data.unnamed) == ("pets", "")
    assert "were written to" in data.notes[-1]
    again = _load(f"hf:{name}")
    assert (again.notes, again.files) == ((), data.files)
    os.remove(data.files[2])
    assert _load(f"hf:{name}").notes == data.notes  # they are written again
    assert len(list(cache.iterdir())) == 1


def test_a_split_and_the_rows_of_a_domain(give):
    splits = {"train": (_columns(), FEATURES), "extra": (_columns(2), FEATURES)}
    name = give(splits)
    sketch = _load(f"hf:{name}:train,domain=sketch")
    assert sketch.label.tolist() == [1, 2]
    assert _colors(sketch)[0] == RGB["lime"]
    assert (sketch.split, sketch.name) == (None, "pets-sketch")
    assert sketch.class_names == ("dog", "cat", "1")  # of both domains alike
    assert sketch.id.tolist() == ["train/1", "train/4"]
    dogs = _load(f"hf:{name}:train,species=dog,label=domain")
    assert (dogs.class_names, dogs.label.tolist()) == (("photo",), [0, 0])
    assert len(_load(f"hf:{name}:extra").label) == 2
    said = _refused(f"hf:{name}:train,domain=art")
    assert "no row has domain=art; that column has 'photo', 'sketch'." in said
    assert "there is no split 'tran'; did you mean 'train'?" in _refused(
        f"hf:{name}:tran"
    )


def test_splits_of_unknown_roles(give, caplog):
    splits = {"train": (_columns(), FEATURES), "extra": (_columns(2), FEATURES)}
    name = give(splits)
    assert len(_load(f"hf:{name}").label) == 5
    assert "splits that are not read: extra" in caplog.text
    name = give({"a": splits["train"], "b": splits["extra"]}, "two")
    assert f"has the splits 'a', 'b': name one, as hf:{name}:a." in _refused(
        f"hf:{name}"
    )


def test_text_and_bare_integers_as_labels(give):
    columns = _columns()
    columns["species"] = ["b", "a", None, "", "b"]
    name = give({"train": (columns, FEATURES | {"species": "text"})}, "text")
    data = _load(f"hf:{name},label=species")
    assert (data.class_names, data.label.tolist()) == (("a", "b"), [1, 0, -1, -1, 1])
    assert data.unnamed == ""
    columns["species"] = [1, 0, None, -1, 10]
    name = give({"train": (columns, FEATURES | {"species": "integer"})}, "integers")
    data = _load(f"hf:{name},label=species")
    assert data.label.tolist() == [1, 0, -1, -1, 10]
    assert len(data.class_names) == 11
    assert "make the column species of" in data.unnamed
    assert _load(f"hf:{name}").label.tolist() == [-1] * 5  # none that is one of classes


def test_columns_that_may_be_meant_are_told(give):
    columns = _columns() | {"second": _columns()["picture"], "kind": [0] * 5}
    both = FEATURES | {"second": "image", "kind": ["x", "y"]}
    name = give({"train": (columns, both)}, "several")
    said = _refused(f"hf:{name}")
    assert "'picture', 'second' may each be the image: name one, as ,image=pict" in said
    said = _refused(f"hf:{name},image=second")
    assert (
        "'species', 'kind' may each be the label: name one, as ,label=species" in said
    )
    assert _load(f"hf:{name},image=second,label=kind").class_names == ("x", "y")
    assert "there is no column 'secnd'; did you" in _refused(f"hf:{name},image=secnd")
    columns = {"species": [0, 1]}
    name = give({"train": (columns, {"species": NAMES})}, "without")
    assert "has no column of images; its columns are 'species'" in _refused(
        f"hf:{name}"
    )
    name = give({"train": (_columns(), FEATURES)}, "domains")
    assert "holds no image" in _refused(f"hf:{name},image=domain")


def test_rows_without_a_readable_image_are_told(give):
    columns = _columns()
    columns["picture"][1] = {"bytes": b"no image", "path": "1.png"}
    name = give({"train": (columns, FEATURES)}, "damaged")
    assert "train/1.png cannot be read" in _refused(f"hf:{name}")
    assert len(_load(f"hf:{name}", on_error="skip").label) == 4
    columns["picture"][1] = None
    name = give({"train": (columns, FEATURES)}, "missing")
    assert "row 1 of train, column picture holds no image" in _refused(f"hf:{name}")


def test_an_expression_is_left_to_datasets(monkeypatch, tmp_path):
    _stand_in(monkeypatch, tmp_path)({"train": (_columns(), FEATURES)})
    data = _load("hf:org/pets:train[:2]")
    assert (data.id.tolist(), data.split) == (["all/0.png", "all/1"], None)


def test_what_is_not_in_the_cache_is_not_downloaded(monkeypatch, tmp_path):
    _stand_in(monkeypatch, tmp_path)({"train": (_columns(), FEATURES)})
    said = _refused("hf:org/other,config=large")
    assert (
        "is not in the cache of datasets (/cache/datasets), and nothing is down" in said
    )
    assert "datasets.load_dataset('org/other', 'large')" in said
    assert "(Couldn't reach the Hub for org/other (offline))" in said
    assert not sys.modules["datasets"].config.HF_HUB_OFFLINE  # as before
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'dact_jax[hf]'" in _refused("hf:org/pets")


def test_names_of_splits_stay_in_their_folder(monkeypatch, tmp_path):
    _stand_in(monkeypatch, tmp_path)({"../../x": (_columns(), FEATURES)})
    assert "'../../x' is no name of a split" in _refused("hf:org/pets")


@pytest.mark.parametrize(
    "text",
    ["hf:", "hf:,label=x", "hf:a:", "hf:a,b", "hf:a,=b", "hf:a,b=", "hf:a,b=1,b=2"],
)
def test_other_texts_are_refused(text):
    assert text in _refused(text)


def test_a_text_is_taken_apart(tmp_path, monkeypatch):
    found = spec.parse('hf:org/a:train[:10%],config=b,label=c,"d=e, f"')
    assert found[1:] == ("org/a", "train[:10%]", "", "c", "b", {"d": "e, f"})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b,c").mkdir()
    assert spec.parse("hf:a:b,c")[1:3] == ("a:b,c", "")


if "datasets" in LIBRARIES:

    def test_the_cache_of_datasets_itself(tmp_path, monkeypatch):
        """As `load_dataset` leaves it: name/config/version/hash, with Arrow files."""
        import datasets

        for number, label in enumerate(("cat", "dog", "cat")):
            folder = tmp_path / "photos" / "train" / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.png").write_bytes(_png(COLORS[number]))
        cached = tmp_path / "cached"
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cached)
        made = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "photos"))
        assert len(made["train"]) == 3
        (hashed,) = (p for p in cached.glob("imagefolder/*/*/*") if p.is_dir())
        place = cached / "org___pets" / "default" / "0.0.0" / hashed.name
        place.parent.mkdir(parents=True)
        hashed.rename(place)
        info = place / "dataset_info.json"
        info.write_text(info.read_text().replace("imagefolder", "pets"))
        (place / "imagefolder-train.arrow").rename(place / "pets-train.arrow")
        data = _load("hf:org/pets")
        assert data.class_names == ("cat", "dog")
        assert sorted(data.label.tolist()) == [0, 0, 1]
        said = _refused("hf:org/others")
        assert "datasets.load_dataset('org/others')" in said
        local = _load(f"hf:{tmp_path / 'photos'}")  # a folder that it can load
        assert local.label.tolist() == data.label.tolist()
