"""The files of a bundle, whether it is still zipped or lies unpacked in a folder."""

from __future__ import annotations

import json
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from edgekd.errors import EdgeKDError, SchemaError, UsageError

MANIFEST_SCHEMA = 1
_DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError)


class BundleFiles:
    """Reads a bundle.zip or its unpacked folder. `names` are sorted, with "/" between folders.

    Models are unpacked into a temporary folder, which goes when this object does.

    Raises:
        UsageError: nothing there, or the folder of a run.
        EdgeKDError: a file that is not a whole zip.
    """

    def __init__(self, path: Path):
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        self._folder = path
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.is_file())
            self.names = sorted(file.relative_to(path).as_posix() for file in files)
            if "bundle.zip" in self.names and "manifest.json" not in self.names:
                raise UsageError(f"{path}: no bundle, but it holds one. Use: {path / 'bundle.zip'}")
            return
        if not path.is_file():
            raise UsageError(
                f"{path}: no such file or folder. Make a bundle with: edgekd run CONFIG"
            )
        try:
            self._archive = zipfile.ZipFile(path)
        except (*_DAMAGED, OSError) as error:
            raise EdgeKDError(f"{path}: not a whole zip file ({error})") from error
        self.names = sorted(info.filename for info in self._archive.infolist() if not info.is_dir())
        self._unpacked = tempfile.TemporaryDirectory(prefix="edgekd-")
        self._folder = Path(self._unpacked.name)

    def read(self, name: str) -> bytes:
        """Returns the bytes of one file.

        Raises:
            EdgeKDError: it is missing or damaged.
        """
        if name not in self.names:
            raise EdgeKDError(f"{self.path}: {name} is missing, so it is no whole bundle")
        try:
            if self._archive is not None:
                return self._archive.read(name)
            return (self._folder / name).read_bytes()
        except (*_DAMAGED, OSError, RuntimeError) as error:
            raise EdgeKDError(f"{self.path}: {name} cannot be read ({error})") from error

    def read_json(self, name: str) -> dict[str, Any]:
        """Returns the JSON object in one file.

        Raises:
            EdgeKDError: it is missing or holds something else.
        """
        try:
            values = json.loads(self.read(name).decode("utf-8"))
        except ValueError as error:
            raise EdgeKDError(f"{self.path}: {name} is not readable as JSON ({error})") from error
        if not isinstance(values, dict):
            raise EdgeKDError(f"{self.path}: {name} holds no JSON object")
        return values

    def manifest(self) -> dict[str, Any]:
        """Returns the content of manifest.json: "files" with size and sha256, licences, versions.

        Raises:
            EdgeKDError: it is missing, holds no list of files, or has another schema version.
        """
        values = self.read_json("manifest.json")
        if values.get("schema") != MANIFEST_SCHEMA:
            advice = "Use the edgekd that made the bundle, or make it anew with: edgekd run CONFIG"
            raise SchemaError("manifest.json", values.get("schema"), MANIFEST_SCHEMA, advice)
        listed = values.get("files")
        if not isinstance(listed, dict) or not all(isinstance(v, dict) for v in listed.values()):
            raise EdgeKDError("manifest.json: 'files' is missing")
        return values

    def labels(self) -> list[str]:
        """Returns the class names of labels.txt, one a line, in output order.

        Only "\\n" ends a line: a name may hold any other sign.

        Raises:
            EdgeKDError: it is missing or not UTF-8.
        """
        try:
            return self.read("labels.txt").decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise EdgeKDError(f"{self.path}: labels.txt is not UTF-8 ({error})") from error

    def local_path(self, name: str) -> Path:
        """Returns where one file lies on disk, for a runtime that wants a path.

        Raises:
            EdgeKDError: it is missing or damaged.
        """
        if name not in self.names:
            raise EdgeKDError(f"{self.path}: {name} is missing, so it is no whole bundle")
        if self._archive is None:
            return self._folder / name
        local = self._folder / Path(name).name
        if not local.is_file():
            local.write_bytes(self.read(name))
        return local
