import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ["edgekd", "captioning", "students", "export", "devices"]
LOCKS = ["all.txt", "base.txt", "tflite-runtime.txt"]
HEAVY = [
    "ai_edge_litert",
    "ai_edge_quantizer",
    "albumentations",
    "jax",
    "litert_torch",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "scipy",
    "sklearn",
    "tensorflow",
    "timm",
    "torch",
    "torch_pruning",
    "torchao",
    "torchvision",
    "transformers",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_every_module_and_nothing_of_ours_besides(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in PACKAGES:
        sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / package).rglob("*.py")}
        assert f"{package}/__init__.py" in sources
        assert sources <= names
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == set(PACKAGES)


def test_wheel_holds_configs_data_licence_and_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    configs = {p.relative_to(ROOT / "configs").as_posix() for p in ROOT.glob("configs/*.yaml")}
    assert {f"edgekd/_configs/{name}" for name in configs} <= names
    assert "edgekd/_configs/demo_data/fashion_mnist_7500.tar.xz" in names
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= names
    assert "edgekd = edgekd.cli:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_unpacked_wheel_finds_its_own_configs_and_data(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from edgekd import assets; print(assets.configs_dir()); print(assets.demo_archive())"
    printed = _python(code, cwd=tmp_path, PYTHONPATH=str(tmp_path)).splitlines()
    assert [Path(line) for line in printed] == [
        tmp_path / "edgekd/_configs",
        tmp_path / "edgekd/_configs/demo_data/fashion_mnist_7500.tar.xz",
    ]


def test_importing_edgekd_and_the_stages_loads_no_heavy_library() -> None:
    """The foundation, the roof and each `stage.py` import their libraries where they use them."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "edgekd").rglob("*.py"))
        if not path.stem.startswith("__")
    ]
    modules += PACKAGES + [f"{package}.stage" for package in PACKAGES[1:]]
    code = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(module)
    loaded = [name for name in {HEAVY} if name in sys.modules]
    if loaded:
        sys.exit(f"{{module}} loads {{', '.join(loaded)}}")
"""
    _python(code, cwd=ROOT)


@pytest.mark.parametrize("module", ["records", "errors", "metrics"])
def test_lowest_floor_needs_only_numpy(module: str) -> None:
    tree = ast.parse((ROOT / "edgekd" / f"{module}.py").read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").split(".")[0])
    assert imported <= sys.stdlib_module_names | {"numpy", "edgekd"}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_is_exact_hashed_and_names_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_locks_cover_what_pyproject_asks_for() -> None:
    base, extras = _direct_dependencies()
    everything = set().union(base, *(extras[name] for name in extras if name != "tflite-runtime"))
    assert everything <= _locked("all.txt")
    assert base <= _locked("base.txt")
    assert "torch" not in _locked("base.txt")
    assert (base | extras["tflite-runtime"]) - {"ai-edge-litert"} <= _locked("tflite-runtime.txt")
    assert "ai-edge-litert" not in _locked("tflite-runtime.txt")


def test_dependencies_page_lists_the_direct_ones() -> None:
    base, extras = _direct_dependencies()
    page = (ROOT / "docs/dependencies.md").read_text()
    listed = {_normal(name) for name in re.findall(r"^\| `([^`/]+)` \|", page, re.MULTILINE)}
    assert listed == set().union(base, *extras.values())


def test_version_is_said_once() -> None:
    import edgekd

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert edgekd.__version__ == project["version"] == metadata.version("edgekd")


def _direct_dependencies() -> tuple[set[str], dict[str, set[str]]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        extra: {_name(requirement) for requirement in requirements} - {"edgekd"}
        for extra, requirements in project["optional-dependencies"].items()
    }
    return {_name(requirement) for requirement in project["dependencies"]}, extras


def _name(requirement: str) -> str:
    return _normal(re.split(r"[\[<>=!~; ]", requirement)[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _locked(lock: str) -> set[str]:
    text = (ROOT / "requirements" / lock).read_text()
    return {_normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}


def _python(code: str, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
