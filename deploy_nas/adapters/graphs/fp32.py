"""The float32 graph of a network.

Its form suits ONNX Runtime. HardSwish and HardSigmoid are one operator each, a global pool replaces two
means, and batch norms are folded, so that activations fuse into their convolutions. The gate of a
squeeze-and-excitation is enlarged to the image before it is multiplied, and the classifier is a 1x1
convolution, so that the whole network stays in the runtime's blocked layout (docs/notes/export.md has the
gain from each). Nodes are named by place and role (``stage2.block1/depthwise``); the same input gives the
same bytes.
"""

from __future__ import annotations

from deploy_nas.adapters.graphs.nodes import INPUT, Nodes, Weights, convolution, pooling
from deploy_nas.core.errors import RecordError
from deploy_nas.core.layers import Activation, Conv, GlobalPool, Linear, Operator, Pool, SqueezeExcite
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.core.walk import NamedLayers, walk

_ACTIVATIONS: dict[str, str] = {"relu": "Relu", "hard_swish": "HardSwish"}


class Fp32Emitter(Nodes):
    """Emits float nodes; an image is represented by the name of its tensor."""

    def __init__(self, weights: Weights | None, *, fixed_batch: bool = True) -> None:
        super().__init__()
        self.weights, self.fixed_batch = weights, fixed_batch

    def conv(self, op: Conv, name: str, in_size: int, x: str) -> str:
        """A Conv and its activation."""
        made = self.node("Conv", name, [x, *self._tensors(op, name)], **convolution(op, in_size))
        return self._activation(op.activation, name, made)

    def squeeze_excite(self, op: SqueezeExcite, name: str, in_size: int, x: str) -> str:
        """A global pool, two 1x1 Convs, and the product with the image."""
        reduce, reduce_bias, expand, expand_bias = self._tensors(op, name)
        gate = self.node("GlobalAveragePool", f"{name}.pool", [x])
        gate = self.node("Conv", f"{name}.reduce", [gate, reduce, reduce_bias], kernel_shape=[1, 1])
        gate = self.node("Relu", f"{name}.reduce.relu", [gate])
        gate = self.node("Conv", f"{name}.expand", [gate, expand, expand_bias], kernel_shape=[1, 1])
        gate = self.node("HardSigmoid", f"{name}.gate", [gate], alpha=1.0 / 6.0, beta=0.5)
        # A Mul of equal shapes stays in the blocked layout, and the runtime knows that they are equal only if
        # the batch size is fixed.
        if in_size > 1 and self.fixed_batch:
            gate = self._enlarge(f"{name}.gate.resize", gate, in_size)
        return self.node("Mul", name, [x, gate])

    def pool(self, op: Pool, name: str, in_size: int, x: str) -> str:
        """A MaxPool or an AveragePool."""
        kind, attributes = pooling(op, in_size)
        return self.node(kind, name, [x], **attributes)

    def global_pool(self, op: GlobalPool, name: str, in_size: int, x: str) -> str:
        """A GlobalAveragePool."""
        return self.node("GlobalAveragePool", name, [x])

    def linear(self, op: Linear, name: str, in_size: int, x: str) -> str:
        """A 1x1 Conv, then Flatten."""
        x = self.node("Conv", name, [x, *self._tensors(op, name)], kernel_shape=[1, 1])
        return self.node("Flatten", f"{name}.flatten", [x])

    def add(self, activation: Activation, name: str, x: str, skip: str) -> str:
        """An Add and its activation."""
        return self._activation(activation, name, self.node("Add", name, [x, skip]))

    def _tensors(self, op: Operator, name: str) -> list[str]:
        """The operator's weights and biases, in its order."""
        return [self._weight(f"{name}.{suffix}", spec) for suffix, spec in op.tensors.items()]

    def _weight(self, name: str, spec: TensorSpec) -> str:
        if self.weights is None:
            return self.tensor(name, spec, None)
        value = self.weights[name]
        if value.shape != spec.shape:
            raise RecordError(f"has shape {value.shape}, the layer needs {spec.shape}", subject=name)
        return self.tensor(name, spec, value.astype("<f4", copy=False))

    def _activation(self, kind: Activation, name: str, x: str) -> str:
        if not kind:
            return x
        if kind == "relu6":
            bounds = [
                self.constant(f"{name}.{end}", "float32", [value])
                for end, value in (("low", 0.0), ("high", 6.0))
            ]
            return self.node("Clip", f"{name}.relu6", [x, *bounds])
        return self.node(_ACTIVATIONS[kind], f"{name}.{kind}", [x])

    def _enlarge(self, name: str, x: str, size: int) -> str:
        """Enlarge one pixel to a square image of side ``size``."""
        factors = [1.0, 1.0, float(size), float(size)]
        scales = self.constant(f"{name}.scales", "float32", factors, (4,))
        # No region of interest, as an empty tensor: CoreML and NNAPI take a missing one for one that varies.
        region = self.constant(f"{name}.roi", "float32", (), (0,))
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", name, [x, region, scales], mode="nearest", **how)


def emit_fp32(layers: NamedLayers, weights: Weights | None, *, fixed_batch: bool = True) -> Nodes:
    """The nodes of a network (or one layer) in float32.

    Args:
        layers: places and their layers, in order.
        weights: float32 by name, as ``core.walk.weight_tensors`` lists them; ``None`` leaves the values out.
        fixed_batch: whether the batch size is fixed.

    Raises:
        RecordError: a weight has the wrong shape.
    """
    emitter = Fp32Emitter(weights, fixed_batch=fixed_batch)
    walk(layers, emitter, INPUT)
    return emitter
