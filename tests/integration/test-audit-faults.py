#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The audit log is killed, loses power, and has its system calls fail, at each of them. Prints TAP and counts.

Needs BIN (where audit-driver is) and strace. After each run another process must be able to go on with the log, and the
log, read here without the broker's code, must be whole: every record that was written is there, none is that was not.
Hostile cases: ST01, ST02, ST07, ST09, ST16, ST22.
"""
import collections
import concurrent.futures
import itertools
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

from audit_log import Wrong, read_log, require

DRIVER = pathlib.Path(os.environ.get("BIN", "build/gcc/bin")).resolve() / "audit-driver"
N = 20  # records of a run; every second one is durable
FILE_BYTES = 2000  # five records
NOT_RECOVERABLE = -131
ENVIRONMENT = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}  # a leak check cannot run under strace
numbers = itertools.count()


def drive(directory, n, first, prefix=(), kind="mixed"):
    """Writes records; returns what each audit_write() returned (1: it did not return, 2: it was not called)."""
    results = directory.with_name(directory.name + f".results{first}")
    done = subprocess.run([*prefix, DRIVER, directory, "write", str(n), str(FILE_BYTES), kind, str(first), results],
                          env=ENVIRONMENT, capture_output=True, timeout=60)
    words = struct.unpack(f"{n}i", results.read_bytes()) if results.exists() else ()
    results.unlink(missing_ok=True)
    return [2 - word for word in words], done


def judge(directory, written, absent=()):
    """Goes on with the log in a fresh process, then reads it."""
    results, done = drive(directory, 2, 9001, kind="checked")
    require(results == [0, 0], f"the next start cannot write: {results} {done.stderr.decode()}")
    require(done.returncode == 0, f"verify says: {done.stdout.decode()}")
    records = read_log(directory)
    sessions = collections.Counter(int(record["session"], 16) for record in records)
    require(sessions[9001] == sessions[9002] == 1, "the records of the next start are not there")
    require(max(sessions.values()) == 1, "a record is there twice")
    for session in written:
        require(sessions[session], f"the record of session {session} is lost")
    for session in absent:
        require(not sessions[session], f"the record of session {session} is there although it failed")


class Case:
    """Runs many faults, two at a time, each in a copy of `start`, and counts."""

    def __init__(self, base, prepare=None):
        self.base = base
        self.start = base / f"start{next(numbers)}"
        self.start.mkdir()
        if prepare:
            prepare(self.start)
        self.calls = self.trace()
        self.lock = threading.Lock()
        self.runs, self.hits, self.wrong = 0, 0, []

    def copy(self):
        directory = self.base / f"run{next(numbers)}"
        shutil.copytree(self.start, directory)
        return directory

    def trace(self):
        """{call: range of its invocations that belong to the log}"""
        directory, out = self.copy(), self.base / f"trace{next(numbers)}"
        results, done = drive(directory, N, 1, ["strace", "-o", out])
        require(results == [0] * N, f"without faults: {results} {done.stderr.decode()}")
        before, counts, begun = collections.Counter(), collections.Counter(), False
        for line in out.read_text().splitlines():
            call = re.match(r"(\w+)\(", line)
            if call:
                begun = begun or call[1] == "getppid"
                counts[call[1]] += 1
                if not begun:
                    before[call[1]] += 1
        return {call: range(before[call] + 1, counts[call] + 1) for call in counts if counts[call] > before[call]}

    def run(self, injections, check):
        directory, out = self.copy(), self.base / f"trace{next(numbers)}"
        words = [word for injection in injections for word in ("-e", "inject=" + injection)]
        wrong = None
        try:
            results, done = drive(directory, N, 1, ["strace", "-o", out, *words])
            require(results, f"it did not start: {done.stderr.decode()}")
            check(directory, results, done)
        except (Wrong, ValueError, KeyError, OSError, subprocess.SubprocessError) as error:
            wrong = f"{' '.join(injections)}: {error}"
        hit = "INJECTED" in out.read_text() or "SIGKILL" in out.read_text()
        with self.lock:
            self.runs += 1
            self.hits += hit
            if wrong:
                self.wrong.append(wrong)
        out.unlink()
        shutil.rmtree(directory)

    def run_all(self, jobs):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(self.run, *job) for job in jobs]:
                future.result()


def outcomes(results):
    written = [i + 1 for i, r in enumerate(results) if r == 0]
    failed = [i + 1 for i, r in enumerate(results) if r < 0]
    return written, failed


def check_killed(directory, results, _done):
    judge(directory, outcomes(results)[0])


def check_failed(directory, results, done):
    require(done.returncode == 0 and 1 not in results and 2 not in results, f"it ended: {done.returncode} {results}")
    written, failed = outcomes(results)
    judge(directory, written, failed)


def check_untaken(directory, results, _done):
    """What failed could not be taken back either: the last one may be there, or half of it."""
    judge(directory, outcomes(results)[0])


def check_sync(directory, results, done):
    """After the first failure no durable record is written; notes are."""
    check_failed(directory, results, done)
    durable = results[1::2]
    first = next((i for i, r in enumerate(durable) if r), len(durable))
    require(all(r == NOT_RECOVERABLE for r in durable[first:]), f"durable after a failed sync: {results}")
    require(first < len(durable), f"a sync failed and nobody was told: {results}")


def check_once(directory, results, done):
    """One failure costs at most one record."""
    check_failed(directory, results, done)
    require(len([r for r in results if r]) <= 1, f"more than one record failed: {results}")


def failures(case, call, errors, check, check_first=None):
    for n in case.calls.get(call, ()):
        for error in errors:
            yield [f"{call}:error={error}:when={n}"], check_first or check
            yield [f"{call}:error={error}:when={n}+"], check


def test_kill(case):
    """kill -9 at each system call"""
    case.run_all(([f"{call}:signal=SIGKILL:when={n}"], check_killed) for call, ns in case.calls.items() for n in ns)


def test_write_fails(case):
    """write() fails at each call, once and for ever, with each reason"""
    case.run_all(failures(case, "write", ["ENOSPC", "EDQUOT", "EFBIG", "EIO"], check_failed, check_once))


def test_untaken(case):
    """write() or fdatasync() fails, and what was written cannot be taken back"""
    own = next(iter(case.calls.get("ftruncate", range(2, 3))))  # the driver's own come before
    jobs = []
    for n in case.calls["write"]:
        jobs += [([f"write:error=ENOSPC:when={n}{more}", f"ftruncate:error=EIO:when={own}{more}"], check_untaken)
                 for more in ("", "+")]
    for n in case.calls["fdatasync"]:
        jobs += [([f"fdatasync:error=EIO:when={n}{more}", f"ftruncate:error=EIO:when={own}{more}"], check_untaken)
                 for more in ("", "+")]
    case.run_all(jobs)


def test_sync_fails(case):
    """fdatasync() and fsync() fail at each call, once and for ever"""
    case.run_all(itertools.chain(failures(case, "fdatasync", ["EIO", "ENOSPC"], check_sync),
                                 failures(case, "fsync", ["EIO"], check_sync)))


def test_other_calls_fail(case):
    """each other call on the log fails, once and for ever"""
    case.run_all(itertools.chain(
        failures(case, "renameat2", ["EACCES", "ENOSPC", "EIO"], check_failed, check_once),
        failures(case, "openat", ["EMFILE", "EROFS", "ENOSPC"], check_failed),
        failures(case, "ftruncate", ["EIO"], check_failed),
        failures(case, "pread64", ["EIO"], check_failed),
        failures(case, "getdents64", ["EIO"], check_failed),
        failures(case, "fstat", ["EIO"], check_failed),
        failures(case, "sendto", ["EAGAIN"], check_failed, check_once)))


# ---- power loss -------------------------------------------------------------------------------------------------------


class Disk:
    """What a file system guarantees: what was synced is there. Of the rest, anything may be."""

    def __init__(self, start):
        self.files = []  # [live bytes, bytes on disk]
        self.names, self.names_on_disk, self.pending = {}, {}, []
        for path in start.iterdir():
            self.names[path.name] = self.new(path.read_bytes())
        self.names_on_disk = dict(self.names)

    def new(self, content=b""):
        self.files.append([content, content])
        return len(self.files) - 1

    def change_name(self, change):
        self.pending.append(change)
        change(self.names)

    def sync_names(self):
        self.names_on_disk, self.pending = dict(self.names), []

    def states(self):
        """Each {name: content} that may be found after power was lost now."""
        contents = (
            lambda live, disk: disk,
            lambda live, disk: live,
            lambda live, disk: live[:(len(disk) + len(live)) // 2] if live.startswith(disk) else disk,
            lambda live, disk: disk + bytes(len(live) - len(disk)) if live.startswith(disk) else disk,
            lambda live, disk: disk + bytes((len(live) - len(disk)) // 2) + live[len(disk) + (len(live) - len(disk)) // 2:]
            if live.startswith(disk) else disk,
        )
        for n in range(len(self.pending) + 1):
            for changes in itertools.combinations(self.pending, n):
                names = dict(self.names_on_disk)
                for change in changes:
                    change(names)
                for content in contents:
                    yield {name: content(*self.files[file]) for name, file in names.items()}


def text_of(word):
    return bytes.fromhex(word.replace("\\x", ""))


def replay(case):
    """Yields (system call, state on disk after it, sessions that must be there)."""
    directory, out = case.copy(), case.base / "power"
    calls = "openat,close,write,ftruncate,renameat2,fsync,fdatasync,getppid"
    results, _ = drive(directory, N, 1, ["strace", "-xx", "-s", "5000", "-o", out, "-e", "trace=" + calls])
    require(results == [0] * N, f"without faults: {results}")
    disk, fds, begun, last, durable = Disk(case.start), {}, False, None, []
    for line in out.read_text().splitlines():
        call = re.match(r'(\w+)\((\w+)?(?:, (.*))?\) += (-?\d+)', line)
        begun = begun or line.startswith("getppid")
        if not call or not begun or call[4].startswith("-"):
            continue
        name, fd, rest, value = call[1], call[2], call[3] or "", int(call[4])
        words = re.findall(r'"((?:\\x\w\w)*)"', rest)
        if name == "openat":
            path = text_of(words[0]).decode()
            fds[str(value)] = None if path == "." else path
            if path != "." and path not in disk.names:
                file = disk.new()
                disk.change_name(lambda names, path=path, file=file: names.__setitem__(path, file))
            fds[str(value)] = disk.names.get(path)
        elif name == "renameat2":
            old, new = (text_of(word).decode() for word in words)
            file = disk.names[old]

            def rename(names, old=old, new=new, file=file):
                if names.get(old) == file:
                    del names[old]
                names[new] = file

            disk.change_name(rename)
        elif name == "write" and fd in fds:
            disk.files[fds[fd]][0] += text_of(words[0])
            session = re.search(rb'"session":"(\w+)"', text_of(words[0]))
            last = int(session[1], 16) if session else last
        elif name == "ftruncate" and fd in fds:
            disk.files[fds[fd]][0] = disk.files[fds[fd]][0][:int(rest)]
        elif name in ("fsync", "fdatasync") and fds.get(fd) is not None:
            disk.files[fds[fd]][1] = disk.files[fds[fd]][0]
            if last and last % 2 == 0:
                durable.append(last)
        elif name == "fsync":
            disk.sync_names()
        elif name == "close":
            fds.pop(fd, None)
        for state in disk.states():
            yield f"{name} {fd} {rest[:60]}", state, list(durable)


def test_power(case):
    """power is lost after each system call: what was not synced is there, or not, or half, or zeros"""
    seen = set()

    def check(where, state, durable):
        directory = case.base / f"run{next(numbers)}"
        directory.mkdir()
        for name, content in state.items():
            (directory / name).write_bytes(content)
        try:
            judge(directory, durable)
        except (Wrong, ValueError, KeyError, OSError, subprocess.SubprocessError) as error:
            with case.lock:
                case.wrong.append(f"after {where}: {error}")
        shutil.rmtree(directory)
        with case.lock:
            case.runs += 1
            case.hits += 1

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = []
        for where, state, durable in replay(case):
            key = (tuple(sorted(state.items())), tuple(durable))
            if key not in seen:
                seen.add(key)
                futures.append(pool.submit(check, where, state, durable))
        for future in futures:
            future.result()


# ---- starts -----------------------------------------------------------------------------------------------------------


def half_a_line(directory):
    results, _ = drive(directory, 7, 8001)
    require(results == [0] * 7, "the log of before")
    with open(directory / "audit.log", "ab") as log:
        log.write(b'{"ts":"2026-')


def between_files(directory):
    results, _ = drive(directory, 3, 8001)
    require(results == [0] * 3, "the log of before")
    os.rename(directory / "audit.log", directory / f"audit-{1:020}.log")


STARTS = {"nothing": None, "half a line": half_a_line, "no audit.log": between_files}
TESTS = [(test_kill, list(STARTS)), (test_power, list(STARTS)), (test_sync_fails, list(STARTS)),
         (test_other_calls_fail, list(STARTS)), (test_write_fails, ["half a line"]), (test_untaken, ["nothing"])]


def main():
    if not shutil.which("strace"):
        print("1..0 # skip strace is not installed")
        return 77
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # syncs cost nothing there
    base = pathlib.Path(tempfile.mkdtemp(prefix="test-audit-", dir=memory))
    failed, number = 0, 0
    try:
        for test, starts in TESTS:
            for start in starts:
                number += 1
                case = Case(base, STARTS[start])
                test(case)
                good = not case.wrong and case.hits > 0
                failed += not good
                print(f"{'ok' if good else 'not ok'} {number} - {test.__doc__}, from {start}: "
                      f"{case.runs} runs, {case.hits} with the fault, {len(case.wrong)} wrong", flush=True)
                for line in case.wrong[:20]:
                    print("#", line.replace("\n", " "))
        print(f"1..{number}")
    finally:
        shutil.rmtree(base)
    return bool(failed)


sys.exit(main())
