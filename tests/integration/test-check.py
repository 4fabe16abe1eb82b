#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/check itself: nothing that a test program starts outlives it, however it ends, and what it left is named. Prints TAP."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

CHECK = pathlib.Path(__file__).resolve().parents[1] / "check"
PATIENCE = 60
# Stays, out of its parent's reach: in a session of its own, without its parent, deaf to kind signals.
STAYER = """#!/bin/bash
setsid bash -c 'trap "" TERM INT HUP; echo $$ >"$0".new; mv "$0".new "$0"; while :; do sleep 1; done' "$1" </dev/null >/dev/null 2>&1 &
until [ -s "$1" ]; do sleep 0.02; done
"""
PROGRAMS = {
    "good": "#!/bin/sh\necho ok 1 - a\necho 'ok 2 - b # SKIP why'\n",
    "bad": "#!/bin/sh\necho ok 1 - a\necho not ok 2 - b\nexit 1\n",
    "dies": "#!/bin/sh\necho ok 1 - a\nkill -SEGV $$\n",
    "stayer": STAYER,
    "leaver": STAYER + "echo ok 1 - all is well\n",
    "hanger": STAYER + "echo ok 1 - so far\nsleep 1000\n",
    # What ends by itself, a little after its parent, was not left running.
    "lagger": "#!/bin/sh\nsleep 0.3 &\necho ok 1 - a\n",
    # Says one thing the first time, and another after that; both run at once.
    "twin": "#!/bin/sh\necho ok 1 - a\nif mkdir $0.first; then sleep 1; else sleep 0.3; echo ok 2 - b; fi 2>/dev/null\n",
}


def lives(pid):
    try:
        return "Z" != pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Place:
    """A directory with the programs, and tests/check run in it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.stays = self.directory / "pid"  # of what stays
        self.processes = []
        for name, text in PROGRAMS.items():
            (self.directory / name).write_text(text)
            (self.directory / name).chmod(0o755)

    def start(self, *lines):
        environment = {key: value for key, value in os.environ.items() if key != "CI"} | {"BUILD": str(self.directory)}
        process = subprocess.Popen([CHECK, *(line.replace("./", f"{self.directory}/") for line in lines)], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        self.processes.append(process)
        return process

    def run(self, *lines):
        process = self.start(*lines)
        output = process.communicate(timeout=PATIENCE)[0]
        return process.returncode, output, output.splitlines()[-1]

    def stayed(self):
        """Whether what stays does so still."""
        return lives(int(self.stays.read_text()))

    def end(self):
        """For a test must not do what it forbids."""
        if self.stays.exists() and self.stayed():
            os.kill(int(self.stays.read_text()), signal.SIGKILL)
        for process in self.processes:
            process.terminate()
            process.communicate()


def test_counts(place):
    """what passed, failed, was skipped, died or was never built is counted"""
    for lines, status, end in ((["./good"], 0, "1 passed, 0 failed, 1 skipped"),
                               (["./good", "./bad", "./good"], 1, "3 passed, 1 failed, 2 skipped"),
                               (["./dies"], 1, "1 passed, 1 failed, 0 skipped"),
                               (["./good", "./none"], 1, "1 passed, 1 failed, 1 skipped"),
                               (["./lagger"], 0, "1 passed, 0 failed, 0 skipped"),
                               (["./twin", "./twin"], 0, "3 passed, 0 failed, 0 skipped"),
                               ([], 1, "0 passed, 1 failed, 0 skipped")):
        returned = place.run(*lines)
        assert (returned[0], returned[2]) == (status, end), (lines, returned)


def test_leaver(place):
    """a program that leaves another running fails, and the other is named and ended"""
    status, output, last = place.run(f"./leaver {place.stays}", "./good")
    assert not place.stayed(), output
    assert (status, last) == (1, "2 passed, 1 failed, 1 skipped"), output
    assert re.search("left running: bash -c trap", output), output


def test_time_limit(place):
    """a program that takes too long fails and is ended, with what it has started"""
    status, output, last = place.run(f"TIME_LIMIT=3 ./hanger {place.stays}")
    assert not place.stayed(), output
    assert (status, last) == (1, "1 passed, 1 failed, 0 skipped"), output
    assert "still running after 3 s: sleep 1000" in output, output


def test_ended(place):
    """told to end, even by SIGKILL, it ends all that it started"""
    for told in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        place.stays.unlink(missing_ok=True)
        process = place.start(f"./hanger {place.stays}", "./good")
        until(place.stays.exists, "the program did not start")
        process.send_signal(told)
        output = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode != 0 and "passed" not in output, (told, output)
        if told == signal.SIGKILL:  # its keepers see that it died, and then end theirs
            until(lambda: not place.stayed(), "what stays was not ended")
        assert not place.stayed(), (told, output)


def main():
    tests = [test_counts, test_leaver, test_time_limit, test_ended]
    failed = 0
    for number, test in enumerate(tests, 1):
        with tempfile.TemporaryDirectory(prefix="qdb-check-") as directory:
            place = Place(directory)
            try:
                test(place)
                print(f"ok {number} - {test.__doc__}", flush=True)
            except (AssertionError, subprocess.TimeoutExpired) as e:
                failed += 1
                print(f"not ok {number} - {test.__doc__}\n#", str(e).replace("\n", "\n# "), flush=True)
            finally:
                place.end()
    print(f"1..{len(tests)}")
    return failed != 0


sys.exit(main())
