"""`--format=torch`: torch's names and layouts, and what the tensors compute.

Where torch is installed, `torch_format.write` runs the written network by torch.
"""

import json

import numpy as np
import pytest
import safetensors.numpy

from dact_jax import errors
from dact_jax.exporting import (
    comparison,
    description,
    reading_back,
    tensors,
    torch_code,
    torch_format,
)
from dact_jax.methods import source_only
from dact_jax.models import heads
from dact_jax.types import Method
from tests import toy
from tests.exporting import made


@pytest.mark.parametrize("kind", made.COMPUTED)
def test_the_written_network_computes_what_ours_does(kind, tmp_path):
    classifier, stored, ours = made.computed(kind)
    assert ours.std(0).min() > 0.05  # or it would not matter what is computed
    with made.small(kind):
        done = torch_format.write(classifier, tmp_path, stored)
    found = comparison.difference(ours, done.logits)
    assert found.logits < 1e-4
    assert found.agreeing == found.images == len(stored)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_names_of_a_resnet_are_torchvisions(name):
    names = {"resnet18": "K10", "resnet50": "K31"}[name]
    text = (toy.GOLDEN / "state_dict_names.json").read_text()
    theirs = {
        key: tuple(shape)
        for key, shape in json.loads(text)[f"torchvision_{name}_{names}"]
        if "num_batches" not in key and not key.startswith("fc.")
    }
    classifier = made.classifier("resnet", changes={"model.encoder": name})
    found = description.describe(classifier).tensors
    shapes = {key: tensor.shape for key, tensor in found.items()}
    assert shapes.pop("fc.weight") == (3, 2048 if name == "resnet50" else 512)
    assert shapes.pop("fc.bias") == (3,)
    assert shapes == theirs


def test_the_row_of_the_target_and_the_scale_are_in_the_tensors(tmp_path):
    """By NumPy alone, of a perceptron with a row for each domain and a cosine head."""
    classifier, stored, ours = made.computed("mlp")
    torch_format.write(classifier, tmp_path, stored)
    read = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    scale = classifier.variables.norm["norm1"]["scale"]
    np.testing.assert_array_equal(read["norm1.weight"], scale[1])
    assert np.abs(scale[0] - scale[1]).min() > 0
    x = stored / np.sqrt((stored**2).mean(1, keepdims=True))
    for layer in "12":
        x = x @ read[f"fc{layer}.weight"].T + read[f"fc{layer}.bias"]
        x = x - read[f"norm{layer}.running_mean"]
        x = x / np.sqrt(read[f"norm{layer}.running_var"] + 1e-5)
        x = np.maximum(x * read[f"norm{layer}.weight"] + read[f"norm{layer}.bias"], 0)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(x @ read["classifier.weight"].T / 0.05, ours, atol=1e-4)


def test_the_tensors_of_a_resnet_before_a_perceptron(tmp_path):
    """Read back by our own reader of torchvision's files, they are the same."""
    classifier = made.classifier("resnet_backbone")
    found = description.describe(classifier)
    assert found.backbone.options["stages"] == (2, 2, 2, 2)
    file = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(found.tensors, file)
    read = reading_back.classifier(classifier, file, "MLP", "classifier")
    assert toy.same(read.backbone.variables, classifier.backbone.variables)
    again = description.describe(read).tensors
    assert again.keys() == found.tensors.keys()
    assert all(np.array_equal(again[name], found.tensors[name]) for name in again)


def test_the_source_row_is_taken_where_evaluation_takes_it():
    classifier = made.classifier("mlp", changes={"eval.branch": "source"})
    found = tensors.of(classifier, "MLP", "classifier")["norm2.running_var"]
    variance = classifier.variables.stats["norm2"]["variance"]
    np.testing.assert_array_equal(found, variance[0])
    assert np.abs(variance[0] - variance[1]).min() > 0


def test_the_text_of_the_network_is_python_without_dact_jax():
    for kind in made.COMPUTED:
        with made.small(kind):
            text = torch_code.text(description.describe(made.computed(kind)[0]))
        compile(text, kind, "exec")
        assert "jax" not in text
        assert max(map(len, text.splitlines())) <= 100


def test_a_head_that_torch_has_not_is_named(monkeypatch):
    strange = Method({"classifier": heads.PredictedLoss(3)}, ())
    classifier = made.classifier("mlp")
    monkeypatch.setattr(source_only, "make", lambda num_classes: strange)
    classifier.config.method = "source_only"
    with pytest.raises(errors.InputError, match=r"PredictedLoss.*--format=stablehlo"):
        torch_format.check(classifier)
