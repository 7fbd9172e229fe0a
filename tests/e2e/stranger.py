"""A stranger's app: numpy, Pillow and ai-edge-litert, an unzipped bundle, and a folder of images.

Knows nothing of edgekd; everything it does is in preprocess.json and labels.txt. Prints how many
of the test images of the folder's labels.csv the model names right, and what it says of each, as
JSON. Computes in float32, as an app may.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

bundle, images = Path(sys.argv[1]), Path(sys.argv[2])
labels = (bundle / "labels.txt").read_text(encoding="utf-8").splitlines()
settings = json.loads((bundle / "preprocess.json").read_text(encoding="utf-8"))
(entry,), (output,) = settings["inputs"], settings["outputs"]
assert entry["resize"]["mode"] == "stretch"
assert entry["layout"] == "NHWC"
resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[
    entry["resize"]["interpolation"]
]

interpreter = Interpreter(model_path=str(bundle / "model.tflite"))
interpreter.allocate_tensors()
(taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
assert list(taken["shape"]) == entry["shape"]
assert taken["dtype"].__name__ == entry["dtype"]


def logits(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    image = image.resize((entry["resize"]["width"], entry["resize"]["height"]), resample)
    values = np.asarray(image, dtype=np.float32) / np.float32(255)
    values = (values - np.float32(entry["mean"])) / np.float32(entry["std"])
    if entry["scale"] is not None:
        limits = np.iinfo(entry["dtype"])
        values = np.round(values / entry["scale"]) + entry["zero_point"]
        values = np.clip(values, limits.min, limits.max)
    interpreter.set_tensor(taken["index"], values[None].astype(entry["dtype"]))
    interpreter.invoke()
    raw = interpreter.get_tensor(given["index"])[0].astype(np.float32)
    if output["scale"] is None:
        return raw
    return (raw - np.float32(output["zero_point"])) * np.float32(output["scale"])


def answer(path: Path) -> dict[str, object]:
    values = logits(path)
    exps = np.exp((values - values.max()) / np.float32(output.get("temperature", 1.0)))
    probability = (exps / exps.sum()).max()
    below = settings.get("reject_below")
    assert settings.get("reject_by", "probability") == "probability"
    return {
        "label": labels[int(values.argmax())],
        "probability": float(probability),
        "rejected": below is not None and bool(probability < np.float32(below)),
    }


with (images / "labels.csv").open(newline="", encoding="utf-8") as stream:
    rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
answers = [answer(images / row["path"]) for row in rows]
right = sum(said["label"] == row["label"] for said, row in zip(answers, rows, strict=True))
found = {"right": right, "n": len(rows), "answers": answers, "modules": sorted(sys.modules)}
json.dump(found, sys.stdout)
