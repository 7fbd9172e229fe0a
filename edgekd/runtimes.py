"""Runs an exported file: LiteRT for .tflite, ONNX Runtime for .onnx. The only place that does.

N images, H W height and width, K outputs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgekd.errors import EdgeKDError, UsageError
from edgekd.records import TensorSpec

_ORT_DTYPES = {
    "tensor(float)": "float32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
}


class Runner(Protocol):
    """A loaded file. `invoke` takes and returns what the file itself takes and returns."""

    runtime: str
    version: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]

    def invoke(self, *arrays: np.ndarray) -> list[np.ndarray]: ...


def load(path: Path, threads: int = 1, quiet: bool = True) -> Runner:
    """Returns a runner for a .tflite or .onnx file; `quiet` mutes what native code says of itself.

    Raises:
        UsageError: no such file, or another kind of file.
        EdgeKDError: the runtime refuses the file.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if path.suffix == ".tflite":
        return TfliteRunner(path, threads, quiet)
    if path.suffix == ".onnx":
        return OnnxRunner(path, threads)
    raise UsageError(
        f"{path}: expected a .tflite or .onnx file, found '{path.suffix or 'no suffix'}'"
    )


class TfliteRunner:
    """LiteRT's interpreter, or tflite-runtime's where only that is installed."""

    def __init__(self, path: Path, threads: int = 1, quiet: bool = True):
        interpreter_class, self.runtime, self.version = _interpreter_class()
        self._name = path.name
        try:
            with _muted() if quiet else contextlib.nullcontext():
                self._interpreter = interpreter_class(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise EdgeKDError(f"{path}: {self.runtime} refuses it ({error})") from error
        self.inputs = [_tflite_spec(d) for d in self._interpreter.get_input_details()]
        self.outputs = [_tflite_spec(d) for d in self._interpreter.get_output_details()]
        self._input_ids = [d["index"] for d in self._interpreter.get_input_details()]
        self._output_ids = [d["index"] for d in self._interpreter.get_output_details()]

    def invoke(self, *arrays: np.ndarray) -> list[np.ndarray]:
        for index, array in zip(self._input_ids, arrays, strict=True):
            self._interpreter.set_tensor(index, array)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise EdgeKDError(f"{self._name}: {self.runtime} cannot run it ({error})") from error
        return [self._interpreter.get_tensor(index) for index in self._output_ids]


class OnnxRunner:
    """ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int = 1):
        import onnxruntime

        self.runtime, self.version = "onnxruntime", onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors share no base but Exception
            raise EdgeKDError(f"{path}: onnxruntime refuses it ({error})") from error
        self.inputs = [_onnx_spec(value) for value in self._session.get_inputs()]
        self.outputs = [_onnx_spec(value) for value in self._session.get_outputs()]

    def invoke(self, *arrays: np.ndarray) -> list[np.ndarray]:
        feeds = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        return self._session.run(None, feeds)


def predict_logits(runner: Runner, inputs_NHWC: np.ndarray) -> np.ndarray:
    """Returns float32 outputs [N, K] of a one-input model, image by image as a phone does.

    `inputs_NHWC` is normalized float32; it is quantized and dequantized by the file's own
    scales where the file wants integers.
    """
    rows = [
        dequantize(runner.invoke(as_input(image[None], runner.inputs[0]))[0], runner.outputs[0])
        for image in inputs_NHWC
    ]
    return np.concatenate(rows).astype(np.float32)


def as_input(batch_NHWC: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Returns the batch in the layout and dtype the file wants."""
    batch = batch_NHWC.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else batch_NHWC
    if spec.dtype == "float32":
        return np.ascontiguousarray(batch, dtype=np.float32)
    if spec.scale is None or spec.zero_point is None:
        raise EdgeKDError(f"input '{spec.name}' is {spec.dtype} but has no scale and zero point")
    limits = np.iinfo(spec.dtype)
    quantized = np.round(batch / spec.scale) + spec.zero_point
    return np.clip(quantized, limits.min, limits.max).astype(spec.dtype)


def dequantize(values: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Returns float32 values of an output."""
    if spec.scale is None or spec.zero_point is None:
        return values.astype(np.float32)
    return (values.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Within it, nothing native reaches stderr: LiteRT announces its delegate there each time."""
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _interpreter_class() -> tuple[Any, str, str]:
    from importlib.metadata import version

    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter, "litert", version("ai-edge-litert")
    except ModuleNotFoundError:
        pass
    try:
        from tflite_runtime.interpreter import Interpreter as TfliteInterpreter

        return TfliteInterpreter, "tflite-runtime", version("tflite-runtime")
    except ModuleNotFoundError as error:
        raise EdgeKDError(
            "no runtime for .tflite files. Install one with: pip install ai-edge-litert"
        ) from error


def _tflite_spec(details: dict[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    shape = tuple(int(size) for size in details["shape"])
    return TensorSpec(
        name=details["name"],
        shape=shape,
        dtype=np.dtype(details["dtype"]).name,
        layout=_layout(shape),
        scale=float(scale) if scale else None,
        zero_point=int(zero_point) if scale else None,
    )


def _onnx_spec(value: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else 1 for size in value.shape)
    return TensorSpec(
        name=value.name,
        shape=shape,
        dtype=_ORT_DTYPES.get(value.type, value.type),
        layout=_layout(shape),
    )


def _layout(shape: tuple[int, ...]) -> Any:
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        return "NCHW"
    return "NHWC" if len(shape) == 4 else "NC"
