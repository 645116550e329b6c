"""A power cut: a file system in an image file, whose copy holds only what was flushed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from angelia_testing.peers.process import scratch


class PowerCutDisk:
    """An ext4 image on a loop device at `path`. The inner page cache is not in the image: a copy of it is what a platter would hold.

    Stop the writers (SIGSTOP) before `cut`. Skips where this machine does not allow mounts: no package could change that.
    """

    def __init__(self, megabytes: int = 96) -> None:
        if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
            pytest.skip("a power cut needs root and mkfs.ext4")
        self.folder = scratch("power")
        self._image = self.folder / "disk.img"
        self.path = self.folder / "disk"
        self._mounted: list[Path] = []
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)
        self._mount(self._image, self.path)

    def _mount(self, image: Path, path: Path) -> None:
        path.mkdir()
        made = subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=False, capture_output=True)
        if made.returncode:
            shutil.rmtree(self.folder, ignore_errors=True)
            pytest.skip("this machine does not allow loop mounts")
        self._mounted.append(path)

    def cut(self) -> Path:
        """What would be there after the power came back; its journal is replayed by the mount."""
        copy = self.folder / f"cut{len(self._mounted)}.img"
        subprocess.run(["cp", "--sparse=always", str(self._image), str(copy)], check=True)
        path = self.folder / f"after{len(self._mounted)}"
        self._mount(copy, path)
        return path

    def close(self) -> None:
        """Unmount for sure, and forget."""
        for path in self._mounted:
            subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
