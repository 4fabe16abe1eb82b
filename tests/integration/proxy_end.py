# SPDX-License-Identifier: GPL-2.0-or-later
"""One proxy, as the agent starts it, and what it reports (lib/proxy/report.h). Needs BIN (where the programs are)."""
import contextlib
import fcntl
import multiprocessing
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

BIN = pathlib.Path(os.environ.get("BIN", "build/gcc/bin")).resolve()
LISTENING, READY, STREAM, ENDED = 1, 2, 3, 4
REPORT = struct.Struct("BBBBIQQ")
OUTCOMES = re.findall(r"^\tO\((\w+),", (pathlib.Path(__file__).resolve().parents[2] / "lib/wire/messages.h").read_text(), re.M)
HIGH = 30  # no proxy is given an fd from here on


class ProxyEnd:
    def __init__(self, program, words, fds, env=None, log=None):
        """`program`: a name in BIN, or a path. `fds`: {place in the proxy: ours}; place 3 is the report's."""
        self.report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.seen = []
        places = {3: theirs.fileno(), **fds}

        def place():
            # away first, to where nothing is: one of them may have the place of another
            high = {to: fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH) for to, fd in places.items()}
            for to, fd in high.items():
                os.dup2(fd, to)
                os.set_inheritable(to, True)

        self.process = subprocess.Popen([BIN / program, *words], preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=log, env={"PATH": os.environ["PATH"], **(env or {})})
        theirs.close()

    def hear(self, seconds=5):
        """The next report: (type, outcome, in use, bytes to and from the target)."""
        self.report.settimeout(seconds)
        raw = self.report.recv(64)
        if not raw:
            return None
        kind, outcome, _, in_use, _, to, back = REPORT.unpack(raw)
        self.seen.append((kind, outcome, in_use, to, back))
        return self.seen[-1]

    def wait(self, kind, seconds=10):
        while True:
            report = self.hear(seconds)
            assert report and (report[0] == kind or report[0] == STREAM), f"{report} instead of {kind}"
            if report[0] == kind:
                return report

    def say(self, word):
        self.report.send(word)

    def stop(self):
        with contextlib.suppress(ConnectionError):
            self.say(b"S")
        self.process.wait(10)
        self.report.close()


def wait_for(what, seconds=10, every=0.01):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"waited {seconds} s in vain")


def run_test(test):
    """What went wrong in a test(directory), as text: nothing."""
    with tempfile.TemporaryDirectory(prefix="proxies-") as directory:
        try:
            test(directory)
            return ""
        except Exception:  # a test that fails says so, and the others run
            return traceback.format_exc()


def run_tests(names, at_once=1):
    """Runs each test_NAME(directory) of a module, or those that the command line names, so many at once; prints TAP; the exit status."""
    tests = [(name, test) for name, test in sorted(names.items())
             if name.startswith("test_") and name in (sys.argv[1:] or [name])]
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(multiprocessing.get_context("fork").Pool(at_once)).imap if at_once > 1 else map
        for number, ((name, _), wrong) in enumerate(zip(tests, run(run_test, [test for _, test in tests])), 1):
            failed += bool(wrong)
            print(f"{'not ok' if wrong else 'ok'} {number} - {name}")
            print("".join(f"# {line}\n" for line in wrong.splitlines()), end="", flush=True)
    return 1 if failed else 0
