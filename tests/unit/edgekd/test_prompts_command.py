"""`edgekd prompts show` from outside: text, JSON, exit codes, and nothing heavy imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "timm", "transformers", "sklearn", "onnx", "matplotlib"]
THEN_LIST_HEAVY = f"""
import sys
from edgekd.cli import main
sys.argv = ["edgekd", *sys.argv[1:]]
try:
    main()
finally:
    print("heavy:", [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def edgekd(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", THEN_LIST_HEAVY, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_text_and_json_say_the_same() -> None:
    words = ("prompts", "show", "classification", "--language", "zh", "--set", "object=猫")
    plain = edgekd(*words)
    assert (plain.returncode, plain.stderr) == (0, "heavy: []\n")
    values = json.loads(edgekd(*words, "--json").stdout)
    filled = [row["filled"] for row in values["languages"]["zh"]["templates"]]
    assert "一张猫的照片" in filled
    for content in filled:
        assert f"    {content}\n" in plain.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("prompts show", 0, "classification"),
        ("prompts show clasification", 2, "Closest: 'classification'."),
        ("prompts show composed --set objct=1", 2, "unknown variable 'objct'"),
    ],
)
def test_exit_codes(words: str, code: int, says: str) -> None:
    done = edgekd(*words.split())
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
