"""`--format=onnx`: model.onnx, written by onnx and run by ONNX Runtime."""

import importlib.util
import json
import pathlib
from typing import Any

import numpy as np

from dact_jax import errors, storage
from dact_jax.classifier import Classifier
from dact_jax.exporting import description, onnx_networks
from dact_jax.exporting.description import Description
from dact_jax.exporting.onnx_graph import Graph
from dact_jax.exporting.written import Written

FILE = "model.onnx"
_OPSET, _IR = 18, 8  # ONNX 1.13 (2022) and all later ones read it
_MOST = 2**31 - 2**20  # bytes of a protocol buffer
_BATCH = 7  # images of a batch, besides one image alone


def require() -> None:
    """Raises InputError if a library is missing."""
    needed = ("onnx", "onnxruntime")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.InputError(
            f"--format=onnx needs {' and '.join(missing)}: pip install 'dact_jax[onnx]'"
        )


def check(classifier: Classifier) -> None:
    """Raises InputError if the classifier has a part that this form cannot hold."""
    network = description.describe(classifier)
    size = sum(tensor.nbytes for tensor in network.tensors.values())
    if size > _MOST:
        raise errors.InputError(
            f"the network has {size / 2**30:.1f} GiB of weights, and a file of ONNX "
            "holds 2 at most: give --format=torch."
        )


def write(
    classifier: Classifier, folder: pathlib.Path, stored: np.ndarray, *, input_type: str
) -> Written:
    """Writes the file, and computes logits by it, of one image and of seven at once.

    Args:
      folder: that it is written to.
      stored: images as `samples.Samples` has them.
      input_type: "float32" or "uint8".
    """
    import onnxruntime

    network = description.describe(classifier)
    model = _model(network, classifier.class_names, input_type)
    storage.write_atomic(folder / FILE, model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(folder / FILE), options, providers=["CPUExecutionProvider"]
    )
    x = stored if network.pixels is None else stored.transpose(0, 3, 1, 2)
    logits = _logits(session, np.ascontiguousarray(x, input_type))
    name = "vectors" if network.pixels is None else "images"
    record = {
        "input_name": name,
        "input_type": input_type,
        "outputs": ["logits", "probabilities"],
        "opset": _OPSET,
    }
    by = f"ONNX Runtime {onnxruntime.__version__} (batches of 1 and {_BATCH})"
    return Written(logits, by, record)


def _logits(session: Any, x: np.ndarray) -> np.ndarray:
    """float32[n, K]: of the first row by itself, of the others seven at a time."""
    (taken,) = session.get_inputs()
    count = len(x)
    found = [session.run(["logits"], {taken.name: x[:1]})[0]]
    for begin in range(1, max(count, 2), _BATCH):
        rows = np.arange(begin, begin + _BATCH) % count
        batch = session.run(["logits"], {taken.name: x[rows]})[0]
        found.append(batch[: count - begin])
    return np.concatenate(found)


def _model(network: Description, classes: tuple[str, ...], input_type: str) -> Any:
    """The protocol buffer of a network, checked by onnx."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    types = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
    name: str = "vectors"
    shape: list[int | str | None] = ["batch", network.width]
    if (pixels := network.pixels) is not None:
        name, shape = "images", ["batch", pixels.channels, pixels.side, pixels.side]
    graph = Graph(network.tensors)
    x = name
    if input_type != "float32":
        x = graph.add("Cast", x, to=TensorProto.FLOAT)
    last = onnx_networks.network(graph, network, x)
    nodes = [
        *graph.nodes,
        helper.make_node("Identity", [last], ["logits"]),
        helper.make_node("Softmax", [last], ["probabilities"], axis=1),
    ]
    columns: list[int | str | None] = ["batch", network.num_classes]
    outputs = [
        helper.make_tensor_value_info(output, TensorProto.FLOAT, columns)
        for output in ("logits", "probabilities")
    ]
    made = helper.make_graph(
        nodes,
        "dact_jax",
        [helper.make_tensor_value_info(name, types[input_type], shape)],
        outputs,
        [numpy_helper.from_array(v, k) for k, v in graph.constants.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=_IR)
    model.producer_name = "dact_jax"
    helper.set_model_props(model, {"classes": json.dumps(list(classes))})
    onnx.checker.check_model(model)
    return model
