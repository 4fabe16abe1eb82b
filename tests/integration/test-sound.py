#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program hears of a sweep and of speech at the virtual microphone, for each pair of sound servers, by headsets whose clocks
are 300 ppm fast and slow; and when the headset is opened and let go of. Prints TAP; a line with a # says what was measured.

Needs BIN (where the programs are), and to be root. Four sessions at once, some seconds each; with QDB_FULL=1 ten minutes. Two programs
record in the target, parec and arecord (by ALSA's plugin for PulseAudio), and one at the source itself, so that it is seen whose
fault something is; what came with a standstill of the machine is counted apart.
"""
import contextlib
import itertools
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from audio_world import BIN, LISTENING, RATE, READY, End, Headset, Server, approved, hello, run_tests, wait_for
from sound_signal import signal

FULL = os.environ.get("QDB_FULL") == "1"
SECONDS = 600 if FULL else 20
SETTLE = 2
GAPS = 3  # to PipeWire: what is kept ahead there grows with the first delays that are longer, and each of those is heard
STALL, SOON, AFTER = 0.004, 0.2, 0.6  # seconds; programs need a moment to begin
KINDS = ("pulseaudio", "pipewire")
AT_ONCE = 4  # with their servers and recorders two processors are half busy then


class Singer(Headset):
    """A headset that hears the signal, again and again; a sound card that holds what a busy server takes late."""

    holds = 40

    def __init__(self, path, sound, ppm):
        self.sound = sound + sound[:RATE]
        self.turn = len(sound)
        super().__init__(path, ppm=ppm)

    def run(self):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))  # this thread: hardware waits for nobody
        super().run()

    def block(self, n):
        at = self.count * 4 % self.turn
        return self.sound[at:at + 4 * n]


class Stalls(threading.Thread):
    """When the machine itself stood still: not even what comes before all else was woken in time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self.ended = [], False
        self.start()

    def run(self):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
        while not self.ended:
            before = time.monotonic()
            time.sleep(0.002)
            if time.monotonic() - before > 0.002 + STALL:
                self.seen.append(before)

    def excuses(self, began, at):
        """Something that went wrong so long after the recorder was started."""
        return any(stall - SOON < began + at < stall + AFTER for stall in self.seen)


class Card(Server):
    """A server whose sound card has a clock of its own; only PipeWire has any without a card."""

    def __init__(self, kind, directory, ppm):
        self.ppm = ppm
        super().__init__(kind, directory)

    def start(self, *words):
        if words[0] == "pipewire":
            words = ("env", f"LD_PRELOAD={BIN}/fast-clock.so", f"QDB_CLOCK_PPM={self.ppm}", *words)
        super().start(*words)


def start(server, source, program, path):
    """An ordinary program that records into a file."""
    form = ["--format=s16le", f"--rate={RATE}", "--channels=2", "--latency-msec=20"]
    words = {"parec": ["parec", "--raw", "-d", source, *form, path],
             "arecord": ["arecord", "-q", "-D", "pulse", "-t", "raw", "-f", "S16_LE", "-r", str(RATE), "-c", "2", path]}[program]
    return subprocess.Popen(words, env=server.env | {"PULSE_SOURCE": source}, stderr=subprocess.DEVNULL)


def judge(path, reference, began, stalls):
    with open(path, "rb") as recorded:
        done = subprocess.run([BIN / "sound-judge", reference, str(SETTLE)], stdin=recorded, capture_output=True, text=True,
                              check=False)
    if done.returncode:
        return done.stderr.strip()
    *jumps, heard = [line.split() for line in done.stdout.splitlines()]
    excused = sum(stalls.excuses(began, float(at)) for _, at, _ in jumps)
    return dict(zip(heard[1::2], map(float, heard[2::2]))) | {"excused": excused}


@contextlib.contextmanager
def session(directory, kinds, ppm, sound):
    """Both servers, with a headset at the one and its virtual microphone at the other."""
    for name in ("channel", "pipes"):
        (directory / name).mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(directory / "proxies", "w+b"))
        source, target = Card(kinds[0], directory / "source", ppm), Server(kinds[1], directory / "target")
        for server in (source, target):
            stack.callback(server.stop)
        headset = Singer(source.headset(), sound, ppm)
        stack.callback(headset.stop)
        words = {"channel": directory / "channel", "log": log}
        export = End("export", source, "--source", "headset", snapshot=hello(), **words)
        stack.callback(export.stop)
        export.wait(LISTENING)
        end = End("import", target, "--kind", "mic", "--pipe-dir", str(directory / "pipes"), "--digest", approved(hello()), **words)
        stack.callback(end.stop)
        end.wait(READY)
        assert all(os.getpriority(os.PRIO_PROCESS, each.process.pid) == -11 for each in (export, end))
        yield source, target


def hear(directory, kinds, ppm, sound):
    """One pair: what is told by the judge of each program's recording."""
    directory = pathlib.Path(directory) / "-".join([*kinds, str(ppm)])
    files = {program: str(directory / f"{program}.raw") for program in ("source", "parec", "arecord")}
    with session(directory, kinds, ppm, sound) as (source, target):
        (directory / "sound").write_bytes(sound)
        stalls, began = Stalls(), time.monotonic()
        programs = [start(source, "headset", "parec", files["source"]),
                    *(start(target, "qdb.1", program, files[program]) for program in ("parec", "arecord"))]
        time.sleep(SETTLE + SECONDS)
        for program in programs:
            program.terminate()
            program.wait(10)
        stalls.ended = True
        stalls.join(5)
    heard = {program: judge(path, directory / "sound", began, stalls) for program, path in files.items()}
    return heard | {"stalls": {"number": len(stalls.seen)}}


def faults(kinds, ppm, heard):
    """What must not be."""
    source = heard["source"]
    for program in ("parec", "arecord"):
        ours = heard[program]
        if isinstance(ours, str):
            yield f"{program}: {ours}"
            continue
        least = (0.999, 0.999) if kinds[1] == "pulseaudio" else (0.8, 0.99)  # PipeWire's sound is resampled, to follow its clock
        if ours["seconds"] < SECONDS - 2:
            yield f"{program}: too short"
        if ours["worst"] < least[0] or ours["mean"] < least[1]:
            yield f"{program}: not alike"
        if max(abs(ours["level-low"]), abs(ours["level-high"])) > 0.1:
            yield f"{program}: louder or quieter"
        if ours["jumps"] > source["jumps"] + ours["excused"] + (0 if kinds[1] == "pulseaudio" else GAPS):
            yield f"{program}: lost or repeated, and not at the source"
        if kinds[1] == "pulseaudio" and ours["ppm"]:
            yield f"{program}: resampled, and nobody had a clock"
        if kinds[1] == "pipewire" and not ours["jumps"] and not 0.5 < ours["ppm"] / ppm < (1.2 if SECONDS > 60 else 2):
            yield f"{program}: its clock is not followed"


def listen(directory, jobs, sound):
    """The jobs that were not good."""
    with multiprocessing.get_context("fork").Pool(AT_ONCE) as pool:
        all_heard = pool.starmap(hear, [(directory, *job, sound) for job in jobs], 1)
    bad = []
    for (kinds, ppm), heard in zip(jobs, all_heard):
        wrong = list(faults(kinds, ppm, heard))
        for program, words in heard.items():
            said = words if isinstance(words, str) else " ".join(f"{name} {value:g}" for name, value in words.items())
            print(f"# {' to '.join(kinds)}, {ppm:+} ppm, {program}: {said}")
        print("".join(f"#   {words}\n" for words in wrong), end="", flush=True)
        bad += [(kinds, ppm)] if wrong else []
    return bad


def test_signal(directory):
    sound = signal()
    jobs = list(itertools.product(itertools.product(KINDS, KINDS), (300, -300)))
    for turn in range(1 if FULL else 3):  # a busy machine delays this or that, not each time
        jobs = listen(f"{directory}/{turn}", jobs, sound)
        if not jobs:
            return
    raise AssertionError(f"{len(jobs)}: {jobs}")


def test_judge(directory):
    """What a broken build would do to a sound is seen."""
    sound, block = signal(), 4 * RATE // 200
    (pathlib.Path(directory) / "sound").write_bytes(sound)
    seconds = [sound[at:at + 4 * RATE] for at in range(0, 8 * 4 * RATE, 4 * RATE)]
    broken = {"whole": seconds, "dropped": [second[block:] for second in seconds],
              "repeated": [second[:block] + second for second in seconds], "silent": [bytes(2 * block) + second for second in seconds]}
    found, stalls = {}, Stalls()
    for name, recorded in broken.items():
        (pathlib.Path(directory) / name).write_bytes(b"".join(recorded))
        found[name] = judge(f"{directory}/{name}", f"{directory}/sound", 0, stalls)
    stalls.ended = True
    assert found["whole"]["jumps"] == 0 and found["whole"]["worst"] > 0.999, found
    for name, what, n in (("dropped", "lost", 240), ("repeated", "repeated", 240), ("silent", "repeated", 480)):
        assert found[name]["jumps"] >= 4 and found[name][what] >= 4 * n, (name, found)


class Events:
    """What a server says that changes, each with the time when it was said; as late as `pactl subscribe` is."""

    def __init__(self, server):
        self.process = subprocess.Popen(["pactl", "subscribe"], env=server.env, stdout=subprocess.PIPE, text=True)
        self.seen = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.seen.append((time.monotonic(), line))

    def after(self, then, what):
        """The times of such an event since then."""
        return [at for at, line in self.seen if at >= then and what in line]

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.reader.join(5)


def time_opening(source, target, at_source, at_target):
    """Milliseconds from the coming of a program's stream to that of ours at the source, and from its going to the source's rest."""
    wait_for(lambda: source.source("headset") == "SUSPENDED")
    began = time.monotonic()
    program = start(target, "qdb.1", "parec", os.devnull)
    opened = wait_for(lambda: at_source.after(began, "'new' on source-output"), 3)[0]
    asked = at_target.after(began, "'new' on source-output")[0]
    wait_for(lambda: source.source("headset") == "RUNNING", 3)
    time.sleep(0.5)
    ending = time.monotonic()
    program.terminate()
    program.wait(10)
    wait_for(lambda: source.source("headset") == "SUSPENDED", 3)
    time.sleep(0.1)
    gone = at_target.after(ending, "'remove' on source-output")[0]
    return 1e3 * (opened - asked), 1e3 * (at_source.after(ending, "'change' on source #")[-1] - gone)


def test_opened_and_let_go(directory):
    """Promise 12 with figures: the lamp is on soon after a program records, and off soon after it has ended."""
    sound = bytes(RATE * 4)
    for kinds in itertools.product(KINDS, KINDS):
        with session(pathlib.Path(directory) / "-".join(kinds), kinds, 0, sound) as servers:
            events = [Events(server) for server in servers]
            time.sleep(0.5)
            times = [time_opening(*servers, *events) for _ in range(20 if FULL else 5)]
            for each in events:
                each.stop()
        opened, let_go = (sorted(column) for column in zip(*times))
        print(f"# {' to '.join(kinds)}, {len(times)} times: opened after {statistics.median(opened):.1f} ms, at most "
              f"{opened[-1]:.1f}; let go after {statistics.median(let_go):.1f} ms, at most {let_go[-1]:.1f}", flush=True)
        assert statistics.median(opened) < 50 and let_go[-1] < 1000, (opened, let_go)


sys.exit(run_tests(globals()))
