"""Writing an ONNX file with nothing but numpy: the `onnx` package is a tool for developers, the core does without.

The same graph always becomes the same bytes, so that a converted classifier can be known by its digest. Field numbers
are those of onnx.proto, encoded as protocol buffers do it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 17
#: The version of the file format that came with it.
IR_VERSION = 8
_FLOAT, _INT64 = 1, 7
_KINDS = {"float32": _FLOAT, "int64": _INT64}

#: Attribute value: number, text, or a list of whole numbers.
Attribute = float | int | str | Sequence[int]
#: A size per axis; a name where it may vary.
Shape = Sequence[int | str]


class OnnxGraph:
    """Collects constants and nodes, each under the name of what it puts out."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Weights or a list of axes, as float32 or int64."""
        array = np.asarray(values, order="C")
        kind = _KINDS[str(array.dtype)]
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        dims = b"".join(_number(1, size) for size in array.shape)
        self._constants.append(dims + _number(2, kind) + _text(8, name) + _bytes(9, little.tobytes()))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """Adds an operation with one output and returns its name."""
        output = f"{operator.lower()}_{len(self._nodes)}"
        parts = [_text(1, name) for name in inputs]
        parts += [_text(2, output), _text(3, output), _text(4, operator)]
        parts += [_bytes(5, _attribute(name, value)) for name, value in sorted(attributes.items())]
        self._nodes.append(b"".join(parts))
        return output

    def to_bytes(self, *, source: tuple[str, Shape], result: tuple[str, Shape]) -> bytes:
        """The file, for one input and one output of float32."""
        graph = [_bytes(1, node) for node in self._nodes]
        graph += [_text(2, self._name)]
        graph += [_bytes(5, constant) for constant in self._constants]
        graph += [_bytes(11, _value(*source)), _bytes(12, _value(*result))]
        opset = _text(1, "") + _number(2, OPSET)
        head = _number(1, IR_VERSION) + _text(2, "aquatint")
        return head + _bytes(7, b"".join(graph)) + _bytes(8, opset)


def _value(name: str, shape: Shape) -> bytes:
    dims = (_number(1, size) if isinstance(size, int) else _text(2, size) for size in shape)
    tensor = _number(1, _FLOAT) + _bytes(2, b"".join(_bytes(1, dim) for dim in dims))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _attribute(name: str, value: Attribute) -> bytes:
    """An AttributeProto; its type is 1 for a float, 2 for an int, 3 for a string, 7 for a list of ints."""
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, 3)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    if isinstance(value, float):
        return _text(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    return _text(1, name) + b"".join(_number(8, each) for each in value) + _number(20, 7)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & (1 << 64) - 1)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have their high bit set."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
