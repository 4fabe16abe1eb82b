#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A microphone or a speaker from one real sound server to another, by both ends of audio-proxy over the socket channel. Prints TAP.

Samples are numbers: a frame of the headset is the count of frames so far, so what is lost, repeated or late is seen. Where
PipeWire is on the way, which resamples or skips, a tone is listened to instead.
"""
import contextlib
import math
import os
import pathlib
import sys
import time

sys.dont_write_bytecode = True
import audio_world
from audio_world import ENDED, LISTENING, OUTCOMES, RATE, READY, End, Headset, Player, Recorder, Server, approved, hello, wait_for

KINDS = ("pulseaudio", "pipewire")


def outcome(report):
    return OUTCOMES[report[1]]


class Session:
    """Both servers, a headset or speakers, and both ends of a session that is ready."""

    def __init__(self, directory, kinds, chosen=False, speaker=False, **headset):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.log = open(self.directory / "proxies", "w+b")
        for name in ("channel", "pipes"):
            (self.directory / name).mkdir()
        self.source, self.target = (Server(kind, self.directory / name) for kind, name in zip(kinds, ("source", "target")))
        if speaker:
            self.source.speakers()
        self.headset = None if speaker else Headset(self.source.headset(properties="qdb.offer=yes"), **headset)
        self.hello = hello(kind=2, name="Headset speakers (sys-usb)") if speaker else hello()
        name = "speakers" if speaker else "@DEFAULT_SOURCE@" if chosen else "headset"
        self.export = self.make("export", self.source, "--source", name, snapshot=self.hello)
        self.export.wait(LISTENING)
        self.target_end = self.make("import", self.target, "--kind", "speaker" if speaker else "mic", "--pipe-dir", str(self.directory / "pipes"), "--digest",
                                    approved(self.hello))
        self.target_end.wait(READY)
        self.export.wait(READY)

    def make(self, mode, server, *words, **more):
        return End(mode, server, *words, channel=self.directory / "channel", log=self.log, **more)

    def record(self):
        return Recorder(self.target, "qdb.1")

    def nothing_left(self):
        assert not self.target.virtual() and not os.listdir(self.directory / "pipes")

    def close(self):
        for end in (self.target_end, self.export):
            end.stop()
        if self.headset:
            self.headset.stop()
        for server in (self.target, self.source):
            server.stop()
        self.log.close()


@contextlib.contextmanager
def session(directory, kinds, **headset):
    made = Session(directory, kinds, **headset)
    try:
        yield made
    except BaseException:
        made.log.seek(0)
        print("".join(f"# {line}\n" for line in made.log.read().decode(errors="replace").splitlines()[-20:]), end="")
        raise
    finally:
        made.close()


def whole(frames):
    """Counts without silence, and that each is one more than the one before; but for what waited in the headset's pipe."""
    counts = [frame for frame in frames if frame][RATE // 20:]
    assert counts, "nothing was heard"
    jumps = [(a, b) for a, b in zip(counts, counts[1:]) if b != a + 1]
    assert not jumps, f"{len(jumps)} jumps, the first {jumps[0]}"
    return counts


def listen_to_tone(frames, hertz):
    """Of the last three seconds: how much of it is that tone, from 0 to 1."""
    samples = [(frame & 0xffff) - (frame & 0x8000) * 2 for frame in frames[-3 * RATE:]]
    shares = []
    for at in range(0, len(samples) - RATE // 20, RATE // 20):  # it may be a little higher or lower: the clocks differ
        part = samples[at:at + RATE // 20]
        sums = [sum(s * f(2 * math.pi * hertz * i / RATE) for i, s in enumerate(part)) for f in (math.sin, math.cos)]
        energy = sum(s * s for s in part)
        shares.append(2 * (sums[0] ** 2 + sums[1] ** 2) / len(part) / energy if energy else 0)
    return sum(shares) / len(shares)


def check_pair(directory, kinds):
    exact = kinds == ("pulseaudio", "pulseaudio")  # without real-time rights PipeWire's graph skips some now and then
    with session(directory, kinds, tone=0 if exact else 440) as s:
        assert "Headset microphone (sys-usb)" in s.target.pactl("list", "sources")
        wait_for(lambda: s.source.source("headset") == "SUSPENDED")  # promise 12: nobody records
        for _ in range(2):
            recorder = s.record()
            wait_for(lambda: s.source.source("headset") == "RUNNING", 2)
            time.sleep(4)
            assert s.target_end.wait(audio_world.STREAM, 2)
            count = s.headset.count
            frames = recorder.stop()
            wait_for(lambda: s.source.source("headset") == "SUSPENDED", 1.5)
            assert len(frames) > 2.5 * RATE, len(frames)
            if exact:
                counts = whole(frames)
                assert counts[-1] > count - RATE // 4, f"{count - counts[-1]} frames late"
                assert counts[0] > count - 6 * RATE, "old samples"
            else:
                share = listen_to_tone(frames, 440)
                assert share > 0.9, share
            time.sleep(0.5)
        s.target_end.say(b"S")
        report = s.target_end.wait(ENDED)
        assert outcome(report) == "STOPPED" and report[3] > 4 * RATE * 4, report
        assert outcome(s.export.wait(ENDED)) == "OK"
        s.nothing_left()


def test_pulse_to_pulse(directory):
    check_pair(directory, ("pulseaudio", "pulseaudio"))


def test_pulse_to_pipewire(directory):
    check_pair(directory, ("pulseaudio", "pipewire"))


def test_pipewire_to_pulse(directory):
    check_pair(directory, ("pipewire", "pulseaudio"))


def test_pipewire_to_pipewire(directory):
    check_pair(directory, ("pipewire", "pipewire"))


def check_speaker(directory, kinds):
    """A tone: the exporter's server plays by its own clock, so counts do not stay what they are."""
    with session(directory, kinds, speaker=True) as s:
        assert "Headset speakers (sys-usb)" in s.target.pactl("list", "sinks")
        wait_for(lambda: s.source.sink("speakers") == "SUSPENDED")  # promise 12: nobody plays
        for _ in range(2):
            player = Player(s.target, "qdb.1")
            wait_for(lambda: s.source.sink("speakers") == "RUNNING", 2)
            recorder = Recorder(s.source, "speakers.monitor")
            time.sleep(5)
            assert s.target_end.wait(audio_world.STREAM, 2)[2], "it is in use"
            frames = recorder.stop()
            player.stop()
            wait_for(lambda: s.source.sink("speakers") == "SUSPENDED", 1.5)
            assert len(frames) > 3.5 * RATE, len(frames)
            share = listen_to_tone(frames, 440)
            assert share > 0.9, share
        s.target_end.say(b"S")
        report = s.target_end.wait(ENDED)
        assert outcome(report) == "STOPPED" and report[4] > 8 * RATE * 4 and report[3] == 0, report
        assert outcome(s.export.wait(ENDED)) == "OK"
        s.nothing_left()


def test_speaker_pulse_to_pulse(directory):
    check_speaker(directory, ("pulseaudio", "pulseaudio"))


def test_speaker_pulse_to_pipewire(directory):
    check_speaker(directory, ("pulseaudio", "pipewire"))


def test_speaker_pipewire_to_pulse(directory):
    check_speaker(directory, ("pipewire", "pulseaudio"))


def test_speaker_pipewire_to_pipewire(directory):
    check_speaker(directory, ("pipewire", "pipewire"))


def test_speaker_short(directory):
    """A sound of a tenth of a second is heard to its end, and the sink is let go of after it."""
    with session(directory, ("pulseaudio", "pulseaudio"), speaker=True) as s:
        recorder = Recorder(s.source, "speakers.monitor")
        for _ in range(3):
            wait_for(lambda: s.source.sink("speakers") == "SUSPENDED")
            heard = len(recorder.frames())
            player = Player(s.target, "qdb.1", seconds=0.3)
            player.process.wait(5)
            wait_for(lambda: s.source.sink("speakers") == "SUSPENDED", 1.5)
            loud = sum(1 for frame in recorder.frames()[heard:] if frame)
            assert loud > 0.2 * RATE, f"{loud} of {0.3 * RATE} frames"
        recorder.stop()


def test_speaker_is_listened_to(directory):
    """A program of the target that records what is played there does not keep the sink open."""
    with session(directory, ("pulseaudio", "pulseaudio"), speaker=True) as s:
        listener = Recorder(s.target, "qdb.1.monitor")
        time.sleep(0.5)
        assert s.source.sink("speakers") == "SUSPENDED"
        player = Player(s.target, "qdb.1")
        wait_for(lambda: s.source.sink("speakers") == "RUNNING", 2)
        player.stop()
        wait_for(lambda: s.source.sink("speakers") == "SUSPENDED", 1.5)
        listener.stop()


def test_speaker_mute(directory):
    with session(directory, ("pulseaudio", "pulseaudio"), speaker=True) as s:
        player = Player(s.target, "qdb.1")
        wait_for(lambda: s.source.sink("speakers") == "RUNNING", 2)
        s.export.say(b"M")
        wait_for(lambda: s.source.sink("speakers") == "SUSPENDED", 1)
        time.sleep(1.5)  # what comes is thrown away: the importer is not held up
        assert s.source.sink("speakers") == "SUSPENDED" and s.export.process.poll() is None
        s.export.say(b"U")
        wait_for(lambda: s.source.sink("speakers") == "RUNNING", 1)
        recorder = Recorder(s.source, "speakers.monitor")
        time.sleep(4)
        share = listen_to_tone(recorder.stop(), 440)
        assert share > 0.9, share
        player.stop()


def test_speaker_unplugged(directory):
    with session(directory, ("pulseaudio", "pulseaudio"), speaker=True) as s:
        player = Player(s.target, "qdb.1")
        wait_for(lambda: s.source.sink("speakers") == "RUNNING", 2)
        s.source.pactl("unload-module", "module-null-sink")
        assert outcome(s.export.wait(ENDED)) == "UNPLUGGED"
        assert outcome(s.target_end.wait(ENDED)) == "OK"
        player.process.wait(5)
        s.nothing_left()


def test_speaker_server_dies(directory):
    for which, words in (("source", ("NO_SOUND", "OK")), ("target", ("OK", "NO_SOUND"))):
        with session(pathlib.Path(directory) / which, ("pulseaudio", "pulseaudio"), speaker=True) as s:
            player = Player(s.target, "qdb.1")
            wait_for(lambda: s.source.sink("speakers") == "RUNNING", 2)
            getattr(s, which).processes[0].kill()
            ends = tuple(outcome(end.wait(ENDED)) for end in (s.export, s.target_end))
            assert ends == words, ends
            player.stop()


def test_mute(directory):
    with session(directory, ("pulseaudio", "pulseaudio")) as s:
        recorder = s.record()
        wait_for(lambda: any(recorder.frames()))
        s.export.say(b"M")
        time.sleep(0.15)
        heard = len(recorder.frames())
        wait_for(lambda: s.source.source("headset") == "SUSPENDED", 1)  # the lamp is off, too
        time.sleep(1)
        frames = recorder.frames()[heard + RATE // 50:]
        assert len(frames) > RATE // 2 and not any(frames), "silence, by the clock"
        s.export.say(b"U")
        wait_for(lambda: recorder.frames()[-1], 2)
        recorder.stop()


def test_unplugged(directory):
    with session(directory, ("pulseaudio", "pulseaudio")) as s:
        recorder = s.record()
        wait_for(lambda: any(recorder.frames()))
        s.source.pactl("unload-module", "module-pipe-source")
        assert outcome(s.export.wait(ENDED)) == "UNPLUGGED"
        assert outcome(s.target_end.wait(ENDED)) == "OK"
        recorder.process.wait(5)  # its source is gone
        s.nothing_left()


def test_chosen(directory):
    """The source that is chosen when a program begins to record is opened; a monitor, which has what others play, never."""
    with session(directory, ("pulseaudio", "pulseaudio"), chosen=True) as s:
        s.source.pactl("load-module", "module-null-sink", "sink_name=speaker")
        assert s.source.source("headset") != "RUNNING"
        recorder = s.record()
        wait_for(lambda: any(recorder.frames()))
        s.source.pactl("set-default-source", "speaker.monitor")
        heard = len(recorder.frames())
        wait_for(lambda: len(recorder.frames()) > heard + RATE // 2 and recorder.frames()[-1], 5)
        recorder.stop()
        wait_for(lambda: s.source.source("headset") == "SUSPENDED", 2)
        recorder = s.record()
        assert outcome(s.export.wait(ENDED)) == "UNPLUGGED"
        assert s.source.source("speaker.monitor") != "RUNNING" and s.source.source("headset") != "RUNNING"
        assert not any(recorder.frames())
        assert outcome(s.target_end.wait(ENDED)) == "OK"
        recorder.process.wait(5)
        s.nothing_left()


def test_server_dies(directory):  # AU08
    for which, words in (("source", ("NO_SOUND", "OK")), ("target", ("OK", "NO_SOUND"))):
        with session(pathlib.Path(directory) / which, ("pulseaudio", "pulseaudio")) as s:
            recorder = s.record()
            wait_for(lambda: any(recorder.frames()))
            getattr(s, which).processes[0].kill()
            ends = tuple(outcome(end.wait(ENDED)) for end in (s.export, s.target_end))
            assert ends == words, ends
            recorder.process.kill()
            recorder.stop()


def test_other_device(directory):
    """What was approved is another headset: no virtual microphone, no sample."""
    source, target = (Server("pulseaudio", pathlib.Path(directory) / name) for name in ("source", "target"))
    for name in ("channel", "pipes"):
        (pathlib.Path(directory) / name).mkdir()
    source.headset()
    channel = pathlib.Path(directory) / "channel"
    export = End("export", source, "--source", "headset", snapshot=hello(), channel=channel)
    export.wait(LISTENING)
    end = End("import", target, "--kind", "mic", "--pipe-dir", f"{directory}/pipes", "--digest", approved(hello(name="Another")), channel=channel)
    assert outcome(end.wait(ENDED)) == "CHANGED"
    assert outcome(export.wait(ENDED)) == "PEER_LOST"
    assert not target.virtual() and source.source("headset") != "RUNNING"
    gone = End("export", source, "--source", "no-such", snapshot=hello(), channel=channel, service="qdb/2")
    assert outcome(gone.wait(ENDED)) == "NO_DEVICE"
    for left in (export, end, gone):
        left.stop()
    for server in (source, target):
        server.stop()


sys.exit(audio_world.run_tests(globals()))
