"""The parts of a description as layers of an ONNX graph.

Each function takes a graph, the name of its input, and what begins the names of the
part's tensors, and returns the name of its output.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from dact_jax.exporting import onnx_graph, tensors
from dact_jax.exporting.description import Description, Part, Pixels
from dact_jax.exporting.onnx_graph import Graph, Pads
from dact_jax.models import heads, resnet
from dact_jax.models.frozen import efficientnet, vit


def network(graph: Graph, description: Description, x: str) -> str:
    """From the input of a model to its logits.

    Args:
      graph: with the tensors of the description.
      x: name of the input, float32.
    """
    side = 0
    if description.pixels is not None:
        x, side = _prepared(graph, description.pixels, x), description.pixels.crop
    if (backbone := description.backbone) is not None:
        x = _PARTS[backbone.kind](graph, x, tensors.BACKBONE, backbone, side)
    if description.unit:
        x = onnx_graph.unit(graph, x)
    encoder = description.encoder
    x = _PARTS[encoder.kind](graph, x, "", encoder, side)
    if description.bottleneck is not None:
        x = onnx_graph.linear(graph, x, heads.BOTTLENECK)
    if description.rectified:
        x = graph.add("Relu", x)
    return _head(graph, x, description.head_name, description.head)


def _prepared(graph: Graph, pixels: Pixels, x: str) -> str:
    """Pixels 0..255 as the first network sees them."""
    if pixels.crop < pixels.side:
        begin = round((pixels.side - pixels.crop) / 2)
        places = ([begin] * 2, [begin + pixels.crop] * 2, [2, 3])
        x = graph.add("Slice", x, *(graph.constant(p, np.int64) for p in places))
    for op, values in (("Sub", pixels.mean), ("Div", pixels.std)):
        shape = (1, -1, 1, 1)
        x = graph.add(op, x, graph.constant(np.reshape(values, shape)))
    return x


def _head(graph: Graph, x: str, name: str, head: Part) -> str:
    if head.kind == "TwoLayer":
        x, name = onnx_graph.linear(graph, x, f"{name}.fc1"), f"{name}.fc2"
    if head.kind == "Linear":
        return onnx_graph.linear(graph, x, name)
    x = onnx_graph.linear(graph, onnx_graph.normalized(graph, x), name)
    return graph.add("Div", x, graph.constant(head.options["temperature"]))


def _mlp(graph: Graph, x: str, start: str, part: Part, side: int) -> str:
    del side
    for layer in range(1, len(part.options["widths"]) + 1):
        x = onnx_graph.linear(graph, x, f"{start}fc{layer}")
        x = graph.add("Relu", onnx_graph.batch_norm(graph, x, f"{start}norm{layer}"))
    return x


def _lenet(graph: Graph, x: str, start: str, part: Part, side: int) -> str:
    del part, side
    for layer in (1, 2):
        x = onnx_graph.conv(graph, x, f"{start}conv{layer}")
        x = onnx_graph.batch_norm(graph, x, f"{start}norm{layer}")
        x = graph.add("Relu", onnx_graph.max_pool(graph, x, size=2, stride=2))
    x = graph.add("Flatten", x, axis=1)
    return graph.add("Relu", onnx_graph.linear(graph, x, f"{start}fc1"))


def _resnet(graph: Graph, x: str, start: str, part: Part, side: int) -> str:
    options = part.options
    x = onnx_graph.conv(graph, x, f"{start}conv1", stride=2, pads=(3, 3, 3, 3))
    x = graph.add("Relu", onnx_graph.batch_norm(graph, x, f"{start}bn1"))
    after = (side + 1) // 2
    odd = (after - 3) % 2
    pads: Pads = (0, 0, odd, odd) if options["mme"] else (1, 1, 1, 1)
    x = onnx_graph.max_pool(graph, x, size=3, stride=2, pads=pads)
    block = resnet.bottleneck if options["bottleneck"] else resnet.basic
    variant: resnet.Variant = "mme" if options["mme"] else "torchvision"
    for stage, count in enumerate(options["stages"]):
        for index in range(count):
            stride = 2 if stage and not index else 1
            layers = block(64 * 2**stage, stride, variant)
            name = f"{start}layer{stage + 1}.{index}."
            x = _residual(graph, x, name, layers, stride)
    return onnx_graph.mean(graph, x)


def _residual(
    graph: Graph, x: str, name: str, layers: tuple[resnet.Layer, ...], stride: int
) -> str:
    y = x
    for layer, (_, size, step) in enumerate(layers, 1):
        y = graph.add("Relu", y) if layer > 1 else y
        pad = size // 2
        pads = (pad, pad, pad, pad)
        y = onnx_graph.conv(graph, y, f"{name}conv{layer}", stride=step, pads=pads)
        y = onnx_graph.batch_norm(graph, y, f"{name}bn{layer}")
    if f"{name}downsample.0.weight" in graph.tensors:
        x = onnx_graph.conv(graph, x, f"{name}downsample.0", stride=stride)
        x = onnx_graph.batch_norm(graph, x, f"{name}downsample.1")
    return graph.add("Relu", graph.add("Add", x, y))


def _efficientnet(graph: Graph, x: str, start: str, part: Part, side: int) -> str:
    del part

    def relu6(x: str) -> str:
        return graph.add("Clip", x, graph.constant(0), graph.constant(6))

    x = relu6(_same(graph, x, f"{start}stem", side, 2))
    side, number, inputs = -(-side // 2), 0, efficientnet.STEM
    for stage in efficientnet.STAGES:
        for index in range(stage.blocks):
            name, y = f"{start}blocks.{number}.", x
            stride = 1 if index else stage.stride
            if stage.expansion > 1:
                y = relu6(_same(graph, y, f"{name}expand", side, 1))
            deep = _same(graph, y, f"{name}depthwise", side, stride, depthwise=True)
            side = -(-side // stride)
            y = _same(graph, relu6(deep), f"{name}project", side, 1)
            adds = stride == 1 and inputs == stage.channels
            x = graph.add("Add", x, y) if adds else y
            inputs, number = stage.channels, number + 1
    return onnx_graph.mean(graph, relu6(_same(graph, x, f"{start}head", side, 1)))


def _same(
    graph: Graph, x: str, name: str, side: int, stride: int, *, depthwise: bool = False
) -> str:
    """A convolution with TensorFlow's padding: an odd zero at the bottom and right."""
    size = graph.tensors[f"{name}.weight"].shape[-1]
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    low, high = total // 2, total - total // 2
    pads = (low, low, high, high)
    form: dict[str, Any] = {"stride": stride, "pads": pads, "depthwise": depthwise}
    return onnx_graph.conv(graph, x, name, **form)


def _vit(graph: Graph, x: str, start: str, part: Part, side: int) -> str:
    del side
    form, own = part.options, graph.tensors
    width, count, placed = form["width"], form["grid"] ** 2, form["placed"]
    x = onnx_graph.conv(graph, x, f"{start}patch_embed.proj", stride=form["patch"])
    x = onnx_graph.reshaped(graph, x, [0, width, count])
    x = graph.add("Transpose", x, perm=(0, 2, 1))
    position = own[f"{start}pos_embed"]
    x = graph.add("Add", x, graph.constant(position[:, placed:]))
    first = own[f"{start}cls_token"]
    if form["registers"]:
        first = np.concatenate([first, own[f"{start}reg_token"]], axis=1)
    first = first.copy()
    first[:, :placed] += position[:, :placed]
    zero, one = (graph.constant([n], np.int64) for n in (0, 1))
    batch = graph.add("Slice", graph.add("Shape", x), zero, one)
    rest = graph.constant([first.shape[1], width], np.int64)
    shape = graph.add("Concat", batch, rest, axis=0)
    x = graph.add(
        "Concat", graph.add("Expand", graph.constant(first), shape), x, axis=1
    )
    tokens = first.shape[1] + count
    for index in range(form["depth"]):
        x = _block(graph, x, f"{start}blocks.{index}.", tokens, width)
    x = graph.add("Gather", x, graph.constant(0, np.int64), axis=1)
    return onnx_graph.layer_norm(graph, x, f"{start}norm", vit.EPSILON)


def _block(graph: Graph, x: str, name: str, tokens: int, width: int) -> str:
    y = onnx_graph.layer_norm(graph, x, f"{name}norm1", vit.EPSILON)
    y = _attended(graph, onnx_graph.dense(graph, y, f"{name}attn.qkv"), tokens, width)
    y = onnx_graph.dense(graph, y, f"{name}attn.proj")
    x = graph.add("Add", x, _scaled(graph, y, f"{name}ls1.gamma"))
    y = onnx_graph.layer_norm(graph, x, f"{name}norm2", vit.EPSILON)
    y = onnx_graph.gelu(graph, onnx_graph.dense(graph, y, f"{name}mlp.fc1"))
    y = onnx_graph.dense(graph, y, f"{name}mlp.fc2")
    return graph.add("Add", x, _scaled(graph, y, f"{name}ls2.gamma"))


def _scaled(graph: Graph, x: str, name: str) -> str:
    if name not in graph.tensors:
        return x
    return graph.add("Mul", x, graph.tensor(name))


def _attended(graph: Graph, qkv: str, tokens: int, width: int) -> str:
    """Multi-head attention: [B, T, 3 D] -> [B, T, D]."""
    shape = [0, tokens, 3, width // vit.HEAD, vit.HEAD]
    parts = onnx_graph.reshaped(graph, qkv, shape)
    q, k, v = (
        graph.add(
            "Transpose",
            graph.add("Gather", parts, graph.constant(index, np.int64), axis=2),
            perm=perm,  # [B, heads, T, HEAD], and of k the last two the other way
        )
        for index, perm in enumerate(((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)))
    )
    q = graph.add("Div", q, graph.constant(np.sqrt(vit.HEAD)))
    weight = graph.add("Softmax", graph.add("MatMul", q, k), axis=-1)
    y = graph.add("Transpose", graph.add("MatMul", weight, v), perm=(0, 2, 1, 3))
    return onnx_graph.reshaped(graph, y, [0, tokens, width])


_PARTS: dict[str, Callable[[Graph, str, str, Part, int], str]] = {
    "MLP": _mlp,
    "LeNet": _lenet,
    "ResNet": _resnet,
    "EfficientNetLite0": _efficientnet,
    "ViT": _vit,
}
