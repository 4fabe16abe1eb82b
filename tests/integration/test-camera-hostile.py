#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One real end of a camera session against another qube that lies (camera-liar.c). Prints TAP.

Needs BIN (where the programs are). What is asked: the real end cuts it off, or goes on as if it were slow; it always ends with a
reason, no camera stays on, no program sees a picture of another size, and no more memory is needed.
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from camera_world import OUTCOMES, Camera, Screen, approved, channel_directory, exporter, frame_bytes, hello, importer, run_tests, wait_for
from proxy_end import BIN, ENDED, LISTENING, READY

MODES = [("NV12", 640, 480, 33333), ("YUYV", 640, 360, 33333), ("NV12", 320, 240, 33333)]
BYTES = frame_bytes(*MODES[0][:3])
CUT, SLOW, LATE = "PEER_CHEATED", "PEER_LOST", "TIMED_OUT"  # SLOW: until the liar goes away
EXPORTERS = {
    "before-go": CUT, "before-start": CUT, "shorter": CUT, "longer": CUT, "empty": CUT, "longest": CUT, "next-run": CUT,
    "backwards": CUT, "twice": CUT, "skips": CUT, "noise": CUT, "half": LATE, "flood": CUT, "wild-stamps": SLOW, "silent": SLOW,
}
IMPORTERS = {
    "start-without-go": CUT, "wrong-version": CUT, "no-such-mode": CUT, "mode-beyond": CUT, "go-twice": CUT, "another-mode-later": CUT,
    "no-such-word": CUT, "says-frames": CUT, "skips-a-run": CUT, "start-twice": CUT, "stop-without-start": CUT, "stop-of-another": CUT,
    "want-without-start": CUT, "want-of-another": CUT, "greedy": CUT, "words-of-noise": CUT, "restless": CUT, "deaf": SLOW,
    "deaf-and-restless": SLOW, "mute": SLOW,
}
HELLO_LIES = {  # offset, bytes: every one is what was approved, for a device qube may show what it likes
    "magic": (0, b"\0"), "version": (4, b"\2"), "no modes": (6, b"\0"), "fewer modes": (6, b"\2"), "more modes": (6, b"\4"),
    "255 modes": (6, b"\xff"), "zero": (7, b"\1"), "width 0": (272, b"\0\0"), "width 65535": (272, b"\xff\xff"), "odd": (272, b"\x81\2"),
    "height 0": (274, b"\0\0"), "no format": (276, b"\0"), "another format": (276, b"\4"), "endless pictures": (280, b"\0\0\0\0"),
    "one in an hour": (280, b"\0\x88\x93\xd6"), "escape in the serial": (16, b"\x1b"), "escape in the name": (144, b"\x1b[2J"),
    "no name": (144, b"\0"), "behind the modes": (16 + 256 + 32 * 12 - 1, b"x"),
}
RSS_GROWS_MIB = 8


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Case:
    """One lie: a channel and a log of its own."""

    def __init__(self, directory):
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=directory))
        self.channel = channel_directory(self.directory)
        self.log = open(self.directory / "log", "w+b")

    def liar(self, *words):
        return subprocess.Popen([BIN / "camera-liar", words[0], words[1], self.channel, *words[2:]], stderr=self.log)

    def check_end(self, end, expected, name):
        report = end.hear(20)
        while report and report[0] != ENDED:
            report = end.hear(20)
        end.process.wait(10)
        self.log.seek(0)
        said = self.log.read().decode(errors="replace")
        assert report and OUTCOMES[report[1]] == expected, f"{name}: {report}, not {expected}: {said}"
        assert end.process.returncode in (0, 1) and "Sanitizer" not in said and "runtime error" not in said, said


def against_exporter(directory, lie, raw, expected):
    case = Case(directory)
    (case.directory / "hello").write_bytes(raw)
    sizes = []
    screen = Screen(BYTES, lambda picture, _: sizes.append(len(picture)))
    liar = case.liar("exporter", lie, str(case.directory / "hello"), str(BYTES))
    wait_for(lambda: list(case.channel.iterdir()))
    end = importer(screen, raw, case.channel, case.log)
    if expected != "CHANGED" and lie not in ("before-go", "before-start"):
        end.wait(READY)
        before = rss_mib(end.process.pid)
        screen.watch(1)
        if expected == SLOW:
            time.sleep(1)
            assert end.process.poll() is None, f"{lie}: {end.hear(1)}"
            assert rss_mib(end.process.pid) < before + RSS_GROWS_MIB, f"{lie}: {before} to {rss_mib(end.process.pid)} MiB"
    case.check_end(end, expected, lie)
    liar.kill()
    liar.wait(10)
    screen.stop()
    assert set(sizes) <= {BYTES}, sizes
    return len(sizes)


def test_exporters(directory):
    for lie, expected in EXPORTERS.items():
        n = against_exporter(directory, lie, hello(MODES), expected)
        assert n > 10 if lie in ("flood", "wild-stamps") else n <= 3, f"{lie}: {n} pictures"


def test_hellos(directory):
    for name, (at, lie) in HELLO_LIES.items():
        raw = bytearray(hello(MODES))
        raw[at:at + len(lie)] = lie
        assert not against_exporter(directory, "silent", bytes(raw), "CHANGED"), name


def test_importers(directory):
    for lie, expected in IMPORTERS.items():
        case = Case(directory)
        camera = Camera(MODES, lambda _: bytes(BYTES), 1 / 30)
        end = exporter(camera, hello(MODES), case.channel, case.log)
        end.wait(LISTENING)
        before = rss_mib(end.process.pid)
        liar = case.liar("importer", lie)
        if lie == "deaf":
            wait_for(lambda: camera.n_taken > 30)
            assert rss_mib(end.process.pid) < before + RSS_GROWS_MIB
        case.check_end(end, expected, lie)
        liar.kill()
        liar.wait(10)
        wait_for(lambda: not camera.on, 5)
        assert camera.n_starts <= (40 if lie == "restless" else 20 if lie == "deaf-and-restless" else 1), f"{lie}: {camera.n_starts}"
        camera.stop()


def test_cameras(directory):
    """A camera that lies to the kernel and so to the exporter: pictures that are too short, or of buffers that there are not; modes without end."""
    many = [("NV12", 16 + 2 * i, 16, 33333) for i in range(64)]
    case = Case(directory)
    camera = Camera(many, lambda _: bytes(BYTES), 1 / 30)
    end = exporter(camera, hello(many[::-1][:32]), case.channel, case.log)
    end.wait(LISTENING)
    end.say(b"S")
    case.check_end(end, "STOPPED", "64 modes")
    camera.stop()
    for name, buffer, length, expected in [("no such buffer", 77, BYTES, "OPEN_FAILED"), ("no buffer at all", 2**32 - 1, BYTES, "OPEN_FAILED"),
                                           ("short", 0, BYTES - 1, None), ("empty", 0, 0, None), ("longer than its memory", 0, 2**32 - 1, None)]:
        case = Case(directory)
        n_seen = []
        camera, screen = Camera(MODES, lambda _: bytes(BYTES), 3600), Screen(BYTES, lambda *_: n_seen.append(1))
        end = exporter(camera, hello(MODES), case.channel, case.log)
        end.wait(LISTENING)
        other = importer(screen, hello(MODES), case.channel, case.log)
        end.wait(READY)
        screen.watch(1)
        wait_for(lambda: camera.on)
        time.sleep(0.1)
        n = len(n_seen)
        camera.paper.say("P", buffer, length, 0)
        if not expected:
            time.sleep(0.3)
            assert len(n_seen) == n and end.process.poll() is None, name
            end.say(b"S")
        case.check_end(end, expected or "STOPPED", name)
        other.stop()
        camera.stop()
        screen.stop()


sys.exit(run_tests(globals()))
