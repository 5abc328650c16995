"""Runs ONNX networks in torch, differentiably and on any device: a list of steps and the tensors they need.

`convert` needs the package onnx; `Network` needs torch alone, so that a training machine may do without the former.
Only what the face recogniser (w600k_mbf) and the background remover (u2netp) are made of is there.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPES_ONLY = {"Constant", "Shape", "Gather", "Unsqueeze", "Slice", "Cast"}  # they only work out the sizes of Resize


def convert(path: Path, target: Path) -> None:
    """Writes an ONNX file's first output as .npz: `steps` in JSON and the tensors, in half precision."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)), data_prop=True)
    sizes = {
        value.name: [each.dim_value for each in value.type.tensor_type.shape.dim] for value in model.graph.value_info
    }
    sized = _sized_by_skip(model)
    steps = []
    for node in model.graph.node:
        if node.op_type in SHAPES_ONLY or (node.op_type == "Concat" and not sizes.get(node.output[0], [1])[1:]):
            continue
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name != "mode"}
        numbers = {name: x for name, x in settings.items() if isinstance(x, int | float | list)}
        inputs = [node.input[0], sized[node.output[0]]] if node.op_type == "Resize" else list(node.input)
        steps.append([node.op_type, inputs, node.output[0], numbers])
    tensors = {x.name: numpy_helper.to_array(x).astype(np.float16) for x in model.graph.initializer}
    ends = [model.graph.input[0].name, model.graph.output[0].name]
    used = {name for _, inputs, _, _ in steps for name in inputs}
    kept: dict[str, Any] = {name: x for name, x in tensors.items() if name in used}
    np.savez(target, **kept, steps=np.frombuffer(json.dumps([ends, steps]).encode(), np.uint8))


def _sized_by_skip(model: Any) -> dict[str, str]:
    """For each Resize the value whose height and width it takes: u2netp reads them off another one by Shape."""
    makers = {output: node for node in model.graph.node for output in node.output}

    def origin(name: str) -> str:
        node = makers[name]
        return node.input[0] if node.op_type == "Shape" else origin(_last_not_constant(node, makers))

    return {node.output[0]: origin(node.input[-1]) for node in model.graph.node if node.op_type == "Resize"}


def _last_not_constant(node: Any, makers: dict[str, Any]) -> str:
    return [name for name in node.input if name in makers and makers[name].op_type != "Constant"][-1]


class Network(nn.Module):
    """Runs a converted file; its parameters do not learn, but what goes in does."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        with np.load(path) as file:
            (self.start, self.end), self.steps = json.loads(file["steps"].tobytes())
            self.names = [name for name in file.files if name != "steps"]
            for number, name in enumerate(self.names):
                self.register_buffer(f"x{number}", torch.from_numpy(file[name]).float())
        self.last = {name: number for number, (_, inputs, _, _) in enumerate(self.steps) for name in inputs}

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, [self.end])[0]

    def run(self, x: Tensor, wanted: list[str]) -> list[Tensor]:
        """The values of these names; each other one is let go after its last use, for a batch's are gigabytes."""
        values: dict[str, Any] = {name: getattr(self, f"x{number}") for number, name in enumerate(self.names)}
        values[self.start] = x
        for number, (kind, inputs, output, settings) in enumerate(self.steps):
            values[output] = OPERATIONS[kind](*(values[name] for name in inputs if name), **settings)
            for name in {*inputs, output} - {*wanted}:
                if self.last.get(name, -1) <= number:
                    values.pop(name, None)
            if all(name in values for name in wanted):
                break
        return [values[name] for name in wanted]

    def features(self, x: Tensor, at: tuple[int, ...]) -> list[Tensor]:
        """What these steps give, each pixel's channels brought to length 1: a distance of looks, as in LPIPS."""
        return [F.normalize(value, dim=1) for value in self.run(x, [self.steps[number][2] for number in at])]


def convolve(x: Tensor, w: Tensor, b: Tensor | None = None, **s: Any) -> Tensor:
    return F.conv2d(x, w, b, s["strides"], s["pads"][:2], s["dilations"], s["group"])


def normalise(x: Tensor, w: Tensor, b: Tensor, mean: Tensor, variance: Tensor, **s: Any) -> Tensor:
    return F.batch_norm(x, mean, variance, w, b, eps=s["epsilon"])


OPERATIONS: dict[str, Any] = {
    "Add": lambda x, y: x + y,
    "BatchNormalization": normalise,
    "Concat": lambda *x, axis: torch.cat(x, axis),
    "Conv": convolve,
    "Flatten": lambda x, axis: x.flatten(axis),
    "Gemm": lambda x, w, b, **s: F.linear(x, w, b),
    "MaxPool": lambda x, **s: F.max_pool2d(x, 2, 2, ceil_mode=True),
    "PRelu": lambda x, w: torch.where(x > 0, x, x * w),
    "Relu": torch.relu,
    "Resize": lambda x, like, **s: F.interpolate(x, size=like.shape[2:], mode="bilinear"),
    "Sigmoid": torch.sigmoid,
}
