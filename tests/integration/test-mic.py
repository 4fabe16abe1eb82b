#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A microphone from the device qube's sound server to a program of an app qube, and a speaker the other way, by everything that
there is: the tool, the broker, two agents, their proxies, over socket channels, and two real sound servers. Prints TAP.

Needs BIN (where the programs are), and to be root, as agents are.
"""
import array
import contextlib
import grp
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from audio_world import BIN, RATE, Headset, Player, Recorder, Server, run_tests, wait_for

OFFERED = "qdb.offer=yes device.description='USB Headset' device.vendor.id=046d device.product.id=0a4d device.serial=S1"
QUBES = {1: "sys-usb", 2: "work", 3: "personal"}
UID = os.getuid()


def processes(*words):
    """Of the proxies that were started with these words."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().decode(errors="replace").split("\0")
            if line[0].endswith("/audio-proxy") and all(word in line for word in words):
                found.append(int(path.parts[2]))
    return found


class World:
    """Three qubes: sys-usb and work have a sound server each, personal has none."""

    def __init__(self, directory, kind="pulseaudio"):
        self.directory, self.kind = pathlib.Path(directory), kind
        self.processes = {}
        self.logs = open(self.directory / "log", "w+b")
        for name in ("state", "qubes", "policy.d", "sys-usb", "work", "personal/users"):
            (self.directory / name).mkdir(mode=0o700, parents=True)
        (self.directory / "policy.d/50-test.policy").write_text("* * sys-usb @anyvm allow\n")
        self.servers = {name: Server(kind, self.directory / name, runtime=f"users/{UID}")
                        for name in ("sys-usb", "work")}
        self.path = self.directory / "run/admin.sock"
        self.start_broker()
        for domid, name in QUBES.items():
            self.start_agent(domid, name)
            new = self.directory / f"new-{domid}"
            new.write_text(f"{name} {domid:08x}-0000-0000-0000-000000000000\n")
            new.rename(self.directory / f"qubes/{domid}")
        self.headset = None

    def start(self, key, program, *words, within=()):
        self.processes[key] = subprocess.Popen([*within, BIN / program, *words], stdin=subprocess.DEVNULL, stdout=self.logs,
                                               stderr=self.logs)

    def start_broker(self):
        self.start("broker", "device-broker", "--channel", f"socket:{self.directory}", "--state-dir",
                   f"{self.directory}/state", "--policy-dir", f"{self.directory}/policy.d", "--socket", str(self.path),
                   "--group", grp.getgrgid(os.getegid()).gr_name, "--user=root")
        wait_for(lambda: self.path.exists() and not self.tool("list", "--json", status=None).startswith("qvm-mic"))

    def start_agent(self, domid, name, within=()):
        self.start(name, "device-agent", "--channel", f"socket:{self.directory}", "--own", str(domid), "--user", "nobody",
                   "--sound-dir", f"{self.directory}/{name}/users", within=within)

    def tool(self, *words, program="qvm-mic", status=0):
        done = subprocess.run([program, *words], executable=BIN / "qvm-device", capture_output=True, text=True, timeout=30,
                              env={"QDB_SOCKET": str(self.path), "PATH": os.environ["PATH"]}, check=False)
        assert status in (None, done.returncode), f"{words}: {done.returncode}: {done.stdout} {done.stderr}"
        return done.stdout + done.stderr

    def plug(self, properties=""):
        """The port of a headset that is plugged in now."""
        (self.directory / "sys-usb/headset").unlink(missing_ok=True)  # a killed server's
        path = self.servers["sys-usb"].headset(properties=OFFERED + properties)
        started = time.monotonic()
        found = wait_for(lambda: re.match(r"sys-usb:(mic-[0-9a-f]{8}) ", self.tool("list")), 5)
        self.headset = Headset(path)
        print(f"# listed {(time.monotonic() - started) * 1e3:.0f} ms after it was plugged in")
        return found[1]

    def plug_speaker(self):
        """The port of a sink that is plugged in now."""
        self.servers["sys-usb"].pactl("load-module", "module-null-sink", "sink_name=headphones", "format=s16le", f"rate={RATE}",
                                      "channels=2", f'sink_properties="{OFFERED}"')
        return wait_for(lambda: re.match(r"sys-usb:(speaker-[0-9a-f]{8}) ", self.tool("list", program="qvm-speaker")), 5)[1]

    def unplug_speaker(self):
        for line in self.servers["sys-usb"].pactl("list", "short", "modules").splitlines():
            if "sink_name=headphones" in line:
                self.servers["sys-usb"].pactl("unload-module", line.split("\t")[0])

    def speaker(self):
        """The name of the virtual speaker in work."""
        return next((name for name in self.servers["work"].virtual() if self.servers["work"].sink(name)), None)

    def speaker_state(self):
        return self.servers["sys-usb"].sink("headphones")

    def unplug(self):
        self.headset.stop()
        for line in self.servers["sys-usb"].pactl("list", "short", "modules").splitlines():
            if "source_name=headset" in line:
                self.servers["sys-usb"].pactl("unload-module", line.split("\t")[0])

    def microphone(self):
        """The name of the virtual microphone in work."""
        names = self.servers["work"].virtual()
        return names[0] if names else None

    def state(self):
        return self.servers["sys-usb"].source("headset")

    def is_in_use(self):
        """As the tool's status shows it."""
        streams = json.loads(self.tool("status", "--json", program="qvm-device"))
        return any(side and side["in_use"] for stream in streams for side in (stream["by_backend"], stream["by_qube"]))

    def attach(self, port):
        """As soon as work's agent is known."""
        wait_for(lambda: subprocess.run(["qvm-mic", "attach", "work", f"sys-usb:{port}"], executable=BIN / "qvm-device",
                                        capture_output=True, timeout=30, env={"QDB_SOCKET": str(self.path)},
                                        check=False).returncode == 0, 10, 0.1)

    def close(self):
        if self.headset:
            self.headset.stop()
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            process.wait(20)
        for server in self.servers.values():
            server.stop()
        self.logs.close()


class CountingPlayer:
    """An ordinary program in work: pacat, which is given frames that count from 1 on."""

    def __init__(self, server, sink):
        self.process = subprocess.Popen(["pacat", "--playback", "--raw", "-d", sink, "--format=s16le", f"--rate={RATE}",
                                         "--channels=2", "--latency-msec=50"], env=server.env, stdin=subprocess.PIPE)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        count = 1
        with contextlib.suppress(OSError, ValueError):
            while True:
                self.process.stdin.write(array.array("I", range(count, count + RATE // 100)).tobytes())
                count += RATE // 100

    def stop(self):
        self.process.kill()
        self.process.wait(10)


def play(world, seconds=1.5):
    """What comes out of the headphones while a program in work plays: its frames, one after the other, but for a few where the two
    servers' clocks are brought together."""
    for _ in range(3):  # as in listen()
        player = CountingPlayer(world.servers["work"], world.speaker())
        recorder = Recorder(world.servers["sys-usb"], "headphones.monitor")
        wait_for(lambda: sum(map(bool, recorder.frames())) > RATE * seconds, 15)
        assert world.speaker_state() == "RUNNING"
        frames = [frame for frame in recorder.stop() if frame][RATE // 2:]
        player.stop()
        steps = sum(after != before + 1 for before, after in zip(frames, frames[1:]))
        if steps * 100 < len(frames) and abs(frames[-1] - frames[0] - len(frames)) * 100 < len(frames):
            return f"{len(frames)} frames, {steps} steps between them"
    raise AssertionError(f"frames were lost or repeated: {steps} times in {len(frames)}")


def listen(world, seconds=1.5):
    """What an ordinary program in work hears: the headset's frames without a gap."""
    for _ in range(3):  # a busy machine delays the headset or the program, not each time
        recorder = Recorder(world.servers["work"], world.microphone())
        wait_for(lambda: len([frame for frame in recorder.frames() if frame]) > RATE * seconds, 15)
        frames = [frame for frame in recorder.stop() if frame][RATE // 5:]  # without what waited in the closed headset
        gaps = [(before, after) for before, after in zip(frames, frames[1:]) if after != before + 1]
        if not gaps:
            return len(frames)
    raise AssertionError(f"frames were lost or repeated: {gaps[:5]}")


def test_whole_way(world):
    port = world.plug()
    assert "USB Headset" in world.tool("list") and "Microphone" in world.tool("list"), world.tool("list")
    info = world.tool("info", f"sys-usb:{port}")
    assert "046d:0a4d" in info and "m000000" in info, info
    assert world.state() == "SUSPENDED" or world.state() == "IDLE"
    started = time.monotonic()
    world.tool("attach", "work", f"sys-usb:{port}")
    print(f"# attached in {(time.monotonic() - started) * 1e3:.0f} ms")
    assert world.microphone(), "it was said to be attached"
    description = world.servers["work"].pactl("list", "sources")
    assert "Description: USB Headset" in description, description
    wait_for(lambda: world.state() == "SUSPENDED", 3)
    print(f"# {listen(world)} frames, none lost")
    wait_for(lambda: world.state() == "SUSPENDED", 2)
    assert "in use by work" in world.tool("attach", "personal", f"sys-usb:{port}", status=1)
    assert "no sound server" in world.tool("detach", "work", f"sys-usb:{port}") + world.tool(
        "attach", "personal", f"sys-usb:{port}", status=1)
    wait_for(lambda: not world.microphone(), 3)
    world.tool("attach", "work", f"sys-usb:{port}")
    listen(world, 0.5)
    world.tool("detach", "work", f"sys-usb:{port}")
    assert not world.microphone() and world.state() == "SUSPENDED"
    assert not any(processes(side, f"socket:{world.directory}") for side in ("export", "import"))


class Events:
    """What `qvm-device watch --json` says, and when."""

    def __init__(self, world, place):
        self.process = subprocess.Popen(["qvm-device", "watch", "--json"], executable=BIN / "qvm-device", text=True,
                                        stdout=subprocess.PIPE, env={"QDB_SOCKET": str(world.path)})
        self.heard = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        for n in range(50):  # until it listens
            world.tool("label", place, f"number {n}")
            time.sleep(0.1)
            if self.heard:
                return
        raise AssertionError("it hears nothing")

    def read(self):
        for line in self.process.stdout:
            self.heard.append((json.loads(line)["event"], time.monotonic()))

    def wait(self, event):
        """When it came; those before it are forgotten."""
        def come():
            while self.heard:
                name, at = self.heard.pop(0)
                if name == event:
                    return at
            return None
        return wait_for(come, 5)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.reader.join(5)
        self.process.stdout.close()


def test_in_use(world):
    port = world.plug()
    world.tool("attach", "work", f"sys-usb:{port}")
    assert not world.is_in_use()
    events = Events(world, f"sys-usb:{port}")
    for _ in range(3):
        recorder = Recorder(world.servers["work"], world.microphone())
        wait_for(lambda: any(recorder.frames()))
        began = time.monotonic()
        told = events.wait("device-used:mic") - began
        assert world.is_in_use()
        recorder.stop()
        ended = time.monotonic()
        over = events.wait("device-unused:mic") - ended
        assert not world.is_in_use()
        print(f"# in use: told {told:.2f} s after its first sample, and no longer {over:.2f} s after")
        assert told < 1 and over < 1
    events.stop()


def test_another_comes(world):  # AU10
    """While one is heard another headset is plugged in and becomes the default, and users try to move the stream there."""
    port = world.plug()
    world.tool("attach", "work", f"sys-usb:{port}")
    source = world.servers["sys-usb"]
    recorder = Recorder(world.servers["work"], world.microphone())
    wait_for(lambda: any(recorder.frames()))
    other = Headset(source.headset("other", properties=OFFERED.replace("USB Headset", "Other Headset")), tone=440)
    other_port = wait_for(lambda: re.search(r"sys-usb:(mic-[0-9a-f]{8}) .*Other Headset", world.tool("list")), 5)[1]
    assert other_port != port
    source.pactl("set-default-source", "other")
    stream = source.pactl("list", "short", "source-outputs").split("\t")[0]
    source.pactl("move-source-output", stream, "other", check=False)
    heard = len(recorder.frames())
    wait_for(lambda: len(recorder.frames()) > heard + 2 * RATE, 5)
    assert source.source("other") != "RUNNING" and world.state() == "RUNNING"
    count, latest = world.headset.count, recorder.stop()[-RATE:]
    assert all(count - 4 * RATE < frame < count + RATE for frame in latest if frame) and any(latest), "of another"
    assert "work (attached)" in world.tool("list")
    other.stop()


def test_target_server_restarts(world):
    """What was attached ends, with a word about why; the headset is let go of, and can be attached when there is a server again."""
    port = world.plug()
    world.tool("attach", "work", f"sys-usb:{port}")
    recorder = Recorder(world.servers["work"], world.microphone())
    wait_for(lambda: any(recorder.frames()))
    world.servers["work"].stop(signal.SIGKILL)
    recorder.process.wait(5)
    wait_for(lambda: "work" not in world.tool("list"), 5)
    wait_for(lambda: world.state() == "SUSPENDED", 3)
    wait_for(lambda: not processes("import", f"socket:{world.directory}"), 3)
    wait_for(lambda: "detached" in world.tool("audit", program="qvm-device"), 5)
    world.tool("attach", "work", f"sys-usb:{port}", status=1)  # why is said by the end that is heard first
    (world.directory / f"work/users/{UID}/pulse/native").unlink(missing_ok=True)
    world.servers["work"] = Server("pulseaudio", world.directory / "work", runtime=f"users/{UID}")
    world.attach(port)
    listen(world, 0.5)


def is_muted(world):
    return "work (attached, muted)" in world.tool("list")


def hears(recorder, seconds=0.3):
    """Does anything but silence come now?"""
    before = len(recorder.frames())
    wait_for(lambda: len(recorder.frames()) > before + RATE * seconds, 10)
    return any(recorder.frames()[before + RATE // 10:])


def test_mute(world):
    """No sample from 100 ms after the command on; the source is closed; a broker's death and a re-plug change nothing of it."""
    port = world.plug()
    place = ["work", f"sys-usb:{port}"]
    world.tool("attach", *place)
    recorder = Recorder(world.servers["work"], world.microphone())
    took = []
    for _ in range(20):
        wait_for(lambda: recorder.frames() and recorder.frames()[-1], 5)
        begun = world.headset.count
        world.tool("mute", *place)
        assert is_muted(world)
        wait_for(lambda: not hears(recorder), 3)
        took.append((max(recorder.frames()[-RATE * 2:]) - begun) / RATE * 1e3)
        world.tool("unmute", *place)
        assert "work (attached)" in world.tool("list")
    took.sort()
    print(f"# from the command's start to the last sample that is heard: median {took[10]:.0f} ms, most {took[-1]:.0f} ms")
    assert took[10] < 100
    wait_for(lambda: hears(recorder), 3)
    world.tool("mute", *place)
    wait_for(lambda: world.state() == "SUSPENDED", 2)
    world.processes["broker"].kill()
    world.processes["broker"].wait()
    assert not hears(recorder, 1)
    world.start_broker()
    wait_for(lambda: is_muted(world), 20)
    assert not hears(recorder)
    recorder.stop()
    world.unplug()
    wait_for(lambda: port not in world.tool("list"), 3)
    assert world.plug() == port
    wait_for(lambda: is_muted(world), 10)
    recorder = Recorder(world.servers["work"], world.microphone())
    assert not hears(recorder, 1) and world.state() != "RUNNING"
    world.tool("unmute", *place)
    wait_for(lambda: hears(recorder), 3)
    recorder.stop()
    world.tool("detach", *place)
    assert "is not attached to work" in world.tool("mute", *place, status=1)
    world.tool("attach", *place)
    assert not is_muted(world)
    log = world.tool("audit", "--json", program="qvm-device")
    assert [log.count(f'"event":"{what}"') for what in ("mute", "unmute")] == [21, 21], log


def test_part(world):
    """A microphone of a USB device is shown as its part, by the word of the sound server."""
    port = world.plug(" sysfs.path=/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1.4/2-1.4:1.0/sound/card1")
    devices = json.loads(world.tool("list", "--json"))
    assert [(d["port"], d["parent_class"], d["parent_port"]) for d in devices] == [(port, "usb", "2-1.4")], devices
    world.unplug()
    wait_for(lambda: port not in world.tool("list"), 3)
    assert world.plug(" sysfs.path=/devices/pci0000:00/0000:00:1f.3/sound/card0") == port
    devices = json.loads(world.tool("list", "--json"))
    assert [(d["port"], d["parent_class"], d["parent_port"]) for d in devices] == [(port, None, None)], devices


def test_own_programs(world):
    """A program of sys-usb itself hears the headset and plays to it: while it is attached, and after it was."""
    own = world.servers["sys-usb"]
    mic, speaker = world.plug(), world.plug_speaker()
    world.tool("attach", "work", f"sys-usb:{mic}")
    world.tool("attach", "work", f"sys-usb:{speaker}", program="qvm-speaker")
    for attached in (True, False):
        wait_for(lambda: world.state() == "SUSPENDED" == world.speaker_state(), 3)
        recorder = Recorder(own, "headset")
        wait_for(lambda: any(recorder.frames()), 3)
        recorder.stop()
        player = Player(own, "headphones")
        wait_for(lambda: world.speaker_state() == "RUNNING", 3)
        player.stop()
        if attached:
            wait_for(lambda: world.state() == "SUSPENDED" == world.speaker_state(), 3)
            world.tool("detach", "work", f"sys-usb:{mic}")
            world.tool("detach", "work", f"sys-usb:{speaker}", program="qvm-speaker")


def test_unplug(world):
    port = world.plug()
    world.tool("attach", "work", f"sys-usb:{port}")
    recorder = Recorder(world.servers["work"], world.microphone())
    wait_for(lambda: len(recorder.frames()) > 10000)
    world.unplug()
    wait_for(lambda: not world.microphone(), 3)
    wait_for(lambda: port not in world.tool("list"), 3)
    recorder.process.kill()
    recorder.process.wait()
    assert world.plug() == port  # the same source is the same port


def test_killed(world):
    """Of proxies, the target's agent, the watcher: what was attached ends, and is there again to be attached."""
    port = world.plug()
    for who in ("export", "import"):
        world.tool("attach", "work", f"sys-usb:{port}")
        os.kill(processes(who, f"socket:{world.directory}")[0], signal.SIGKILL)
        wait_for(lambda: not world.microphone(), 5)
        wait_for(lambda: "work" not in world.tool("list"), 5)
    world.tool("attach", "work", f"sys-usb:{port}")
    world.processes["work"].kill()
    world.processes["work"].wait()
    wait_for(lambda: not processes("import", f"socket:{world.directory}"), 5)
    world.start_agent(2, "work")
    wait_for(lambda: not world.microphone(), 10)
    wait_for(lambda: "work" not in world.tool("list"), 10)
    world.attach(port)
    listen(world, 0.5)
    os.kill(processes("watch", f"unix:{world.directory}/sys-usb/users/{UID}/pulse/native")[0], signal.SIGKILL)
    wait_for(lambda: port not in world.tool("list"), 3)
    wait_for(lambda: port in world.tool("list"), 5)


def test_broker_killed(world):
    """What is attached is heard all the time, and the next broker knows of it."""
    port = world.plug()
    world.tool("attach", "work", f"sys-usb:{port}")
    recorder = Recorder(world.servers["work"], world.microphone())
    wait_for(lambda: any(recorder.frames()))
    world.processes["broker"].kill()
    world.processes["broker"].wait()
    heard = len(recorder.frames())
    wait_for(lambda: len(recorder.frames()) > heard + RATE and recorder.frames()[-1], 5)
    world.start_broker()
    wait_for(lambda: "work (attached)" in world.tool("list"), 20)
    heard = len(recorder.frames())
    wait_for(lambda: len(recorder.frames()) > heard + RATE and recorder.frames()[-1], 5)
    recorder.stop()
    world.tool("detach", "work", f"sys-usb:{port}")
    assert not world.microphone()


def test_pipewire(world):
    port = world.plug()
    world.tool("attach", "work", f"sys-usb:{port}")
    recorder = Recorder(world.servers["work"], world.microphone())
    wait_for(lambda: sum(map(bool, recorder.frames())) > RATE, 10)
    assert world.state() == "RUNNING"
    recorder.stop()
    wait_for(lambda: world.state() == "SUSPENDED", 3)
    world.unplug()
    wait_for(lambda: not world.microphone(), 3)
    wait_for(lambda: port not in world.tool("list"), 3)


test_pipewire.kind = "pipewire"


def test_server_restarts(world):
    port = world.plug()
    world.headset.stop()
    world.servers["sys-usb"].stop(signal.SIGKILL)
    wait_for(lambda: port not in world.tool("list"), 5)
    (world.directory / f"sys-usb/users/{UID}/pulse/native").unlink(missing_ok=True)
    world.servers["sys-usb"] = Server("pulseaudio", world.directory / "sys-usb", runtime=f"users/{UID}")
    assert world.plug() == port
    world.tool("attach", "work", f"sys-usb:{port}")
    listen(world, 0.5)


def rights_of(unit):
    """The words that run a program with the rights that a unit leaves it."""
    text = (pathlib.Path(__file__).parents[2] / "packaging/systemd" / unit).read_text(encoding="utf-8")
    names = re.search(r"^CapabilityBoundingSet=(.*)", text, re.M)[1].split()
    assert "NoNewPrivileges=yes" in text
    kept = ",".join("+" + name.removeprefix("CAP_").lower() for name in names)
    return ["setpriv", "--no-new-privs", "--bounding-set", f"-all,{kept}"]


def test_dom0(world):
    """dom0:mic is what dom0's user has chosen, when a program in work begins to record; and a monitor is no microphone."""
    server = world.servers["dom0"] = Server(world.kind, world.directory / "dom0", runtime=f"users/{UID}")
    with open(world.directory / "policy.d/60-dom0.policy", "w", encoding="ascii") as policy:
        policy.write("mic mic @adminvm @anyvm allow\n")
    server.pactl("load-module", "module-null-sink", "sink_name=speaker")
    heard = [Headset(server.headset(name, properties="qdb.offer=yes")) for name in ("one", "two")]
    server.pactl("set-default-source", "one")
    world.start_agent(0, "dom0", rights_of("device-agent-dom0.service"))
    wait_for(lambda: "dom0:mic " in world.tool("list"))
    info = world.tool("info", "dom0:mic")
    assert "dom0:mic::m000000" in info, info
    wait_for(lambda: not world.tool("attach", "work", "dom0:mic", status=None))  # once work's agent is known
    work = world.servers["work"]
    assert "Description: Microphone" in work.pactl("list", "sources")
    assert server.source("one") != "RUNNING" and server.source("two") != "RUNNING"

    recorder = Recorder(work, world.microphone())
    wait_for(lambda: server.source("one") == "RUNNING")
    server.pactl("set-default-source", "two")
    wait_for(lambda: sum(map(bool, recorder.frames())) > RATE)
    assert (server.source("one"), server.source("two") == "RUNNING") == ("RUNNING", False), "it was moved while it was heard"
    recorder.stop()
    wait_for(lambda: server.source("one") == "SUSPENDED", 2)

    recorder = Recorder(work, world.microphone())
    wait_for(lambda: server.source("two") == "RUNNING")
    wait_for(lambda: sum(map(bool, recorder.frames())) > RATE // 2)
    assert server.source("one") != "RUNNING"
    world.processes["broker"].kill()  # what dom0's own devices are is told by two, and the agent is the later
    world.processes["broker"].wait()
    world.start_broker()
    wait_for(lambda: "work (attached)" in world.tool("list"), 20)
    assert server.source("two") == "RUNNING"
    server.pactl("set-default-source", "speaker.monitor")
    wait_for(lambda: "dom0:mic" not in world.tool("list"), 5)
    wait_for(lambda: not world.microphone(), 5)
    recorder.process.kill()
    recorder.process.wait()
    assert server.source("speaker.monitor") != "RUNNING"

    server.pactl("set-default-source", "two")
    wait_for(lambda: "work (attached)" in world.tool("list"), 5)  # as what is plugged in again
    world.tool("detach", "work", "dom0:mic")
    assert not world.microphone()
    assert "attached to dom0" in world.tool("attach", "dom0", "dom0:mic", status=1)
    for headset in heard:
        headset.stop()


def test_dom0_pipewire(world):
    test_dom0(world)


test_dom0_pipewire.kind = "pipewire"


def test_speaker(world):
    port = world.plug_speaker()
    listed = world.tool("list", program="qvm-speaker")
    assert "USB Headset" in listed and "Speaker" in listed, listed
    info = world.tool("info", f"sys-usb:{port}", program="qvm-speaker")
    assert "046d:0a4d" in info and "s000000" in info, info
    world.tool("attach", "work", f"sys-usb:{port}", program="qvm-speaker")
    assert world.speaker(), "it was said to be attached"
    assert "Description: USB Headset" in world.servers["work"].pactl("list", "sinks")
    assert not world.tool("list", program="qvm-mic")  # its monitor is no microphone
    wait_for(lambda: world.speaker_state() == "SUSPENDED", 3)
    assert not world.is_in_use()
    print(f"# {play(world)}")
    wait_for(lambda: world.speaker_state() == "SUSPENDED", 3)
    player = CountingPlayer(world.servers["work"], world.speaker())
    wait_for(world.is_in_use, 5)
    player.stop()
    wait_for(lambda: not world.is_in_use(), 5)
    refused = world.tool("attach", "personal", f"sys-usb:{port}", program="qvm-speaker", status=1)
    assert "in use by work" in refused, refused
    world.tool("detach", "work", f"sys-usb:{port}", program="qvm-speaker")
    assert not world.speaker() and world.speaker_state() == "SUSPENDED"
    assert not any(processes(side, f"socket:{world.directory}") for side in ("export", "import"))


def test_speaker_and_microphone(world):
    """A headset's two parts, each by itself; one goes, the other stays."""
    mic, speaker = world.plug(), world.plug_speaker()
    world.tool("attach", "work", f"sys-usb:{mic}")
    world.tool("attach", "work", f"sys-usb:{speaker}", program="qvm-speaker")
    player = CountingPlayer(world.servers["work"], world.speaker())
    microphone = next(name for name in world.servers["work"].virtual() if not name.endswith(".monitor"))
    recorder = Recorder(world.servers["work"], microphone)
    wait_for(lambda: sum(map(bool, recorder.frames())) > RATE // 2, 10)
    world.unplug_speaker()
    wait_for(lambda: not world.speaker(), 3)
    wait_for(lambda: speaker not in world.tool("list", program="qvm-speaker"), 3)
    heard = len(recorder.frames())
    wait_for(lambda: len(recorder.frames()) > heard + RATE // 2, 5)
    recorder.stop()
    player.stop()
    assert world.plug_speaker() == speaker  # the same sink is the same port


def test_speaker_killed(world):
    """The broker, while it plays; then each proxy: what was attached ends, and can be attached again."""
    port = world.plug_speaker()
    world.tool("attach", "work", f"sys-usb:{port}", program="qvm-speaker")
    player = CountingPlayer(world.servers["work"], world.speaker())
    recorder = Recorder(world.servers["sys-usb"], "headphones.monitor")
    wait_for(lambda: any(recorder.frames()))
    world.processes["broker"].kill()
    world.processes["broker"].wait()
    heard = len(recorder.frames())
    wait_for(lambda: len(recorder.frames()) > heard + RATE and recorder.frames()[-1], 5)
    world.start_broker()
    wait_for(lambda: "work (attached)" in world.tool("list", program="qvm-speaker"), 20)
    heard = len(recorder.frames())
    wait_for(lambda: len(recorder.frames()) > heard + RATE and recorder.frames()[-1], 5)
    recorder.stop()
    player.stop()
    for who in ("export", "import"):
        os.kill(processes(who, f"socket:{world.directory}")[0], signal.SIGKILL)
        wait_for(lambda: not world.speaker(), 5)
        wait_for(lambda: "work" not in world.tool("list", program="qvm-speaker"), 5)
        world.tool("attach", "work", f"sys-usb:{port}", program="qvm-speaker")
    play(world)


def in_world(test):
    def run(directory):
        world = World(directory, getattr(test, "kind", "pulseaudio"))
        try:
            test(world)
        except BaseException:
            world.logs.seek(0)
            print("".join(f"# {line}\n" for line in world.logs.read().decode(errors="replace").splitlines()[-40:]), end="")
            raise
        finally:
            world.close()
    return run


sys.exit(run_tests({name: in_world(test) for name, test in globals().items() if name.startswith("test_")}))
