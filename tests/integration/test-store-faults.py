#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The broker's store under crashes, power losses and failures, driven by store-driver. Prints TAP.

Each run starts from the same directory, is disturbed in one place, and is judged by what a fresh start then finds:
every acknowledged change, of the others each whole or not at all, and no fault. Hostile cases: ST01, ST02, ST07, ST19.
Needs BIN (where the programs are) and strace.
"""
import collections
import concurrent.futures
import errno
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

DRIVER = pathlib.Path(os.environ.get("BIN", "build/gcc/bin")).resolve() / "store-driver"
# a leak checker cannot work in a process that is traced
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:exitcode=99")
LARGE = "\N{POUND SIGN}" * 500  # 3000 bytes in the journal: some twenty of them make it long enough to be compacted
FIRST = [*[("put", 0, f"a{i}", f"first {i}") for i in range(4)], ("put", 3, "session", "s1"), ("put", 1, "q", "denied")]
CHANGES = [("put", 0, "a1", "new"), ("remove", 0, "a0", ""), ("remove", 2, "nothing", ""), ("put", 0, "a1", "new"),
           *[("put", 2, f"l{i % 3}", f"{i} {LARGE}") for i in range(27)],
           ("remove", 3, "session", ""), ("put", 3, "session", "s2"), ("remove", 2, "l1", ""), ("put", 0, "a0", "again")]
TORN = b"00077 7 0123"  # how a write ends that power was lost in
STEPS = "write fdatasync fsync renameat renameat2 openat ftruncate unlinkat linkat newfstatat fstat read lseek".split()
ERRORS = {"write": ["ENOSPC", "EIO"], "openat": ["EMFILE", "EROFS"]}  # others: EIO


def text_of(changes):
    return "".join(f"{verb} {kind} {key} {value}\n" for verb, kind, key, value in changes)


def drive(directory, *words, changes=(), strace=(), environment=None):
    """Runs the driver; returns its lines. What a killed one had answered is there too."""
    out = f"{directory}.out"
    with open(out, "w+b") as answers:
        command = ["strace", "-qq", "-o", f"{directory}.trace", *strace] if strace else []
        done = subprocess.run([*command, DRIVER, directory, *words], input=text_of(changes).encode(), stdout=answers,
                              stderr=subprocess.PIPE, env=dict(ENVIRONMENT, **(environment or {})), check=False)
        answers.seek(0)
        lines = answers.read().decode().splitlines()
    if done.returncode not in (0, -9, 137):
        raise AssertionError(f"driver ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return lines


def table_of(lines):
    return {(int(kind), key): value for _, kind, key, value in
            (line.split(" ", 3) for line in lines if line.startswith("has "))}


def results_of(lines):
    return [int(line.split()[1]) for line in lines if line.startswith("done ")]


class Model:
    """What must be there, and what may be, after some changes were acknowledged and others were not."""

    def __init__(self, changes=(), results=()):
        self.acknowledged = {}
        self.maybe = collections.defaultdict(list)
        for change in FIRST:
            self.make(change, 0)
        for change, result in itertools.zip_longest(changes, results):
            self.make(change, result)

    def make(self, change, result):
        verb, kind, key, value = change
        if result == 0:
            self.maybe.pop((kind, key), None)
            if verb == "put":
                self.acknowledged[kind, key] = value
            else:
                self.acknowledged.pop((kind, key), None)
        elif result is None or result < 0:
            self.maybe[kind, key].append(value if verb == "put" else None)

    def judge(self, found):
        for name in {*self.acknowledged, *self.maybe, *found}:
            allowed = [self.acknowledged.get(name), *self.maybe.get(name, [])]
            if found.get(name) not in allowed:
                return f"{name} is {str(found.get(name))[:40]!r}, not {[str(value)[:40] for value in allowed]}"
        return ""


class Places:
    """Fresh copies of one directory."""

    def __init__(self, root):
        self.root, self.numbers = root, itertools.count()

    def copy(self, template):
        place = f"{self.root}/{next(self.numbers)}"
        shutil.copytree(template, place)
        return place

    @staticmethod
    def drop(place):
        shutil.rmtree(place)
        for end in (".out", ".trace"):
            pathlib.Path(place + end).unlink(missing_ok=True)


def steps_of(place):
    """The names of the system calls from the first touch of the journal on, with their numbers from the start on."""
    counts, begun, steps = collections.Counter(), False, []
    for line in pathlib.Path(place + ".trace").read_text(errors="replace").splitlines():
        match = re.match(r"(\w+)\(", line)
        if not match:
            continue
        counts[match.group(1)] += 1
        begun = begun or '"state.journal"' in line
        if begun and match.group(1) != "exit_group":
            steps.append((match.group(1), counts[match.group(1)]))
    return steps


def disturbances(steps):
    """(what, options of strace) for each kill and each failure."""
    for name, number in steps:
        yield f"kill at {name} {number}", [f"-einject={name}:signal=SIGKILL:when={number}"]
    for name, number in steps:
        if name not in STEPS:
            continue
        for error, forever in itertools.product(ERRORS.get(name, ["EIO"]), ("", "+")):
            if name == "openat" and forever and error == "EMFILE":
                continue
            yield f"{name} {number}{forever} {error}", [f"-einject={name}:error={error}:when={number}{forever}"]
        if name in ("write", "fdatasync"):
            yield (f"{name} {number} and ftruncate", [f"-einject={name}:error=EIO:when={number}",
                                                      "-einject=ftruncate:error=EIO"])


def after(place):
    """What a fresh start finds: table, fault."""
    lines = drive(place, "check")
    return table_of(lines), "".join(line for line in lines if line.startswith("fault"))


def judge_run(places, template, what, strace, environment=None):
    place = places.copy(template)
    lines = drive(place, "run", changes=CHANGES, strace=strace, environment=environment)
    results = results_of(lines)
    model = Model(CHANGES[:len(results) + 1], results)
    found, fault = after(place)
    wrong = fault or model.judge(found)
    failed = [i for i, result in enumerate(results) if result < 0]
    if what.startswith("fdatasync") and failed and max(results[failed[0]:]) >= 0:
        wrong = wrong or "a change was made after a failed fdatasync"
    if -errno.ESTALE in results:
        wrong = wrong or "a change by somebody else was seen, where there was none"
    if what.startswith("half of write") and len(failed) > 1:
        wrong = wrong or "half a line that could not be taken back made later changes fail"
    if not wrong and "end" in lines:
        shown = table_of(lines)
        unread = not shown and 0 not in results  # the start itself failed: closed
        if shown != model.acknowledged and not unread:
            wrong = "while it ran, the table was not what had been acknowledged"
    places.drop(place)
    return f"{what}: {wrong}" if wrong else ""


def judge_read_only(places, template, number):
    """ST09: what is stored is known, nothing is changed. `number` is that of the journal's openat."""
    place = places.copy(template)
    lines = drive(place, "run", changes=CHANGES, strace=[f"-einject=openat:error=EROFS:when={number}"])
    good = set(results_of(lines)) == {-errno.EROFS} and table_of(lines) == Model().acknowledged
    places.drop(place)
    return "" if good else f"{lines[:5]}"


def judge_recovery(places, template, expected, what, strace, environment=None):
    place = places.copy(template)
    lines = drive(place, "recover", strace=strace, environment=environment)
    found, fault = after(place)
    wrong = ""
    if fault and any(line.startswith("recovered 0 ") for line in lines):
        wrong = f"recovery said that it is done, but: {fault}"
    if fault:
        drive(place, "recover")
        found, fault = after(place)
    if not wrong and (fault or found != expected):
        wrong = fault or "not every record that verifies is there"
    if not pathlib.Path(place, "state.damaged-1").exists():
        wrong = wrong or "the damaged file is gone"
    places.drop(place)
    return f"{what}: {wrong}" if wrong else ""


class Disk:
    """Which bytes and names are on disk, and which only in memory, as a trace of system calls says."""

    def __init__(self, template):
        self.kept = {0: pathlib.Path(template, "state.journal").read_bytes()}  # file number: bytes
        self.now = dict(self.kept)
        self.names_kept = {"state.journal": 0}
        self.names = [dict(self.names_kept)]  # as they were after each change since the last sync
        self.fds = {}

    def call(self, name, arguments, result):
        names = dict(self.names[-1])
        words = [bytes.fromhex(word.replace("\\x", "")) for word in re.findall(r'"((?:\\x..)*)"', arguments)]
        fd = int(re.match(r"\d+", arguments).group()) if re.match(r"\d+", arguments) else -1
        if name == "openat":
            file = words[0].decode()
            if "O_CREAT" in arguments and file not in names:
                names[file] = max(self.now) + 1
                self.now[names[file]] = self.kept[names[file]] = b""
                self.names.append(names)
            self.fds[result] = names.get(file, "directory")
            if "O_TRUNC" in arguments:
                self.now[names[file]] = b""
        elif name == "write" and fd in self.fds:
            self.now[self.fds[fd]] += words[0]
        elif name == "ftruncate":
            self.now[self.fds[fd]] = self.now[self.fds[fd]][:int(arguments.split(",")[1])]
        elif name in ("fsync", "fdatasync"):
            if self.fds.get(fd, "directory") == "directory":
                self.names = [names]
            else:
                self.kept[self.fds[fd]] = self.now[self.fds[fd]]
        elif name == "renameat":
            names[words[1].decode()] = names.pop(words[0].decode())
            self.names.append(names)
        elif name == "unlinkat":
            names.pop(words[0].decode(), None)
            self.names.append(names)

    def after_power_loss(self):
        """Each way in which names and bytes that were not synced may or may not have arrived."""
        for names in self.names:
            for share in (0, 0.5, 0.999, 1):
                files = {}
                for name, number in names.items():
                    kept, now = self.kept[number], self.now[number]
                    if not now.startswith(kept):
                        files[name] = now if share == 1 else kept
                    else:
                        files[name] = now[:len(kept) + int(share * (len(now) - len(kept)))]
                yield files


def power_losses(places, template):
    """Traces one run; yields (what, files, model) for each state that a power loss could leave."""
    place = places.copy(template)
    calls = "openat,write,fdatasync,fsync,renameat,unlinkat,ftruncate,pwrite64"
    drive(place, "run", changes=CHANGES, strace=["-xx", "-s", "100000", "-e", f"trace={calls}"])
    disk, results, begun, seen = Disk(template), [], False, set()
    for number, line in enumerate(pathlib.Path(place + ".trace").read_text().splitlines()):
        match = re.match(r"(\w+)\((.*)\) += (-?\d+)", line)
        begun = begun or "".join(f"\\x{byte:02x}" for byte in b"state.journal") in line
        if not begun or not match or int(match.group(3)) < 0:
            continue
        name, arguments, result = match.group(1), match.group(2), int(match.group(3))
        if name == "pwrite64":
            said = bytes.fromhex(re.search(r'"((?:\\x..)*)"', arguments).group(1).replace("\\x", "")).decode()
            results += results_of([said])
            continue
        disk.call(name, arguments, result)
        for files in disk.after_power_loss():
            state = (len(results), tuple(sorted(files.items())))
            if state not in seen:
                seen.add(state)
                yield f"power loss after call {number}", files, Model(CHANGES[:len(results) + 1], results)
    if len(results) != len(CHANGES):
        raise AssertionError("the trace does not have every answer")


def judge_power_loss(places, what, files, model):
    place = f"{places.root}/{next(places.numbers)}"
    os.mkdir(place)
    for name, content in files.items():
        path = pathlib.Path(place, name)
        path.write_bytes(content)
        path.chmod(0o600)
    found, fault = after(place)
    wrong = fault or model.judge(found)
    places.drop(place)
    return f"{what}: {wrong}" if wrong else ""


def main():
    if not shutil.which("strace"):
        print("1..0 # skip strace is not installed")
        return 77
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    number, failed = itertools.count(1), 0

    def report(name, faults, n_runs, began):
        nonlocal failed
        failed += bool(faults)
        print(f"{'not ok' if faults else 'ok'} {next(number)} - {name}: {n_runs} runs, {len(faults)} wrong "
              f"({time.monotonic() - began:.1f} s)", flush=True)
        for fault in faults[:10]:
            print("#", fault)

    with tempfile.TemporaryDirectory(dir=memory) as root, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count() + 1) as pool:
        places = Places(root)

        def judge_all(name, judge, cases):
            began = time.monotonic()
            faults = [future.result() for future in [pool.submit(judge, *case) for case in cases]]
            report(name, [fault for fault in faults if fault], len(faults), began)

        began = time.monotonic()
        os.mkdir(f"{root}/crowd")
        crowd = pool.submit(drive, f"{root}/crowd", "many", "1000000")
        template = f"{root}/template"
        os.mkdir(template)
        drive(template, "run", changes=FIRST)
        with open(f"{template}/state.journal", "ab") as journal:
            journal.write(TORN)
        trace = places.copy(template)
        lines = drive(trace, "run", changes=CHANGES, strace=["-e", "trace=all"])
        steps = steps_of(trace)
        assert results_of(lines) == [2 if change[2] == "nothing" else 0 for change in CHANGES], lines
        assert [name for name, _ in steps].count("renameat") == 2, "start and compaction make a new file each"
        judge_all("start, changes, compaction: killed at each system call, each failing once and for ever", judge_run,
                  [(places, template, what, options) for what, options in disturbances(steps)])
        n_writes = [name for name, _ in steps].count("write")
        judge_all("start, changes, compaction: half of each write, then an error or death", judge_run,
                  [(places, template, f"half of write {i}{then}", (), {"HALF_WRITE": f"{i}{then}"})
                   for i in range(1, n_writes) for then in ("", "-", ".")])
        judge_all("a read-only file system", judge_read_only,
                  [(places, template, next(number for name, number in steps if name == "openat"))])

        damaged = f"{root}/damaged"
        shutil.copytree(trace, damaged)
        path = pathlib.Path(damaged, "state.journal")
        journal = path.read_bytes().splitlines(keepends=True)
        expected = table_of(lines)
        lost = next(i for i, line in enumerate(journal) if b" put assignment a2 " in line)
        journal[lost] = journal[lost].replace(b"first", b"fIrst")
        del expected[0, "a2"]
        path.write_bytes(b"".join(journal))
        trace = places.copy(damaged)
        assert drive(trace, "recover", strace=["-e", "trace=all"]) == [f"recovered 0 {len(expected)} 1"]
        judge_all("recovery: killed and failing likewise", judge_recovery,
                  [(places, damaged, expected, what, options) for what, options in disturbances(steps_of(trace))])

        def no_memory(n):
            return [(f"allocation {i}{more}", (), {"FAIL_MALLOC": f"{i}{more}"})
                    for i in range(1, n) for more in ("", "+")]

        judge_all("start and changes: each allocation failing once and for ever", judge_run,
                  [(places, template, *case) for case in no_memory(50)])
        judge_all("recovery: allocations likewise", judge_recovery,
                  [(places, damaged, expected, *case) for case in no_memory(25)])
        judge_all("start, changes, compaction: power lost after each system call", judge_power_loss,
                  [(places, *case) for case in power_losses(places, template)])

        said = dict(line.split() for line in crowd.result())
        print(f"# the journal was {said['longest']} bytes at its longest, the next start took {said['start']} s")
        bad = [] if float(said["start"]) < 1 and int(said["longest"]) < 1 << 20 else [str(said)]
        report("10^6 puts: a bounded file, a start in less than a second", bad, 1, began)
    print(f"1..{next(number) - 1}")
    return bool(failed)


sys.exit(main())
