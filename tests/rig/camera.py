# SPDX-License-Identifier: GPL-2.0-or-later
"""Cameras in the rig: the kernel's vivid, and a USB webcam with a microphone; and what ordinary programs see of them elsewhere.

    webcam = Webcam(rig["sys-usb"]); webcam.unplug()
    node = virtual(rig["work"], "Rig Webcam")
    grab(rig["work"], node, 10)     the pictures, by v4l2-ctl; with ffmpeg: film()
"""
import math
import os
import re
import struct
import subprocess
import time

import gadget
import sound
import tools

FPS = 15
RAW, JPEG = ("YUYV", 320, 240, FPS), ("MJPG", 640, 480, FPS)
PICTURES = 30


def frame_bytes(pixels, width, height):
    return width * height * 2 if pixels == "YUYV" else width * height * 3 // 2


def split(raw, size):
    return [raw[at:at + size] for at in range(0, len(raw) - size + 1, size)]


def paint(width, height, *form):
    """ffmpeg's moving test picture, PICTURES times."""
    return subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate=30",
                           "-frames:v", str(PICTURES), *form, "-"], check=True, capture_output=True).stdout


def raw_pictures(width, height, pixels):
    return split(paint(width, height, "-pix_fmt", pixels, "-f", "rawvideo"), frame_bytes("YUYV" if pixels == "yuyv422" else "", width, height))


def jpeg_pictures(width, height):
    stream = paint(width, height, "-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", "3", "-f", "image2pipe")
    return [b"\xff\xd8" + rest for rest in stream.split(b"\xff\xd8")[1:]]


class Webcam:
    """A USB webcam with a microphone: a gadget, with the drivers that Linux has for such, in the domain's own kernel."""

    def __init__(self, d, serial="WEBCAM1", product="Rig Webcam"):
        self.d = d
        self.raw, self.original = raw_pictures(*RAW[1:3], "yuyv422"), raw_pictures(*JPEG[1:3], "yuvj420p")
        for name, pictures in (("raw", self.raw), ("jpeg", jpeg_pictures(*JPEG[1:3]))):
            d.put(f"/run/{name}", b"".join(struct.pack("<I", len(p)) + p for p in pictures), timeout=120)
        sound.ignore_gadgets(d)
        self.gadget = d.gadget("webcam", [gadget.uvc(RAW, JPEG), gadget.uac2()], serial=serial, product=product).up()
        words = [f"{fourcc}:{width}:{height}:{fps}:/run/{name}" for (fourcc, width, height, fps), name in ((RAW, "raw"), (JPEG, "jpeg"))]
        self.feeder = d.spawn(f"exec rig-camera {self.gadget.camera()} " + " ".join(words))

    def lamp(self):
        """What the camera did with its lamp so far: ["on YUYV", "off", …]."""
        return self.feeder.output.split("\n")[:-1]

    def unplug(self):
        """Without what feeds it the gadget leaves its bus, as a camera that is pulled out."""
        if self.feeder.running:
            self.feeder.kill()
        if self.gadget in self.d.gadgets:
            self.gadget.remove()
            self.d.run("rm -f /run/raw /run/jpeg")


class Vivid:
    """A camera of the kernel's own, whose picture stands still."""

    def __init__(self, d):
        self.d = d
        d.run("modprobe vivid n_devs=1 node_types=0x1 no_error_inj=1")
        self.node = d.wait_for("grep -l '^vivid.*cap' /sys/class/video4linux/video*/name").out.split("/")[4]
        tools.lend(d.rig, d.name)
        d.run(f"{tools.PATH}/v4l2-ctl -d /dev/{self.node} --set-ctrl=osd_text_mode=2")
        d.run(f"echo 1 >/sys/class/video4linux/{self.node}/dev_debug")

    def lamp(self):
        log = self.d.run(f"dmesg | grep -o '{self.node}: VIDIOC_STREAMO[NF]*' | sed 's/.*STREAM//'; true").out
        return log.lower().split()

    def unplug(self):
        self.d.run("rmmod vivid")


def wait_lamp(camera, state, seconds):
    """As it is last, within that time; returns how long that took."""
    begun = time.monotonic()
    while not (camera.lamp() or ["off"])[-1].startswith(state):
        assert time.monotonic() < begun + seconds, f"after {seconds} s the camera's lamp is not {state}: {camera.lamp()}"
        time.sleep(0.05)
    return time.monotonic() - begun


# ---- the virtual camera ----------------------------------------------------------------------------------------------------

def virtual(d, label, timeout=20):
    """The node of the virtual camera of that name."""
    found = d.wait_for(f"grep -lx '{label}' /sys/devices/virtual/video4linux/video*/name", timeout).out
    return "/dev/" + found.split("/")[5]


def ctl(d, node, words, **more):
    tools.lend(d.rig, d.name)
    return d.run(f"{tools.PATH}/v4l2-ctl -d {node} {words}", **more)


def wait_control(d, node, name, value):
    deadline = time.monotonic() + 5
    while (out := ctl(d, node, f"--get-ctrl={name}").out.strip()) != f"{name}: {value}":
        assert time.monotonic() < deadline, f"{out}, and not {value}"
        time.sleep(0.1)


def format_of(d, node):
    """(fourcc, width, height) as programs are told."""
    out = ctl(d, node, "--get-fmt-video").out
    width, height = map(int, re.search(r"Width/Height\s*: (\d+)/(\d+)", out).groups())
    return re.search(r"Pixel Format\s*: '(....)'", out)[1], width, height


def grab(d, node, n, timeout=120):
    """So many pictures, by v4l2-ctl."""
    size = frame_bytes(*format_of(d, node))
    ctl(d, node, f"--stream-mmap --stream-count={n} --stream-to=/run/grabbed", timeout=timeout)
    raw = d.get("/run/grabbed", timeout=300)
    d.run("rm /run/grabbed")
    return split(raw, size)


def film(d, node, n, timeout=120):
    """The same, by ffmpeg, which finds out by itself what the camera has."""
    tools.lend(d.rig, d.name)
    size = frame_bytes(*format_of(d, node))
    d.run(f"{tools.PATH}/ffmpeg -loglevel error -f v4l2 -i {node} -frames:v {n} -c:v copy -f rawvideo -y /run/filmed", timeout=timeout)
    raw = d.get("/run/filmed", timeout=300)
    d.run("rm /run/filmed")
    return split(raw, size)


def photograph(d, node, path):
    """A PNG on the host of what ffmpeg sees there now; not of the black picture that is there before the camera's first."""
    tools.lend(d.rig, d.name)
    d.run(f"{tools.PATH}/ffmpeg -loglevel error -f v4l2 -i {node} -vf 'select=gte(n\\,5)' -frames:v 1 -update 1 -y /run/picture.png", timeout=120)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(d.get("/run/picture.png"))
    d.run("rm /run/picture.png")


def psnr(picture, originals):
    """Of its luma, in decibels, against the original that is nearest to it."""
    luma = len(picture) * 2 // 3

    def error(original, step):
        return sum((a - b) ** 2 for a, b in zip(picture[:luma:step], original[:luma:step])) / len(range(0, luma, step))

    best = min(originals, key=lambda original: error(original, 61))
    mean = error(best, 1)
    return math.inf if mean == 0 else 10 * math.log10(255 ** 2 / mean)


# ---- the command line ------------------------------------------------------------------------------------------------------

def webcam(qubes, *words, **more):
    return qubes.dom0.run("qvm-webcam " + " ".join(words), **more)


def wait_listed(qubes, pattern):
    return sound.wait_listed(qubes, pattern, "qvm-webcam")
