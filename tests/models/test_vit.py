"""ViT against timm's forward (1.0.31, torch 2.13.0) on random weights by a seed."""

import numpy as np
import pytest
import safetensors.numpy

from dact_jax import errors
from dact_jax.models import backbones, pretrained
from dact_jax.models.frozen import families, vit
from tests import toy

# As the fixture was made: the number of a case seeds its weights, then its images.
CASES = {
    "plain": vit.Form(128, 2, 16, 3, 0, 1, False),
    "dinov2": vit.Form(128, 2, 14, 4, 0, 1, True),
    "registers": vit.Form(128, 2, 14, 4, 4, 0, True),
    "all_placed": vit.Form(128, 2, 16, 3, 2, 3, False),
}
# Sides of other images, for which timm resizes the positions.
RESIZED = {"dinov2": 42, "registers": 84}


def random_tensors(case):
    """Tensors by timm's names, and the generator."""
    random, tensors = np.random.default_rng(list(CASES).index(case)), {}
    shapes = vit.shapes(CASES[case])
    for name in sorted(shapes):
        values = random.standard_normal(shapes[name]).astype(np.float32)
        if ("norm" in name and name.endswith("weight")) or name.endswith("gamma"):
            values = 1 + np.float32(0.1) * values
        elif name.endswith("bias"):
            values = np.float32(0.1) * values
        elif values.ndim in (2, 4):
            values = values * np.float32(np.prod(values.shape[1:]) ** -0.5)
        tensors[name] = values
    return tensors, random


def in_dinov2(tensors):
    """The same network by DINOv2's names, in chunks of one block."""
    renamed = {"mask_token": np.zeros((1, 128), np.float32)}
    for name, tensor in tensors.items():
        if name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            name = f"blocks.{number}.{number}.{rest}"
        renamed[name.replace("reg_token", "register_tokens")] = tensor
    if "reg_token" in tensors:  # the class token has a position
        class_position = np.full((1, 1, 128), 0.25, np.float32)
        renamed["cls_token"] = tensors["cls_token"] - class_position
        position = [class_position, tensors["pos_embed"]]
        renamed["pos_embed"] = np.concatenate(position, axis=1)
    return renamed


def embed(tensors, path, images, **options):
    safetensors.numpy.save_file(tensors, path)
    backbone = backbones.load(str(path), normalize="half", **options)
    return backbone, np.asarray(backbone.forward(backbone.variables, images))


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_those_of_timm(case, tmp_path):
    tensors, random = random_tensors(case)
    side = CASES[case].grid * CASES[case].patch
    images = random.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    backbone, actual = embed(tensors, tmp_path / "x.safetensors", images)
    expected = toy.golden("vit")[case]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert (backbone.side, backbone.width) == (side, 128)
    assert np.abs(expected[0] - expected[1]).mean() > 0.1


@pytest.mark.parametrize("case", ["dinov2", "registers"])
def test_dinov2s_names_mean_the_same(case, tmp_path):
    tensors, random = random_tensors(case)
    images = random.integers(0, 256, (2, 56, 56, 3), dtype=np.uint8)
    tensors = in_dinov2(tensors)
    named = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    named["dino_head.last_layer.weight"] = np.zeros((3, 3), np.float32)
    _, actual = embed(named, tmp_path / "x.safetensors", images)
    expected = toy.golden("vit")[case]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", RESIZED)
def test_positions_of_other_sides_are_those_of_timm(case, tmp_path):
    tensors, _ = random_tensors(case)
    side = RESIZED[case]
    random = np.random.default_rng(10 + list(CASES).index(case))
    images = random.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    _, actual = embed(tensors, tmp_path / "x.safetensors", images, side=side)
    expected = toy.golden("vit")[f"{case}_resized"]
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def template(form):
    shapes = vit.shapes(form)
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def test_sizes_are_read_from_the_shapes():
    for form, name in {
        vit.Form(384, 12, 16, 14, 0, 1, False): "vit_small_patch16",
        vit.Form(768, 12, 14, 37, 0, 1, True): "vit_base_patch14",
        vit.Form(1024, 24, 14, 37, 4, 1, True): "vit_large_patch14_reg4",
        vit.Form(192, 12, 16, 14, 0, 1, False): "vit_192x12_patch16",
    }.items():
        shapes = vit.shapes(form)
        assert form.name == name
        tensors = {key: np.empty(shape, "V1") for key, shape in shapes.items()}
        assert vit.form(tensors, "x") == form
    count = sum(np.prod(s) for s in shapes.values())
    assert count == 5_524_416  # of timm's vit_tiny_patch16_224 without its head


def test_dinov2_is_used_at_224_and_normalized_as_it_was_trained():
    form = vit.Form(64, 1, 14, 37, 0, 1, True)
    weights = pretrained.Weights("x", template(form))
    found = families.recognize(weights, families.Options())
    assert (found.side, found.mean[0]) == (224, 123.675)
    assert found.variables["params"]["pos_embed"].shape == (1, 257, 64)
    whole = families.recognize(weights, families.Options(side=518))
    assert whole.variables["params"]["pos_embed"].shape == (1, 1370, 64)
    plain = pretrained.Weights("x", template(form._replace(scaled=False)))
    assert families.recognize(plain, families.Options()).mean[0] == 127.5


def refused(tensors, **options):
    with pytest.raises(errors.InputError) as caught:
        families.recognize(
            pretrained.Weights("x.pth", tensors), families.Options(**options)
        )
    return str(caught.value)


SMALL = vit.Form(64, 2, 8, 2, 0, 1, False)
CHANGES = {
    "swiglu": ({"blocks.0.mlp.w12.weight": (3, 3)}, "has 'blocks.0.mlp.w12.weight'"),
    "average": (
        {"fc_norm.weight": (64,)},
        "is vit_64x2_patch8, but the file has 'fc_n",
    ),
    "positions": ({"pos_embed": (1, 7, 64)}, "7 positions, and not those of a square"),
    "flat": ({"pos_embed": (7, 64)}, "0 positions"),
    "width": ({vit.ANCHOR: (65, 3, 8, 8)}, "must be a multiple of 64"),
    "gray": ({vit.ANCHOR: (64, 1, 8, 8)}, "square patches of RGB"),
    "scalar": ({vit.ANCHOR: ()}, "square patches of RGB"),
    "no width": ({vit.ANCHOR: (0, 3, 8, 8)}, "must be a multiple of 64"),
    "no patch": ({vit.ANCHOR: (64, 3, 0, 0)}, "must be a multiple of 64"),
    "shape": (
        {"blocks.1.mlp.fc1.weight": (64, 64)},
        "has the shape [64, 64]; vit_64x2",
    ),
    "deep": (
        {"blocks.99999999.norm1.bias": (64,)},
        "the file lacks 'blocks.2.norm1.weight' and 11 more and has",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_other_networks_are_refused(case):
    shapes, part = CHANGES[case]
    changed = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    assert part in refused(template(SMALL) | changed)


def test_missing_tensors_are_named():
    tensors = template(SMALL)
    del tensors["blocks.1.norm2.bias"], tensors["norm.weight"]
    said = refused(tensors)
    assert "nearest is vit_64x2_patch8, but the file lacks 'norm.weight' and 1" in said


def test_a_side_must_consist_of_patches():
    assert "give a multiple of 8" in refused(template(SMALL), side=52)


def test_several_networks_in_a_file_are_named():
    tensors = template(SMALL)
    both = {
        f"{who}.backbone.{name}": tensor
        for who in ("student", "teacher")
        for name, tensor in tensors.items()
    }
    assert "under 'student.backbone.' and 'teacher.backbone.'" in refused(both)
