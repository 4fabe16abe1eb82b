# SPDX-License-Identifier: GPL-2.0-or-later
"""Sound servers without a sound card, and both ends of an audio session between two of them, for tests.

Needs BIN (where the programs are). Nothing is played: PulseAudio and PipeWire are the real ones; a "headset" is their own
module-pipe-source, into which the test writes what it would hear.
"""
import array
import contextlib
import fcntl
import hashlib
import math
import os
import pathlib
import signal
import struct
import subprocess
import termios
import threading
import time

from proxy_end import BIN, ENDED, LISTENING, OUTCOMES, READY, STREAM, ProxyEnd, run_tests, wait_for  # noqa: F401: for who imports us

RATE = 48000


class Server:
    """One sound server with a folder of its own, or users' runtime folders in it; kind: "pulseaudio" or "pipewire"."""

    def __init__(self, kind, directory, modules=(), runtime="run"):
        self.kind, self.directory = kind, pathlib.Path(directory)
        self.runtime = self.directory / runtime
        (self.directory / "home").mkdir(parents=True, exist_ok=True)
        self.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.address = f"unix:{self.runtime}/pulse/native"
        self.env = {"HOME": str(self.directory / "home"), "XDG_RUNTIME_DIR": str(self.runtime),
                    "PATH": os.environ["PATH"], "PULSE_SERVER": self.address, "LC_ALL": "C.UTF-8"}
        self.log = open(self.directory / "log", "w+b")
        self.processes = []
        if kind == "pulseaudio":
            (self.runtime / "pulse").mkdir(mode=0o700, exist_ok=True)
            self.start("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-level=info",
                       "-L", f"module-native-protocol-unix socket={self.address[5:]}",
                       *(word for module in modules for word in ("-L", module)))
        else:
            self.start("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={self.runtime}/bus")
            self.env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={self.runtime}/bus"
            wait_for(lambda: (self.runtime / "bus").exists())
            self.start("pipewire")
            wait_for(lambda: (self.runtime / "pipewire-0").exists())
            self.start("wireplumber")
            self.start("pipewire-pulse")
        wait_for(lambda: self.pactl("info", check=False), 30)
        for module in modules if kind != "pulseaudio" else ():
            self.pactl("load-module", *module.split(" "))

    def start(self, *words):
        self.processes.append(subprocess.Popen(words, env=self.env, stdin=subprocess.DEVNULL, stdout=self.log,
                                               stderr=self.log))

    def pactl(self, *words, check=True):
        done = subprocess.run(["pactl", *words], env=self.env, capture_output=True, text=True, timeout=20, check=False)
        assert not check or done.returncode == 0, f"pactl {words}: {done.stderr}"
        return done.stdout if done.returncode == 0 else ""

    def source(self, name):
        """The state of a source, "": there is none."""
        for line in self.pactl("list", "short", "sources").splitlines():
            fields = line.split("\t")
            if fields[1] == name:
                return fields[-1]
        return ""

    def headset(self, name="headset", channels=2, properties=""):
        """Adds a source; returns the path that is its microphone."""
        path = self.directory / name
        self.pactl("load-module", "module-pipe-source", f"source_name={name}", f"file={path}", "format=s16le", f"rate={RATE}",
                   f"channels={channels}", *([f'source_properties="{properties}"'] if properties else []))
        return path

    def sink(self, name):
        """The state of a sink, "": there is none."""
        for line in self.pactl("list", "short", "sinks").splitlines():
            fields = line.split("\t")
            if fields[1] == name:
                return fields[-1]
        return ""

    def speakers(self, name="speakers"):
        """Adds a sink; what it plays is heard from its monitor."""
        self.pactl("load-module", "module-null-sink", f"sink_name={name}", "format=s16le", f"rate={RATE}", "channels=2")

    def virtual(self):
        """The names of our virtual microphones and speakers, and of the monitors of those."""
        names = [line.split("\t")[1] for line in (self.pactl("list", "short", "sources") +
                                                  self.pactl("list", "short", "sinks")).splitlines()]
        return [name for name in names if name.startswith("qdb.")]

    def send_signal(self, number):
        for process in reversed(self.processes):
            process.send_signal(number)

    def stop(self, how=signal.SIGTERM):
        self.send_signal(how)
        for process in self.processes:
            process.wait(10)
        self.log.close()


class Headset(threading.Thread):
    """Speaks into a source: counts frames, or a tone; by a clock that may be `ppm` fast."""

    holds = 4  # blocks that wait for whoever listens: a microphone does not wait for those who do not

    def __init__(self, path, tone=0, ppm=0):
        super().__init__(daemon=True)
        self.path, self.tone, self.ppm = path, tone, ppm
        self.count = 0  # frames so far
        self.ended = False
        self.start()

    def block(self, n):
        if self.tone:
            values = (int(12000 * math.sin(2 * math.pi * self.tone * (self.count + i) / RATE)) for i in range(n))
            return array.array("h", [value for value in values for _ in range(2)]).tobytes()
        return array.array("I", range(self.count + 1, self.count + n + 1)).tobytes()

    def run(self):
        fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        begun, n = time.monotonic(), RATE // 200
        while not self.ended:
            time.sleep(max(0, begun + self.count / RATE / (1 + self.ppm * 1e-6) - time.monotonic()))
            waiting = fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4)
            if int.from_bytes(waiting, "little") < self.holds * 4 * n:
                os.write(fd, self.block(n))
            self.count += n
        os.close(fd)

    def stop(self):
        self.ended = True
        self.join(5)


class Recorder:
    """An ordinary program of the target: parec."""

    def __init__(self, server, source):
        self.process = subprocess.Popen(["parec", "--raw", "-d", source, "--format=s16le", f"--rate={RATE}", "--channels=2",
                                         "--latency-msec=20"], env=server.env, stdout=subprocess.PIPE, stderr=server.log)
        self.raw = bytearray()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while data := self.process.stdout.read1(65536):
            self.raw += data

    def frames(self):
        """The frames heard so far, as numbers."""
        return array.array("I", bytes(self.raw[:len(self.raw) // 4 * 4]))

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        self.reader.join(5)
        return self.frames()


class Player(threading.Thread):
    """An ordinary program of the target that plays a tone: pacat."""

    def __init__(self, server, sink, tone=440, seconds=0):
        super().__init__(daemon=True)
        self.seconds = seconds  # 0: until it is stopped
        self.process = subprocess.Popen(["pacat", "--raw", "-d", sink, "--format=s16le", f"--rate={RATE}", "--channels=2",
                                         "--latency-msec=20"], env=server.env, stdin=subprocess.PIPE, stderr=server.log)
        values = (int(12000 * math.sin(2 * math.pi * tone * i / RATE)) for i in range(RATE))  # whole hertz: a second fits
        self.second = array.array("h", [value for value in values for _ in range(2)]).tobytes()
        self.start()

    def run(self):
        with contextlib.suppress(BrokenPipeError, ValueError):
            if self.seconds:
                self.process.stdin.write(self.second[:int(self.seconds * RATE) * 4])
                self.process.stdin.close()
            while not self.seconds:
                self.process.stdin.write(self.second)

    def stop(self):
        self.process.kill()
        self.process.wait(10)
        self.join(5)


def text_field(text):
    return text.encode().ljust(128, b"\0")


def hello(name="Headset microphone (sys-usb)", channels=2, rate=RATE, kind=1, vendor=0x46d, product=0xa4d, serial="S1"):
    return struct.pack("<IHBBIHH", 0x41424451, 2, kind, channels, rate, vendor, product) + text_field(serial) + text_field(name)


def approved(raw):
    """digest_approved() of a hello and of what is shown of it, in hexadecimal."""
    vendor, product = struct.unpack_from("<HH", raw, 12)
    shown = struct.pack("<BHHB3x", 0, vendor, product, 1) + raw[16:144].rstrip(b"\0")
    return hashlib.sha256(hashlib.sha256(raw).digest() + shown).hexdigest()


class End(ProxyEnd):
    """One end of a session of sound."""

    def __init__(self, mode, server, *words, snapshot=None, channel, service="qdb/1", log=None, programs=BIN):
        own, peer = ("1", "2") if mode == "export" else ("2", "1")
        with contextlib.ExitStack() as stack:
            fds = {}
            if snapshot is not None:
                memory = os.memfd_create("snapshot")
                stack.callback(os.close, memory)
                os.write(memory, snapshot)
                fds = {4: memory, 5: memory}
            super().__init__(programs / "audio-proxy", [
                mode, "--channel", f"socket:{channel}", "--own", own, "--peer", peer, "--service", service, "--user", "nobody",
                "--server", server.address, "--owner", str(os.getuid()), *words], fds, log=log)
