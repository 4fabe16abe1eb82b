# SPDX-License-Identifier: GPL-2.0-or-later
"""A camera session between the two real proxies, on a machine without cameras: paper-camera.c plays the kernel for each."""
import contextlib
import hashlib
import mmap
import os
import pathlib
import select
import socket
import struct
import threading
import time

from proxy_end import BIN, OUTCOMES, ProxyEnd, run_tests, wait_for  # noqa: F401: for who imports us

PAPER = struct.Struct("<IIII")
MODE = struct.Struct("<IIIII")
CONTROL = struct.Struct("<IIiiiIi")
MESSAGE = struct.Struct("<IIIIQ")
N_MODES, N_BUFFERS, N_CONTROLS = 64, 4, 8
FORMATS = {"YUYV": 1, "NV12": 2, "YU12": 3, "MJPG": 3}
HELLO_MODES = 32
# of V4L2: Linux' uapi/linux/v4l2-controls.h; and of struct v4l2_queryctrl's types and flags
CONTROLS = {"brightness": 0x980900, "contrast": 0x980901, "saturation": 0x980902, "power-line": 0x980918, "sharpness": 0x98091b}
INTEGER, BOOLEAN, MENU = 1, 2, 3
DISABLED, GRABBED, READ_ONLY, INACTIVE, WRITE_ONLY = 1, 2, 4, 16, 64


def fourcc(text):
    return int.from_bytes(text.encode(), "little")


def frame_bytes(kind, width, height):
    return width * height * 2 if kind == "YUYV" else width * height * 3 // 2


def text_field(text):
    return text.encode().ljust(128, b"\0")


def hello(modes, name="Paper camera", vendor=0x46d, product=0x82d, serial="S1"):
    """modes: [(kind, width, height, interval in microseconds)], best first, as the exporter has them."""
    raw = struct.pack("<IHBBHHI", 0x56424451, 1, len(modes), 0, vendor, product, 0) + text_field(serial) + text_field(name)
    raw += b"".join(struct.pack("<HHBBHI", width, height, FORMATS[kind], 0, 0, usec) for kind, width, height, usec in modes)
    return raw.ljust(16 + 256 + HELLO_MODES * 12, b"\0")


def approved(raw):
    """digest_approved() of a hello and of what is shown of it, in hexadecimal."""
    vendor, product = struct.unpack_from("<HH", raw, 8)
    shown = struct.pack("<BHHB3B", 0, vendor, product, 1, 0x0e, 1, 0) + raw[16:144].rstrip(b"\0")
    return hashlib.sha256(hashlib.sha256(raw).digest() + shown).hexdigest()


class Paper:
    """What is behind fd 4 of a proxy: the memory of its buffers, and the socket on which its ioctls are played."""

    def __init__(self, modes, size):
        self.memory_fd = os.memfd_create("paper")
        self.offset = 4096
        self.size = (size + 4095) // 4096 * 4096
        os.ftruncate(self.memory_fd, self.offset + N_BUFFERS * self.size)
        self.memory = mmap.mmap(self.memory_fd, 0)
        head = PAPER.pack(len(modes), size, self.offset, self.size)
        head += b"".join(MODE.pack(fourcc(kind), width, height, usec, 1000000) for kind, width, height, usec in modes)
        self.memory[:len(head)] = head
        self.socket, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.env = {"LD_PRELOAD": str(BIN / "paper-camera.so"), "PAPER_MEMORY": "6", "ASAN_OPTIONS": "verify_asan_link_order=0"}
        self.fds = {4: self.theirs.fileno(), 6: self.memory_fd}

    def set_controls(self, controls):
        """controls: {name: (type, min, max, step, flags, value)}."""
        assert len(controls) <= N_CONTROLS
        for index, (name, words) in enumerate(controls.items()):
            CONTROL.pack_into(self.memory, PAPER.size + N_MODES * MODE.size + index * CONTROL.size, CONTROLS[name], *words)

    def place(self, buffer):
        return self.offset + buffer * self.size

    def say(self, what, buffer=0, value=0, usec=0):
        self.socket.send(MESSAGE.pack(ord(what), buffer, value, 0, usec))

    def hear(self, seconds):
        """(what, buffer, value, usec), or None: nothing within that time. OSError: the proxy is gone, and has closed its fd."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return None
        raw = self.socket.recv(64)
        if not raw:
            raise BrokenPipeError
        what, buffer, value, _, usec = MESSAGE.unpack(raw)
        return chr(what), buffer, value, usec

    def given(self):
        """The proxy has its end: when it closes that, we hear of it."""
        self.theirs.close()
        os.close(self.memory_fd)

    def close(self):
        self.socket.close()


class Camera(threading.Thread):
    """The driver of a camera: takes a picture each interval while it streams, if it has a buffer for it."""

    def __init__(self, modes, pictures, interval):
        super().__init__(daemon=True)
        size = max(frame_bytes(kind, width, height) for kind, width, height, _ in modes)
        self.paper = Paper(modes, size)
        self.pictures, self.interval = pictures, interval
        self.on, self.mine, self.n_taken, self.n_starts, self.ended = False, set(), 0, 0, False
        self.format = None
        self.set = []  # what was done to its controls: (name, setting)
        self.start()

    def obey(self, what, buffer, value):
        if what == "S":
            self.on = True
            self.n_starts += 1
        elif what == "O":
            self.on, self.mine = False, set()
        elif what == "Q":
            self.mine.add(buffer)
        elif what == "F":
            self.format = (buffer >> 16, buffer & 0xffff, value.to_bytes(4, "little").decode())
        elif what == "C":
            name = next(name for name, number in CONTROLS.items() if number == buffer)
            self.set.append((name, value - (value >> 31 << 32)))

    def photograph(self):
        self.n_taken += 1
        if not self.mine:
            return
        buffer = self.mine.pop()
        picture = self.pictures(self.n_taken)
        at = self.paper.place(buffer)
        self.paper.memory[at:at + len(picture)] = picture
        self.paper.say("P", buffer, len(picture), time.monotonic_ns() // 1000)

    def run(self):
        due = time.monotonic()
        with contextlib.suppress(OSError):
            while not self.ended:
                said = self.paper.hear(max(0, due - time.monotonic()) if self.on else 0.05)
                if said:
                    self.obey(*said[:3])
                if self.on and time.monotonic() >= due:
                    due = max(due + self.interval, time.monotonic() - self.interval)
                    self.photograph()
                if not self.on:
                    due = time.monotonic()
        self.on = False

    def stop(self):
        self.ended = True
        self.join(5)
        self.paper.close()


class Screen(threading.Thread):
    """The driver of the virtual camera: what programs of the target see."""

    def __init__(self, size, see):
        super().__init__(daemon=True)
        self.paper = Paper([], size)
        self.see, self.n_seen, self.last, self.ended = see, 0, None, False
        self.begun = threading.Event()
        self.format = None
        self.start()

    def watch(self, n):
        self.paper.say("W", value=n)

    def run(self):
        with contextlib.suppress(OSError):
            while not self.ended:
                said = self.paper.hear(0.05)
                if not said:
                    continue
                what, buffer, value, usec = said
                if what == "S":
                    self.begun.set()
                elif what == "F":
                    self.format = (buffer >> 16, buffer & 0xffff, value.to_bytes(4, "little").decode())
                elif what == "Q":
                    at = self.paper.place(buffer)
                    self.n_seen += 1
                    self.see(memoryview(self.paper.memory)[at:at + value], usec)

    def stop(self):
        self.ended = True
        self.join(5)
        self.paper.close()


def exporter(camera, snapshot, directory, log, vendor=0x46d, product=0x82d, serial="S1", controls="none"):
    memory = os.memfd_create("snapshot")
    os.write(memory, snapshot)
    try:
        return ProxyEnd("camera-proxy", ["export", "--channel", f"socket:{directory}", "--own", "1", "--peer", "2", "--service", "qdb/1",
                                         "--user", "nobody", "--vendor", str(vendor), "--product", str(product), "--serial", serial,
                                         "--controls", controls],
                        {**camera.paper.fds, 5: memory}, camera.paper.env, log)
    finally:
        os.close(memory)
        camera.paper.given()


def importer(screen, raw, directory, log, size=(0, 0), fps=0):
    try:
        return ProxyEnd("camera-proxy", ["import", "--channel", f"socket:{directory}", "--own", "2", "--peer", "1", "--service", "qdb/1",
                                         "--user", "nobody", "--digest", approved(raw), "--width", str(size[0]), "--height", str(size[1]),
                                         "--fps", str(fps)], screen.paper.fds, screen.paper.env, log)
    finally:
        screen.paper.given()


def channel_directory(directory):
    path = pathlib.Path(directory) / "channel"
    path.mkdir()
    return path
