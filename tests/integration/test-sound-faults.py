#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ends of an audio session when their own system calls fail, each in turn (AU08, AU13). Prints TAP.

Needs BIN (where the programs are), root, and strace, which lets the Nth call fail. The real end ends by itself or goes on; it never
hangs nor crashes, the other end hears of it, and the headset is let go of. An importer that has lost its server leaves the virtual
microphone to the agent (test-mic.py, test_killed).

What else is asked of a microphone, and where it is shown: AU01, AU03 test-sender.c, test-receiver.c, test-stream.c; AU05, AU06
test-receiver.c, test-audio-hostile.py (flood, slow, silent); AU08 test-audio.py, test-mic.py (servers that die and return); AU10
test-mic.py (test_another_comes); AU12 test-audio.py, test-sound.py (test_opened_and_let_go); AU15 test-channel.c.
"""
import contextlib
import os
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
from audio_world import BIN, ENDED, LISTENING, READY, End, Headset, Recorder, Server, approved, hello, run_tests, wait_for

FULL = os.environ.get("QDB_FULL") == "1"
READS, WRITES = "read,recvfrom,recvmsg,readv", "write,sendto,sendmsg,writev"
NUMBERS = range(1, 150) if FULL else (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)

# By itself; the linker's; by the sandbox, for libpulse's log of what went wrong wants more than that lets it have.
ENDS = {0, 1, 127, -signal.SIGSYS}


def faulty(directory, calls, number):
    """A folder in which audio-proxy is the real one, whose Nth call of these fails."""
    program = directory / "bin/audio-proxy"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nexec strace -qq -o {directory}/trace -e trace={calls} "
                       f"-e inject={calls}:error=EIO:when={number} {BIN}/audio-proxy \"$@\"\n")
    program.chmod(0o755)
    return program.parent


def end_of(end):
    """The outcome with which it ended, once it has: a number, or None: without a word."""
    with contextlib.suppress(ConnectionResetError):  # it did not read our last word
        while report := end.hear(15):
            if report[0] == ENDED:
                return report[1]
    return None


def fail_once(directory, servers, role, calls, number):
    """Both ends, of which one has a call that fails while a program records; True: it failed."""
    for name in ("channel", "pipes"):
        (directory / name).mkdir(parents=True)
    programs = faulty(directory, calls, number)
    words = {"channel": directory / "channel"}

    def begin(mode, server, *more, **snapshot):
        return End(mode, server, *more, **snapshot, **words, programs=programs if mode == role else BIN)

    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(directory / "log", "w+b"))
        words["log"] = log
        export = begin("export", servers[0], "--source", "headset", snapshot=hello())
        stack.callback(export.stop)
        report = export.hear(15)
        if not report or report[0] != LISTENING:
            return True
        target = begin("import", servers[1], "--kind", "mic", "--pipe-dir", str(directory / "pipes"), "--digest", approved(hello()))
        stack.callback(target.stop)
        report = target.hear(15)
        recorder = Recorder(servers[1], "qdb.1") if report and report[0] == READY else None
        if recorder:
            with contextlib.suppress(AssertionError):
                wait_for(lambda: any(recorder.frames()) or any(end.process.poll() is not None for end in (export, target)), 3)
            recorder.process.kill()
            recorder.process.wait(10)
        for end in (target, export):
            with contextlib.suppress(ConnectionError):
                end.say(b"S")
        for end in (target, export):
            if end is not target or recorder:
                end_of(end)
            end.process.wait(10)
        codes = [end.process.returncode for end in (export, target)]
        log.seek(0)
        assert set(codes) <= ENDS, (role, number, codes, log.read()[-500:], (directory / "trace").read_text()[-800:])
    failed = "(INJECTED)" in (directory / "trace").read_text(errors="replace")
    wait_for(lambda: servers[0].source("headset") in ("SUSPENDED", "IDLE"), 3)
    return failed


def check(directory, role, calls):
    directory = pathlib.Path(directory)
    servers = [Server("pulseaudio", directory / name) for name in ("source", "target")]
    headset = Headset(servers[0].headset())
    n_failed, n_left = 0, 0
    for number in NUMBERS:
        n_failed += fail_once(directory / str(number), servers, role, calls, number)
        if servers[1].virtual():
            n_left += 1
            servers[1].pactl("unload-module", "module-pipe-source")
    print(f"# {role}: {n_failed} of {len(NUMBERS)} failed, {n_left} virtual microphones were left", flush=True)
    assert n_failed > len(NUMBERS) / 2 and (role == "import" or not n_left)
    headset.stop()
    for server in servers:
        server.stop()


def test_export_reads(directory):
    check(directory, "export", READS)


def test_import_reads(directory):
    check(directory, "import", READS)


def test_export_writes(directory):
    check(directory, "export", WRITES)


def test_import_writes(directory):
    check(directory, "import", WRITES)


sys.exit(run_tests(globals()))
