# SPDX-License-Identifier: GPL-2.0-or-later
"""Ordinary programs in the rig's guests that are too large for their memory: this machine's ffmpeg and v4l-utils, with their libraries,
on a disk that dom0 lends to a guest (blkback), read-only.

    tools.lend(rig, "work")
    rig["work"].run(f"{tools.PATH}/ffmpeg -version")
"""
import os
import re
import shutil
import subprocess

from rig import build

PROGRAMS = ("/usr/bin/ffmpeg", "/usr/bin/v4l2-ctl", "/usr/bin/v4l2-compliance",
            os.path.join(build.OUT, "backports/unpacked/usr/bin/v4l2loopback-ctl"))
MOUNT = "/mnt/tools"
PATH = f"{MOUNT}/bin"
IMAGE = os.path.join(build.OUT, "tools.img")
LOADER = "/lib64/ld-linux-x86-64.so.2"
# What Xen's own script does at an attach, as far as it is needed here: that one wants bash and much more.
SCRIPT = """#!/bin/sh
[ "$1" = add ] || exit 0
xenstore-write "$XENBUS_PATH/physical-device" "$(stat -c %t:%T "$(xenstore-read "$XENBUS_PATH/params")")"
xenstore-write "$XENBUS_PATH/hotplug-status" connected
"""


def make():
    """The image, unless it is there and the programs are still the same."""
    libraries = sorted(set(re.findall(r"=> (/\S+)", subprocess.run(["ldd", *PROGRAMS], check=True, capture_output=True, text=True).stdout)))
    libraries.append(LOADER)
    key = build.digest(*(f"{path} {os.stat(path).st_mtime_ns}" for path in (*PROGRAMS, *libraries, __file__)))
    build.step("tools", key, lambda: fill(libraries), [IMAGE])


def fill(libraries):
    tree = os.path.join(build.OUT, "tools")
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("bin", "programs", "lib"):
        os.makedirs(f"{tree}/{name}")
    for path in libraries:
        shutil.copy(path, f"{tree}/lib")
    for path in PROGRAMS:
        name = os.path.basename(path)
        shutil.copy(path, f"{tree}/programs")
        with open(f"{tree}/bin/{name}", "w", encoding="ascii") as wrapper:
            wrapper.write(f"#!/bin/sh\nexec {MOUNT}/lib/{os.path.basename(LOADER)} --library-path {MOUNT}/lib {MOUNT}/programs/{name} \"$@\"\n")
        os.chmod(wrapper.name, 0o755)
    size = int(build.run("du", "-sm", tree).split()[0]) * 11 // 10 + 16
    build.run("/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", tree, f"{IMAGE}.new", f"{size}M")
    os.rename(f"{IMAGE}.new", IMAGE)
    shutil.rmtree(tree)


def lend(rig, name):
    """The domain has the programs in PATH, if it has not."""
    guest = rig[name]
    if guest.run(f"[ -e {PATH} ]", check=False).rc == 0:
        return
    shared = os.path.join(rig.dir, "share", "tools.img")
    if not os.path.exists(shared):
        with build.lock():
            make()
            os.link(IMAGE, shared)
        rig.dom0.put("/etc/xen/scripts/block", SCRIPT, mode=0o755)
        rig.dom0.run("modprobe -a loop xen-blkback; losetup -r /dev/loop7 /mnt/rig/tools.img")
    rig.dom0.run(f"xl block-attach {name} format=raw,backendtype=phy,vdev=xvda,access=r,target=/dev/loop7")
    guest.run(f"modprobe -a xen-blkfront crc32c_generic; mkdir -p {MOUNT}")
    guest.wait_for(f"mount -t ext4 -o ro,noload /dev/xvda {MOUNT}", timeout=20)
