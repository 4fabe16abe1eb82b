#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One real end of an audio session, with a real sound server, against another qube that lies. Prints TAP.

Needs BIN (where the programs are). What is asked: the real end cuts it off, or goes on as if it were slow; it always ends with
a reason, leaves nothing behind, and needs no more memory.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from audio_world import BIN, ENDED, LISTENING, OUTCOMES, READY, STREAM, End, Headset, Player, Recorder, Server, approved, hello, run_tests, wait_for

CUT, SLOW = "PEER_CHEATED", "PEER_LOST"  # SLOW: until the liar goes away
# A program records from the virtual microphone meanwhile.
EXPORTERS = {
    "before-go": CUT, "before-start": CUT, "empty-block": CUT, "long-block": CUT, "longest-block": CUT, "next-run": CUT,
    "backwards": CUT, "far-ahead": SLOW, "noise": CUT, "flood": SLOW, "slow": SLOW, "half-a-block": SLOW, "silent": SLOW,
    "says-words": CUT,
}
IMPORTERS = {
    "start-without-go": CUT, "wrong-version": CUT, "go-twice": CUT, "no-such-word": CUT, "skips-a-run": CUT, "start-twice": CUT,
    "stop-without-start": CUT, "stop-of-another": CUT, "words-of-noise": CUT, "restless": CUT, "says-blocks": CUT, "deaf": SLOW, "mute": SLOW,
    "brief": SLOW,
}
# Of a speaker: a program plays meanwhile to the virtual one, and the exporter's words come; or the importer says what is played.
SPEAKER_EXPORTERS = {
    "before-go": CUT, "one-byte": CUT, "one-byte-late": CUT, "says-words": CUT, "says-blocks": CUT, "noise": CUT, "deaf": SLOW,
}
SPEAKER_IMPORTERS = {
    "start-without-go": CUT, "wrong-version": CUT, "go-twice": CUT, "start-twice": CUT, "words-of-noise": CUT, "restless": CUT,
    "before-go-block": CUT, "without-start": CUT, "after-stop": CUT, "old-run": CUT, "stop-in-a-block": CUT, "empty-block": CUT,
    "long-block": CUT, "longest-block": CUT, "next-run": CUT, "backwards": CUT, "noise": CUT,
    "far-ahead": SLOW, "flood": SLOW, "slow": SLOW, "half-a-block": SLOW, "silent": SLOW, "mute": SLOW, "brief": SLOW,
}
HELLO_LIES = {  # offset, bytes: every one is what was approved, for a device qube may show what it likes
    "magic": (0, b"\0"), "version": (4, b"\1"), "kind": (6, b"\0"), "no kind": (6, b"\7"), "another kind": (6, b"\2"), "no channels": (7, b"\0"),
    "9 channels": (7, b"\x09"), "255 channels": (7, b"\xff"), "rate 0": (8, b"\0\0\0\0"), "rate 1": (8, b"\1\0\0\0"),
    "rate 2^31": (8, b"\0\0\0\x80"), "escape in the serial": (16, b"\x1b"), "no end": (144, b"n" * 128),
    "escape in the name": (144, b"\x1b[2J"), "C1": (144, b"\x9b"), "no name": (144, b"\0"), "behind the end": (271, b"x"),
}
RSS_GROWS_MIB = 8


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Case:
    """One lie: a channel and a log of its own."""

    def __init__(self, directory, name):
        self.directory = pathlib.Path(directory) / name.replace(" ", "-")
        (self.directory / "channel").mkdir(parents=True)
        (self.directory / "pipes").mkdir()
        self.log = open(self.directory / "log", "w+b")

    def liar(self, role, kind, lie, *words):
        return subprocess.Popen([BIN / "sound-liar", role, kind, lie, self.directory / "channel", *words], stderr=self.log)

    def importer(self, server, raw, kind="mic"):
        return End("import", server, "--kind", kind, "--pipe-dir", str(self.directory / "pipes"), "--digest", approved(raw),
                   channel=self.directory / "channel", log=self.log)

    def exporter(self, server, source="headset", **what):
        return End("export", server, "--source", source, snapshot=hello(**what), channel=self.directory / "channel", log=self.log)

    def check_end(self, end, expected):
        report = end.hear(15)
        while report and report[0] != ENDED:
            report = end.hear(15)
        end.process.wait(10)
        self.log.seek(0)
        said = self.log.read().decode(errors="replace")
        assert report and OUTCOMES[report[1]] == expected, f"{self.directory.name}: {report}, not {expected}: {said}"
        assert end.process.returncode in (0, 1) and "Sanitizer" not in said and "runtime error" not in said, said
        assert not os.listdir(self.directory / "pipes")


def test_hellos(directory):
    server = Server("pulseaudio", pathlib.Path(directory) / "server")
    for name, (at, lie) in HELLO_LIES.items():
        case = Case(directory, name)
        raw = bytearray(hello())
        raw[at:at + len(lie)] = lie
        (case.directory / "hello").write_bytes(raw)
        liar = case.liar("exporter", "mic", "silent", case.directory / "hello")
        wait_for(lambda: os.listdir(case.directory / "channel"))
        case.check_end(case.importer(server, bytes(raw)), "CHANGED")
        liar.wait(10)
        assert not server.virtual(), name
    server.stop()


def test_exporters(directory):
    server = Server("pulseaudio", pathlib.Path(directory) / "server")
    for lie, expected in EXPORTERS.items():
        case = Case(directory, lie)
        (case.directory / "hello").write_bytes(hello())
        liar = case.liar("exporter", "mic", lie, case.directory / "hello")
        wait_for(lambda: os.listdir(case.directory / "channel"))
        end = case.importer(server, hello())
        recorder = None
        if lie not in ("before-go", "before-start"):
            end.wait(READY)
            before = rss_mib(end.process.pid)
            recorder = Recorder(server, "qdb.1")
        if expected == SLOW:
            enough = 0.5 if lie == "slow" else 2  # by the clock, whatever the exporter does; but a slow one is taken at its word
            wait_for(lambda: len(recorder.raw) > 48000 * 4 * enough, 5)
            assert rss_mib(end.process.pid) < before + RSS_GROWS_MIB, f"{lie}: {before} to {rss_mib(end.process.pid)} MiB"
            assert len(recorder.raw) < 48000 * 4 * 5, f"{lie}: {len(recorder.raw)} bytes"
        case.check_end(end, expected)
        if recorder:
            recorder.process.kill()
            recorder.process.wait()
        liar.wait(10)
        assert not server.virtual(), lie
    server.stop()


def test_importers(directory):
    server = Server("pulseaudio", pathlib.Path(directory) / "server")
    headset = Headset(server.headset())
    for lie, expected in IMPORTERS.items():
        case = Case(directory, lie)
        end = case.exporter(server)
        end.wait(LISTENING)
        before = rss_mib(end.process.pid)
        liar = case.liar("importer", "mic", lie)
        if lie == "deaf":
            wait_for(lambda: server.source("headset") == "RUNNING", 3)
        if lie == "brief":
            time.sleep(1)  # it is not open for the rest of the session
            assert server.source("headset") == "SUSPENDED" and end.process.poll() is None
        case.check_end(end, expected)
        liar.wait(10)
        wait_for(lambda: server.source("headset") == "SUSPENDED", 3)  # no lamp stays on
    headset.stop()
    server.stop()


def test_stopped_while_it_closes(directory):
    """The session ends before the server has answered about what was closed just before: no lamp stays on all the same."""
    server = Server("pulseaudio", pathlib.Path(directory) / "server")
    headset = Headset(server.headset())
    case = Case(directory, "stopped")
    end = case.exporter(server)
    end.wait(LISTENING)
    liar = case.liar("importer", "mic", "deaf")
    wait_for(lambda: server.source("headset") == "RUNNING")
    server.send_signal(signal.SIGSTOP)
    try:
        end.say(b"M")
        time.sleep(0.2)
        end.say(b"S")
        time.sleep(0.2)
    finally:
        server.send_signal(signal.SIGCONT)
    case.check_end(end, "STOPPED")
    wait_for(lambda: server.source("headset") == "SUSPENDED", 3)
    liar.wait(10)
    headset.stop()
    server.stop()


def test_speaker_exporters(directory):
    server = Server("pulseaudio", pathlib.Path(directory) / "server")
    raw = hello(kind=2)
    for lie, expected in SPEAKER_EXPORTERS.items():
        case = Case(directory, lie)
        (case.directory / "hello").write_bytes(raw)
        liar = case.liar("exporter", "speaker", lie, case.directory / "hello")
        wait_for(lambda: os.listdir(case.directory / "channel"))
        end = case.importer(server, raw, "speaker")
        player = None
        if lie not in ("before-go", "one-byte"):
            end.wait(READY)
            before = rss_mib(end.process.pid)
            player = Player(server, "qdb.1")
        if expected == SLOW:
            end.wait(STREAM, 2)
            wait_for(lambda: rss_mib(end.process.pid) < before + RSS_GROWS_MIB)
        case.check_end(end, expected)
        if player:
            player.stop()
        liar.wait(10)
        assert not server.virtual(), lie
    server.stop()


def test_speaker_importers(directory):
    """What they send is played no faster than sound is, makes no delay grow, and leaves the sink to itself afterwards."""
    server = Server("pulseaudio", pathlib.Path(directory) / "server")
    server.speakers()
    for lie, expected in SPEAKER_IMPORTERS.items():
        case = Case(directory, lie)
        end = case.exporter(server, "speakers", kind=2)
        end.wait(LISTENING)
        before = rss_mib(end.process.pid)
        liar = case.liar("importer", "speaker", lie)
        if lie == "brief":
            time.sleep(1)
            assert server.sink("speakers") == "SUSPENDED" and end.process.poll() is None
        elif expected == SLOW and lie != "mute":
            wait_for(lambda: server.sink("speakers") == "RUNNING", 3)
        if lie == "flood":
            wait_for(lambda: "Buffer Latency" in server.pactl("list", "sink-inputs"), 3)
            for _ in range(10):
                waits = [int(usec) for usec in re.findall(r"Buffer Latency: (\d+) usec", server.pactl("list", "sink-inputs"))]
                assert all(usec < 150000 for usec in waits), waits
                assert rss_mib(end.process.pid) < before + RSS_GROWS_MIB, f"{lie}: {before} to {rss_mib(end.process.pid)} MiB"
                time.sleep(0.2)
        case.check_end(end, expected)
        liar.wait(10)
        wait_for(lambda: server.sink("speakers") == "SUSPENDED", 3)
    server.stop()


sys.exit(run_tests(globals(), at_once=6))
