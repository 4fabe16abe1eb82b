#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Both real ends of a camera session, on a machine without cameras (camera_world.py). Prints TAP.

Needs BIN (where the programs are). What is asked: each picture arrives as it was taken; the camera takes pictures only while somebody
looks; whoever is slow sees the newest; its controls are as was asked, and afterwards as before; and each end says why it ended.
"""
import contextlib
import os
import pathlib
import signal
import struct
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from camera_world import BOOLEAN, DISABLED, GRABBED, INACTIVE, INTEGER, MENU, OUTCOMES, READ_ONLY, WRITE_ONLY
from camera_world import Camera, Screen, channel_directory, exporter, frame_bytes, hello, importer, run_tests, wait_for
from proxy_end import ENDED, LISTENING, READY

USEC_30 = 33333
MODES = [("NV12", 640, 480, USEC_30), ("YUYV", 640, 360, USEC_30), ("NV12", 320, 240, USEC_30)]


def numbered(size):
    """Pictures that say which they are, at their beginning and their end, and are different everywhere."""
    noise = os.urandom(size + 256)

    def picture(number):
        shift = number % 256
        mark = struct.pack("<Q", number)
        return mark + noise[shift + 8:shift + size - 8] + mark
    return picture


class Seen:
    """What a program of the target sees."""

    def __init__(self, picture):
        self.picture, self.numbers, self.ages, self.wrong, self.n_black, self.is_black = picture, [], [], 0, 0, False

    def __call__(self, bytes_, usec):
        self.is_black = bytes(bytes_[:2]) in (b"\x10\x10", b"\x10\x80") and len(set(bytes_)) == 2
        self.n_black += self.is_black
        if self.is_black:
            return
        number, = struct.unpack_from("<Q", bytes_)
        self.wrong += bytes(bytes_) != self.picture(number)
        self.numbers.append(number)
        self.ages.append(time.monotonic() - usec / 1e6)


def show(log):
    """What the proxies said, if something goes wrong."""
    if sys.exc_info()[0]:
        log.seek(0)
        print("".join(f"# {line}\n" for line in log.read().decode(errors="replace").splitlines()), end="")


@contextlib.contextmanager
def session(directory, modes, mode, size=(0, 0), fps=0, has=None, controls="none"):
    """Both ends, up to READY; `mode`: that is taken."""
    n_bytes = frame_bytes(*mode[:3])
    picture = numbered(n_bytes)
    seen = Seen(picture)
    raw = hello(modes)
    channel = channel_directory(directory)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(pathlib.Path(directory) / "proxies", "w+b"))
        stack.callback(show, log)
        camera = Camera(modes, picture, mode[3] / 1e6)
        stack.callback(camera.stop)
        screen = Screen(n_bytes, seen)
        stack.callback(screen.stop)
        camera.paper.set_controls(has or {})
        source = exporter(camera, raw, channel, log, controls=controls)
        stack.callback(source.stop)
        source.wait(LISTENING)
        target = importer(screen, raw, channel, log, size, fps)
        stack.callback(target.stop)
        target.wait(READY)
        source.wait(READY)
        yield camera, screen, source, target, seen


def ended(end, seconds=10):
    while (report := end.hear(seconds)) and report[0] != ENDED:
        pass
    end.process.wait(10)
    return report and OUTCOMES[report[1]]


def test_pictures(directory):
    for index, (mode, size, fps) in enumerate([(MODES[0], (0, 0), 0), (MODES[1], (640, 360), 30), (MODES[2], (320, 240), 0)]):
        if index == 1:
            modes = MODES[1:]  # the best one of those that are left
        else:
            modes = MODES
        with session(tempfile.mkdtemp(dir=directory), modes, mode, size, fps) as (camera, screen, _, _, seen):
            time.sleep(0.3)
            assert camera.n_starts == 0 and not seen.numbers, "the camera is on, and nobody looks"
            screen.watch(1)
            wait_for(lambda: len(seen.numbers) >= 60)
            assert camera.format == screen.format == (*mode[1:3], mode[0]), (camera.format, screen.format)
            assert not seen.wrong and seen.numbers == sorted(set(seen.numbers)), seen.numbers
            print(f"# {mode}: {len(seen.numbers)} seen of {camera.n_taken} taken, age {sorted(seen.ages)[len(seen.ages) // 2] * 1000:.1f} ms")


def test_lamp(directory):
    """On only while somebody looks, and soon off; no picture of an earlier look is seen in a later one."""
    with session(directory, MODES, MODES[0]) as (camera, screen, source, target, seen):
        for look in range(1, 6):
            screen.watch(look)  # two programs, three...: it stays on
            wait_for(lambda: camera.on, 2)
            n = len(seen.numbers)
            wait_for(lambda: len(seen.numbers) > n + 3)
            screen.watch(1)
            screen.watch(0)
            begun = time.monotonic()
            wait_for(lambda: not camera.on, 2)
            assert time.monotonic() - begun < 1
            time.sleep(0.2)
            n, last = len(seen.numbers), camera.n_taken
            time.sleep(0.2)
            assert len(seen.numbers) == n and camera.n_starts == look
            assert seen.is_black and seen.n_black == look + 1, "who looks later would see the last picture"
            assert seen.numbers[-1] <= last
        for _ in range(100):  # restless programs: no more than ten looks a second
            screen.watch(1)
            screen.watch(0)
        time.sleep(1)
        assert camera.n_starts < 5 + 15 and not camera.on, camera.n_starts
        assert not seen.wrong
        source.say(b"M")  # dom0 has shut it: no lamp, whoever looks
        time.sleep(0.1)
        screen.watch(1)
        n = camera.n_starts
        time.sleep(0.5)
        assert not camera.on and camera.n_starts == n
        source.say(b"U")
        wait_for(lambda: camera.on, 2)
        assert target.process.poll() is None


def test_slow(directory):
    """The target stands still: what it sees then is new, and no more than a few pictures are old."""
    with session(directory, MODES, MODES[0]) as (camera, screen, _, target, seen):
        screen.watch(1)
        wait_for(lambda: len(seen.numbers) > 10)
        target.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        n, taken = len(seen.numbers), camera.n_taken
        target.process.send_signal(signal.SIGCONT)
        wait_for(lambda: len(seen.numbers) > n + 10)
        later = seen.numbers[n:]
        assert sum(number < taken - 1 for number in later) <= 3, (taken, later)
        assert camera.n_taken - seen.numbers[-1] < 5 and not seen.wrong


def test_ends(directory):
    def unplug(camera, *_):
        camera.paper.socket.close()

    def fail(camera, *_):
        camera.paper.say("E", value=71)  # EPROTO

    def stop_source(_c, _s, source, _t):
        source.say(b"S")

    def stop_target(_c, _s, _x, target):
        target.say(b"S")

    def kill_source(_c, _s, source, _t):
        source.process.kill()

    def kill_target(_c, _s, _x, target):
        target.process.kill()

    def take_screen(_c, screen, *_):
        screen.paper.socket.close()

    cases = [(unplug, "UNPLUGGED", "OK"), (fail, "OPEN_FAILED", "OK"), (stop_source, "STOPPED", "OK"), (stop_target, "OK", "STOPPED"),
             (kill_source, None, "PEER_LOST"), (kill_target, "PEER_LOST", None), (take_screen, "OK", "INTERNAL")]
    for what, of_source, of_target in cases:
        with session(tempfile.mkdtemp(dir=directory), MODES, MODES[0]) as (camera, screen, source, target, seen):
            screen.watch(1)
            wait_for(lambda: len(seen.numbers) > 5)
            what(camera, screen, source, target)
            got = ended(source), ended(target)
            assert got == (of_source, of_target), f"{what.__name__}: {got}"
            if what is not unplug:
                wait_for(lambda: not camera.on, 2)


def logged(directory):
    return [line.split("the camera's ")[1] for line in (pathlib.Path(directory) / "proxies").read_text().splitlines() if "the camera's " in line]


BRIGHTNESS, POWER_LINE = (INTEGER, -64, 64, 1, 0, 3), (MENU, 0, 2, 1, 0, 1)


def test_controls(directory):
    """Set when the other side has said go, and put back at the end, whatever ends it; nothing else is touched."""
    def stop(source, target):
        target.say(b"S")

    def kill_target(source, target):
        target.process.kill()

    for end in (stop, kill_target):
        where = tempfile.mkdtemp(dir=directory)
        has = {"brightness": BRIGHTNESS, "power-line": POWER_LINE, "sharpness": (INTEGER, 0, 10, 5, 0, 5)}
        with session(where, MODES, MODES[0], has=has, controls="brightness=100,power-line=60") as (camera, screen, source, target, seen):
            wait_for(lambda: len(camera.set) == 2)
            assert camera.set == [("brightness", 64), ("power-line", 2)], camera.set
            screen.watch(1)
            wait_for(lambda: len(seen.numbers) > 5)
            end(source, target)
            ended(source)
            wait_for(lambda: len(camera.set) == 4)
            assert camera.set[2:] == [("brightness", 3), ("power-line", 1)], camera.set
            assert not logged(where)
    with session(tempfile.mkdtemp(dir=directory), MODES, MODES[0], has=has) as (camera, _, source, target, _):
        stop(source, target)
        ended(source)
        time.sleep(0.2)
        assert camera.set == [], "nothing was asked"


def test_controls_left_alone(directory):
    """What the camera does not have, cannot set now or has in a way that makes no sense; the session goes on, and the log says it."""
    lacks, fixed, nonsense = "the camera does not have it", "it cannot be set now", "the camera has it in a way that makes no sense, or not that far"
    for name, control, asked, why in [
            ("brightness", None, "50", lacks), ("contrast", (INTEGER, 0, 255, 1, DISABLED, 1), "50", lacks),
            ("contrast", (INTEGER, 0, 255, 1, READ_ONLY, 1), "0", fixed), ("contrast", (INTEGER, 0, 255, 1, INACTIVE, 1), "0", fixed),
            ("contrast", (INTEGER, 0, 255, 1, GRABBED, 1), "0", fixed), ("contrast", (INTEGER, 0, 255, 1, WRITE_ONLY, 1), "0", fixed),
            ("saturation", (INTEGER, 255, 0, 1, 0, 1), "50", nonsense), ("saturation", (INTEGER, 0, 255, 0, 0, 1), "50", nonsense),
            ("saturation", (INTEGER, 0, 255, -2**31, 0, 1), "50", nonsense), ("saturation", (BOOLEAN, 0, 1, 1, 0, 1), "50", nonsense),
            ("power-line", (MENU, 0, 1, 1, 0, 0), "60", nonsense), ("power-line", (MENU, 2, 0, 1, 0, 0), "50", nonsense),
            ("power-line", (INTEGER, 0, 2, 1, 0, 0), "50", nonsense),
            ("saturation", (INTEGER, 0, 255, 1, 0, 256), "50", "the camera does not tell how it is now")]:
        where = tempfile.mkdtemp(dir=directory)
        has = {name: control} if control else {}
        if name == "power-line":
            has["brightness"] = BRIGHTNESS
            asked_for, set_ = f"brightness=0,{name}={asked}", [("brightness", -64), ("brightness", 3)]
        else:
            has["power-line"] = POWER_LINE
            asked_for, set_ = f"{name}={asked},power-line=off", [("power-line", 0), ("power-line", 1)]
        with session(where, MODES, MODES[0], has=has, controls=asked_for) as (camera, _, source, target, _):
            target.say(b"S")
            ended(source)
            wait_for(lambda: len(camera.set) >= 2)
            assert camera.set == set_, (name, control, camera.set)
            assert logged(where) == [f"{name} is left as it is: {why}"], (name, control, logged(where))


def test_changed(directory):
    """The camera is another one than was listed; what the importer was told to expect is not what comes; there is no such mode."""
    raw = hello(MODES)
    for case, snapshot, expected, words, of_source, of_target in [
            ("another mode", hello(MODES[1:]), None, {}, "CHANGED", None),
            ("another name", hello(MODES, name="Paper Camera"), None, {}, "CHANGED", None),
            ("another digest", raw, hello(MODES, serial="S2"), {}, "PEER_LOST", "CHANGED"),
            ("no such mode", raw, raw, {"size": (800, 600)}, "OK", "NO_MODE")]:
        where = tempfile.mkdtemp(dir=directory)
        channel = channel_directory(where)
        with open(pathlib.Path(where) / "proxies", "w+b") as log:
            camera, screen = Camera(MODES, numbered(64), 1), Screen(614400, lambda *_: None)
            source = exporter(camera, snapshot, channel, log)
            if expected:
                source.wait(LISTENING)
                target = importer(screen, expected, channel, log, **words)
                got = ended(target)
                assert got == of_target, f"{case}: {got}"
            got = ended(source)
            assert got == of_source, f"{case}: {got}"
            assert camera.n_starts == 0
            camera.stop()
            screen.stop()


sys.exit(run_tests(globals()))
