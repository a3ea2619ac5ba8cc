"""`--format=onnx`, `stablehlo` and `npz`: what the written files compute."""

import importlib.util
import json

import jax
import numpy as np
import pytest
from jax import export

from dact_jax import errors
from dact_jax.exporting import (
    comparison,
    npz_format,
    onnx_format,
    stablehlo_format,
)
from tests.exporting import made

IMAGES = ("lenet", "efficientnet")  # an encoder of images, and a backbone


def close(kind, form, folder, input_type="float32"):
    """Writes a model and compares its logits with ours."""
    classifier, stored, ours = made.computed(kind)
    with made.small(kind):
        done = form.write(classifier, folder, stored, input_type=input_type)
    found = comparison.difference(ours, done.logits)
    assert found.logits < 2e-4
    assert found.agreeing == found.images == len(stored)
    return done


@pytest.fixture
def onnxruntime():
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("kind", made.COMPUTED)
def test_onnx_computes_what_ours_does(kind, tmp_path, onnxruntime):
    close(kind, onnx_format, tmp_path)


@pytest.mark.parametrize("kind", IMAGES)
def test_onnx_takes_pixels_of_a_byte(kind, tmp_path, onnxruntime):
    close(kind, onnx_format, tmp_path, "uint8")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (taken,) = session.get_inputs()
    assert taken.type == "tensor(uint8)"
    assert taken.shape[0] == "batch"
    assert [output.name for output in session.get_outputs()] == [
        "logits",
        "probabilities",
    ]
    classes = session.get_modelmeta().custom_metadata_map["classes"]
    assert tuple(json.loads(classes)) == made.CLASSES
    _, stored, ours = made.computed(kind)
    x = np.ascontiguousarray(stored.transpose(0, 3, 1, 2))
    (p,) = session.run(["probabilities"], {taken.name: x})
    np.testing.assert_allclose(p, jax.nn.softmax(ours), atol=1e-4)


def test_a_library_that_is_missing_is_one_sentence(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.InputError, match=r"onnx and onnxruntime.*dact_jax\[on"):
        onnx_format.require()
    with pytest.raises(errors.InputError, match=r"flatbuffers.*dact_jax\[stablehlo"):
        stablehlo_format.require()


def test_more_weights_than_a_file_holds_are_refused(monkeypatch):
    for form in (onnx_format, stablehlo_format):
        monkeypatch.setattr(form, "_MOST", 1000)
        with pytest.raises(errors.InputError, match="--format=torch"):
            form.check(made.computed("mlp")[0])


@pytest.fixture
def flatbuffers():
    """JAX reads and writes its programs by it."""
    return pytest.importorskip("flatbuffers")


@pytest.mark.parametrize("kind", ["mlp", "vit"])
def test_stablehlo_computes_what_ours_does(kind, tmp_path, flatbuffers):
    close(kind, stablehlo_format, tmp_path)


def test_stablehlo_runs_everywhere_at_any_batch(tmp_path, flatbuffers):
    classifier, stored, ours = made.computed("lenet_dsbn")
    done = stablehlo_format.write(classifier, tmp_path, stored, input_type="uint8")
    content = (tmp_path / "model.stablehlo").read_bytes()
    read = export.deserialize(bytearray(content))
    assert {"cpu", "cuda", "tpu"} <= {*read.platforms}
    x = stored.transpose(0, 3, 1, 2)
    assert x.dtype == np.uint8
    for batch in (2, 5):
        np.testing.assert_allclose(read.call(x[:batch]), ours[:batch], atol=1e-4)
    assert done.record["input_type"] == "uint8"


@pytest.mark.parametrize("kind", ["lenet_dsbn", "mlp", "vit"])
def test_npz_holds_the_row_of_the_target_by_flaxs_names(kind, tmp_path):
    classifier, _, ours = made.computed(kind)
    done = close(kind, npz_format, tmp_path)
    np.testing.assert_array_equal(done.logits, ours)
    with np.load(tmp_path / "variables.npz") as arrays:
        scale = classifier.variables.norm["norm1"]["scale"]
        np.testing.assert_array_equal(arrays["norm.norm1.scale"], scale[1])
        kernel = classifier.variables.params["encoder"]["fc1"]["kernel"]
        np.testing.assert_array_equal(arrays["params.encoder.fc1.kernel"], kernel)
        assert ("backbone.params.cls_token" in arrays) == (kind == "vit")
        assert not any("discriminator" in name for name in arrays)
