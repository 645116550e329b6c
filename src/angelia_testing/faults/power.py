"""A power cut: a file system in an image file, whose copy holds only what was flushed."""

import os
import shutil
import subprocess
from pathlib import Path

from angelia_testing.peers.process import missing, scratch


class PowerCutDisk:
    """An ext4 image on a loop device at `path`. The inner page cache is not in the image: a copy of it is what a platter would hold.

    Stop the writers (SIGSTOP) before `cut`.
    """

    def __init__(self, megabytes: int = 96) -> None:
        if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
            missing("a disk whose power can be cut (it needs root and mkfs.ext4)")
        self.folder = scratch("power")
        self._image = self.folder / "disk.img"
        self.path = self.folder / "disk"
        self._mounted: list[Path] = []
        self._cuts = 0
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)
        self._mount(self._image, self.path)

    def _mount(self, image: Path, path: Path) -> None:
        path.mkdir()
        made = subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=False, capture_output=True)
        if made.returncode:
            shutil.rmtree(self.folder, ignore_errors=True)
            missing("a disk whose power can be cut (loop mounts are not allowed)")
        self._mounted.append(path)

    def settle(self) -> None:
        """Write out what was prepared: it was there long before the power went."""
        subprocess.run(["sync", "-f", str(self.path)], check=True)

    def cut(self) -> Path:
        """What would be there after the power came back; its journal is replayed by the mount."""
        self._cuts += 1
        copy = self.folder / f"after{self._cuts}.img"
        subprocess.run(["cp", "--sparse=always", str(self._image), str(copy)], check=True)
        path = copy.with_suffix("")
        self._mount(copy, path)
        return path

    def forget(self, path: Path) -> None:
        """Drop what `cut` gave: its room is needed for the next one."""
        subprocess.run(["umount", "-l", str(path)], check=True, capture_output=True)
        self._mounted.remove(path)
        path.with_suffix(".img").unlink()

    def close(self) -> None:
        """Unmount for sure, and forget."""
        for path in self._mounted:
            subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
