"""Config sections of teachers can be read without the libraries that the teachers need."""

from __future__ import annotations

import subprocess
import sys


def test_importing_a_teacher_loads_no_heavy_library() -> None:
    modules = ", ".join(f"captioning.teachers.{m}" for m in ("captions_file", "classifier", "clip"))
    heavy = {"onnxruntime", "open_clip", "pyarrow", "sklearn", "timm", "torch", "transformers"}
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
