"""A graph of ONNX while it grows: nodes, constants, and the layers made of them.

Every function takes the names of values and returns the name of a new one.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Pads = tuple[int, int, int, int]  # top, left, bottom, right


@dataclasses.dataclass
class Graph:
    """What was added so far.

    Attributes:
      tensors: the network's, by torch's names, in torch's layouts.
      nodes: protocol buffers of ONNX.
      constants: values by their names; those of `tensors` that are used, and others.
    """

    tensors: Mapping[str, np.ndarray]
    nodes: list[Any] = dataclasses.field(default_factory=list)
    constants: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        from onnx import helper

        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A value that is no tensor of the network."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def tensor(self, name: str, *, transposed: bool = False) -> str:
        """A tensor of the network."""
        kept = f"{name}.T" if transposed else name
        value = self.tensors[name]
        self.constants[kept] = np.ascontiguousarray(value.T) if transposed else value
        return kept


def conv(
    graph: Graph,
    x: str,
    name: str,
    *,
    stride: int = 1,
    pads: Pads = (0, 0, 0, 0),
    depthwise: bool = False,
) -> str:
    """A convolution, with a bias if the network has one of that name."""
    weight = graph.tensors[f"{name}.weight"]
    parts = [graph.tensor(f"{name}.weight")]
    if f"{name}.bias" in graph.tensors:
        parts.append(graph.tensor(f"{name}.bias"))
    return graph.add(
        "Conv",
        x,
        *parts,
        kernel_shape=weight.shape[2:],
        strides=(stride, stride),
        pads=pads,
        group=len(weight) if depthwise else 1,
    )


def batch_norm(graph: Graph, x: str, name: str) -> str:
    """Batch norm in evaluation; x as it is if the network has none of that name."""
    if f"{name}.weight" not in graph.tensors:
        return x
    leaves = ("weight", "bias", "running_mean", "running_var")
    parts = [graph.tensor(f"{name}.{leaf}") for leaf in leaves]
    return graph.add("BatchNormalization", x, *parts, epsilon=1e-5)


def max_pool(
    graph: Graph, x: str, *, size: int, stride: int, pads: Pads = (0, 0, 0, 0)
) -> str:
    """The largest of each window."""
    form = {"kernel_shape": (size, size), "strides": (stride, stride), "pads": pads}
    return graph.add("MaxPool", x, **form)


def mean(graph: Graph, x: str) -> str:
    """[B, C, H, W] -> [B, C]."""
    return graph.add("Flatten", graph.add("GlobalAveragePool", x), axis=1)


def linear(graph: Graph, x: str, name: str) -> str:
    """[B, F] -> [B, F'], with a bias if the network has one of that name."""
    parts = [graph.tensor(f"{name}.weight")]
    if f"{name}.bias" in graph.tensors:
        parts.append(graph.tensor(f"{name}.bias"))
    return graph.add("Gemm", x, *parts, transB=1)


def dense(graph: Graph, x: str, name: str) -> str:
    """[B, T, D] -> [B, T, D']."""
    product = graph.add("MatMul", x, graph.tensor(f"{name}.weight", transposed=True))
    return graph.add("Add", product, graph.tensor(f"{name}.bias"))


def layer_norm(graph: Graph, x: str, name: str, epsilon: float) -> str:
    """Layer norm over the last axis."""
    parts = graph.tensor(f"{name}.weight"), graph.tensor(f"{name}.bias")
    return graph.add("LayerNormalization", x, *parts, axis=-1, epsilon=epsilon)


def gelu(graph: Graph, x: str) -> str:
    """x / 2 (1 + erf(x / sqrt(2)))."""
    inner = graph.add("Erf", graph.add("Div", x, graph.constant(np.sqrt(2))))
    half = graph.add("Mul", x, graph.constant(0.5))
    return graph.add("Mul", half, graph.add("Add", inner, graph.constant(1)))


def normalized(graph: Graph, x: str) -> str:
    """[B, F], each row divided by its length."""
    length = graph.add("ReduceL2", x, graph.constant([1], np.int64), keepdims=1)
    return graph.add("Div", x, graph.add("Max", length, graph.constant(1e-12)))


def unit(graph: Graph, x: str) -> str:
    """[B, F], each row divided by its root mean square; rows of zeros are kept."""
    axis = graph.constant([1], np.int64)
    x = _divided(graph, x, graph.add("ReduceMax", graph.add("Abs", x), axis))
    square = graph.add("ReduceMean", graph.add("Mul", x, x), axis)
    return _divided(graph, x, graph.add("Sqrt", square))


def _divided(graph: Graph, x: str, by: str) -> str:
    zero = graph.add("Equal", by, graph.constant(0))
    return graph.add("Div", x, graph.add("Where", zero, graph.constant(1), by))


def reshaped(graph: Graph, x: str, shape: Sequence[int]) -> str:
    """x in another shape; 0 keeps an axis."""
    return graph.add("Reshape", x, graph.constant(shape, np.int64))
