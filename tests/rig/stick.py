# SPDX-License-Identifier: GPL-2.0-or-later
"""FAT images for USB sticks, made and read on the host."""
import hashlib
import os
import random
import subprocess
import tempfile


def make(files, size_mib=32):
    """The bytes of a FAT file system with these files ({name: bytes})."""
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "image")
        subprocess.run(["/sbin/mkfs.vfat", "-C", image, str(size_mib * 1024)], check=True, stdout=subprocess.DEVNULL)
        for name, content in files.items():
            path = os.path.join(folder, "file")
            with open(path, "wb") as f:
                f.write(content)
            subprocess.run(["mcopy", "-i", image, path, "::" + name], check=True)
        with open(image, "rb") as f:
            return f.read()


def read_file(image, name):
    """The bytes of one file in an image (a path)."""
    return subprocess.run(["mtype", "-i", image, "::" + name], check=True, stdout=subprocess.PIPE).stdout


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def sha256(data):
    return hashlib.sha256(data).hexdigest()
