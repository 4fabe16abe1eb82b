#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The real broker is killed, and has its system calls and its allocations fail, at each of them, while it assigns, attaches,
moves, detaches, reloads its policy, sleeps, and proves after a restart what ran before it. Prints TAP and counts.

Each run is one of crash-driver, which plays users and agents and judges; the audit log is read here once more. Needs BIN
(where crash-driver, starve.so and device-broker are) and strace. QDB_FULL=1: at each call; else at some of them, spread
evenly.
Hostile cases: ST01, ST02, ST07, ST16, ST22.
"""
import collections
import concurrent.futures
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from audit_log import Wrong, read_log, require

DRIVER = pathlib.Path(os.environ.get("BIN", "build/gcc/bin")).resolve() / "crash-driver"
# A leak check cannot run under strace; starve.so comes before the sanitizer.
ENVIRONMENT = os.environ | {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99:verify_asan_link_order=0"}
FULL = os.environ.get("QDB_FULL") == "1"
JOBS = 8 * len(os.sched_getaffinity(0))  # most of a run is waiting
TIME_LIMIT = 300
FAST = "--seccomp-bpf"  # strace 6.1 sends no signal with it
HOWS = "silent dies cut-before cut-instead cut-after refuses".split()
ERRORS = {"write": ["ENOSPC", "EIO"], "fdatasync": ["EIO", "ENOSPC"], "fsync": ["EIO", "ENOSPC"],
          "renameat": ["EIO", "ENOSPC"], "renameat2": ["EIO", "ENOSPC"], "openat": ["EIO", "ENOSPC"]}
KILLS, FAULTS = {"life": 90, "recovery": 50}, {"life": 60, "recovery": 40}  # runs, unless FULL
STARVED = {"life": 60, "recovery": 40}
numbers = itertools.count(1)


class Case:
    """Runs of one kind, and what was wrong with them."""

    def __init__(self, base, pool):
        self.base, self.pool = base, pool
        self.lock = threading.Lock()
        self.runs, self.hits, self.wrong, self.futures = 0, 0, [], []

    def run(self, *words):
        with self.lock:
            directory = self.base / str(next(numbers))
        directory.mkdir()
        trace, said, wrong = directory / "trace", "", None
        try:
            done = subprocess.run([DRIVER, directory, *words], env=ENVIRONMENT, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=TIME_LIMIT, check=False)
            said = done.stdout.decode(errors="replace").strip()
            require(done.returncode == 0, f"{done.returncode}: {said}")
            read_log(directory / "state")
        except (Wrong, ValueError, KeyError, OSError, subprocess.SubprocessError) as error:
            wrong = f"{' '.join(words)}: {error}"
        text = trace.read_text(errors="replace") if trace.exists() else ""
        with self.lock:
            self.runs += 1
            self.hits += "INJECTED" in text or "killed by SIGKILL" in text or not words[1:]
            if wrong:
                self.wrong.append(wrong)
        shutil.rmtree(directory)
        return text

    def start(self, jobs):
        self.futures += [self.pool.submit(self.run, *job) for job in jobs]

    def wait(self):
        for future in self.futures:
            future.result()


def steps_of(text):
    """(name, number) of each system call from the state directory's lock on; what is only said on stderr is left out."""
    counts, begun, steps = collections.Counter(), False, []
    for line in text.splitlines():
        call = re.match(r"\d+ +(\w+)\((.*)", line)
        if not call:
            continue
        counts[call[1]] += 1
        begun = begun or '"lock"' in call[2]
        if begun and not (call[1] == "write" and call[2].startswith("2,")):
            steps.append((call[1], counts[call[1]]))
    return steps


def number_of(text, name, part):
    """Which call of that name has this in its line."""
    calls = [line for line in text.splitlines() if re.match(rf"\d+ +{name}\(", line)]
    return next(number for number, line in enumerate(calls, 1) if part in line)


def number_of_allocations(text):
    counted = re.search(r"(\d+) allocations", text)
    return int(counted[1]) if counted else 0


def spread(jobs, n):
    jobs = list(jobs)
    return jobs if FULL or len(jobs) <= n else [jobs[i * len(jobs) // n] for i in range(n)]


def kills(scenario, steps):
    for name, number in steps:
        yield scenario, f"-etrace=write,fdatasync,{name}", f"-einject={name}:signal=SIGKILL:when={number}"


def faults(scenario, steps):
    for name, number in steps:
        for error, more in itertools.product(ERRORS.get(name, ()), ("", "+")):
            yield (scenario, FAST, f"-etrace=write,fdatasync,{name}",
                   f"-einject={name}:error={error}:when={number}{more}")
        if name in ("write", "fdatasync"):  # and what was written cannot be taken back
            for more in ("", "+"):
                yield (scenario, FAST, "-etrace=write,fdatasync,ftruncate",
                       f"-einject={name}:error=EIO:when={number}{more}", "-einject=ftruncate:error=EIO:when=1+")


def starvings(scenario, n):
    for number, more in itertools.product(range(1, n + 1), ("", "+")):
        yield scenario, f"starve:{number}{more}"


def main():
    if not shutil.which("strace"):
        print("1..0 # skip strace is not installed")
        return 77
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # syncs cost nothing there
    base = pathlib.Path(tempfile.mkdtemp(prefix="test-crash-", dir=memory))
    began, failed = time.monotonic(), 0
    try:
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            cases = {"each step of an attach and of a detach fails": Case(base, pool)}
            cases["each step of an attach and of a detach fails"].start([(f"failing:{how}",) for how in HOWS])
            for scenario in ("life", "recovery"):
                traced = Case(base, pool)
                text = traced.run(scenario, "-etrace=all")
                steps, machine_id = steps_of(text), number_of(text, "openat", '"/etc/machine-id"')
                n_allocations = number_of_allocations(traced.run(scenario, "starve:0"))
                cases[f"{scenario}: without a fault"] = traced
                case = cases[f"{scenario}: each of {n_allocations} allocations fails, once and for ever"] = Case(base, pool)
                case.start(spread(starvings(scenario, n_allocations), STARVED[scenario]))
                for what, make, n in (("kill -9", kills, KILLS), ("failures, once and for ever,", faults, FAULTS)):
                    case = cases[f"{scenario}: {what} at each of {len(steps)} system calls"] = Case(base, pool)
                    case.start(spread(make(scenario, steps), n[scenario]))
                # a journal must not become another machine's
                case.start([(scenario, FAST, "-etrace=write,fdatasync,openat",
                             f"-einject=openat:error=EIO:when={machine_id}")])
            for number, (what, case) in enumerate(cases.items(), 1):
                case.wait()
                good = not case.wrong and (case.hits or "without" in what)
                failed += not good
                print(f"{'ok' if good else 'not ok'} {number} - {what}: {case.runs} runs, {case.hits} with the fault, "
                      f"{len(case.wrong)} wrong", flush=True)
                for line in case.wrong[:20]:
                    print("#", line.replace("\n", " "))
        print(f"# {sum(case.runs for case in cases.values())} runs in {time.monotonic() - began:.0f} s, "
              f"{sum(len(case.wrong) for case in cases.values())} wrong states")
        print(f"1..{len(cases)}")
    finally:
        shutil.rmtree(base)
    return bool(failed)


sys.exit(main())
