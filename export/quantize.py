"""Static int8 of a float file: ai-edge-quantizer for .tflite, ONNX Runtime's QDQ for .onnx.

Weights per channel, activations calibrated on training images.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import runtimes
from edgekd.errors import EdgeKDError
from edgekd.extras import require
from edgekd.store import atomic_path, scratch_folder, write_bytes


def quantize_tflite(
    source: Path, target: Path, calibration_NHWC: np.ndarray, whole_output: bool = False
) -> None:
    """Writes `target`: weights and activations int8 (recipe static_wi8_ai8).

    The quantizer takes the range of a tensor for the average of the images' ranges. With `whole_output`
    that of the logits is the widest instead: they must not stop short of a threshold.

    Raises:
        EdgeKDError: the quantizer refuses the file.
    """
    quantizer_module = require("ai_edge_quantizer.quantizer", "export")
    recipe = require("ai_edge_quantizer.recipe", "export")
    quantizer = quantizer_module.Quantizer(str(source), recipe.static_wi8_ai8())
    signature, name = _signature(source)
    samples = [{name: image[None]} for image in calibration_NHWC]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            calibrated = quantizer.calibrate({signature: samples}, num_threads=2)
            if whole_output:
                _widen_output(calibrated, source, calibration_NHWC)
            result = quantizer.quantize(calibrated)
    except (ValueError, RuntimeError) as error:
        raise EdgeKDError(f"{source.name}: cannot be quantized ({error})") from error
    # Not export_model: it writes through a memory map, and on a full disk that kills the process.
    write_bytes(target, result.quantized_model)


def _widen_output(
    calibrated: dict[str, dict[str, Any]], source: Path, calibration_NHWC: np.ndarray
) -> None:
    """Sets the range of the file's output to all that it says of the calibration images."""
    runner = runtimes.load(source)
    name = runner.outputs[0].name
    if name not in calibrated:
        raise EdgeKDError(f"{source.name}: its output '{name}' was not calibrated")
    logits = np.concatenate([runtimes.predict_logits(runner, x[None]) for x in calibration_NHWC])
    for key, value in (("min", logits.min()), ("max", logits.max())):
        calibrated[name][key] = np.full_like(calibrated[name][key], value)


def quantize_onnx(source: Path, target: Path, calibration_NHWC: np.ndarray) -> None:
    """Writes `target`: QDQ int8, weights per channel, activations by min and max.

    Activations unsigned: signed ones cost 1 to 2 points more of the demo's accuracy.

    Raises:
        EdgeKDError: the quantizer refuses the file.
    """
    quantization = require("onnxruntime.quantization", "export")
    shape_inference = require("onnxruntime.quantization.shape_inference", "export")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self._images: Iterator[np.ndarray] = iter(calibration_NHWC)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image[None]}

    with scratch_folder(target) as folder, atomic_path(target) as temporary:
        prepared = folder / "prepared.onnx"
        try:
            shape_inference.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(temporary),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
        except (ValueError, RuntimeError) as error:
            raise EdgeKDError(f"{source.name}: cannot be quantized ({error})") from error


def _signature(path: Path) -> tuple[str, str]:
    """Returns (signature key, its one input's name) of a .tflite file."""
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(model_path=str(path)).get_signature_list()
    key = next(iter(signatures))
    return key, signatures[key]["inputs"][0]
