# SPDX-License-Identifier: GPL-2.0-or-later
"""PulseAudio in the rig's domains, and ordinary programs that record. They are this machine's, with their libraries, for they are no
part of what we install.
"""
import glob
import io
import os
import re
import subprocess
import sys
import tarfile
import time

from rig import build

sys.path.append(os.path.join(build.ROOT, "tests/integration"))
import sound_signal  # noqa: E402

LIBDIR = "usr/lib/x86_64-linux-gnu"
MODULES = ("module-native-protocol-unix", "module-pipe-source", "module-udev-detect", "module-alsa-card",
           "module-suspend-on-idle")
PROGRAMS = ("/usr/bin/pulseaudio", "/usr/bin/pactl", "/usr/bin/parec", "/usr/bin/arecord", "/usr/bin/aplay")
DATA = ("/usr/share/alsa/alsa.conf", "/usr/share/alsa/alsa.conf.d", "/usr/share/alsa/cards", "/usr/share/alsa/pcm", "/etc/alsa",
        "/usr/share/pulseaudio/alsa-mixer")
UID = 1000
RUN = f"/run/user/{UID}"
PULSE = f"XDG_RUNTIME_DIR={RUN} HOME={RUN} PULSE_SERVER=unix:{RUN}/pulse/native"
JUDGE = os.path.join(os.path.dirname(build.OUT), "gcc/bin/sound-judge")
SIGNAL = os.path.join(build.OUT, "signal.raw")


def archive(d):
    """A server, some of its clients and their libraries, but for those that are there."""
    directory = os.path.dirname(subprocess.run(["find", "/usr/lib", "-name", "module-pipe-source.so"], check=True,
                                               capture_output=True, text=True).stdout.splitlines()[0])
    programs = [*PROGRAMS, *(f"{directory}/{name}.so" for name in MODULES),
                *glob.glob(f"/{LIBDIR}/alsa-lib/libasound_module_*_pulse.so")]
    there = set(d.run(f"ls /{LIBDIR} {directory} 2>/dev/null; true").out.split())
    libraries = set(re.findall(r"=> (/\S+)", subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", dereference=True) as tar:
        for path in [*programs, *filter(os.path.exists, DATA)]:
            tar.add(path, path[1:])
        for path in sorted(libraries):
            if os.path.basename(path) not in there:
                tar.add(path, path[1:] if path.startswith(directory) else f"{LIBDIR}/{os.path.basename(path)}")
    return out.getvalue(), directory


def start_server(d):
    """Unless it is there."""
    if d.run("pidof pulseaudio", check=False).rc == 0:
        return
    tar, directory = archive(d)
    d.put("/sound.tgz", tar, timeout=120)
    d.run("tar -xzf /sound.tgz -C / && rm /sound.tgz", timeout=120)
    d.run(f"grep -q user: /etc/passwd || echo user:x:{UID}:{UID}::{RUN}:/bin/sh >>/etc/passwd; mkdir -p {RUN}/pulse; "
          f"chown -R {UID}:{UID} {RUN}; chmod 700 {RUN} {RUN}/pulse")
    d.put("/run/sound", f"""#!/bin/sh
cd {RUN}
exec env XDG_RUNTIME_DIR={RUN} HOME={RUN} pulseaudio -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no \\
	--dl-search-path={directory} -L 'module-native-protocol-unix socket={RUN}/pulse/native' >{RUN}/log 2>&1
""", mode=0o755)
    d.run("setsid su user -c /run/sound </dev/null >/dev/null 2>&1 &")
    d.wait_for(f"{as_user('pactl info')} >/dev/null 2>&1", timeout=60)


def as_user(command):
    return f"su user -c '{PULSE} {command}'"


def ignore_gadgets(d):
    """A gadget's own end is a sound card of the same kernel, which is no business of its sound server's."""
    d.put("/run/udev/rules.d/90-rig.rules", """SUBSYSTEM=="sound", DEVPATH=="*/gadget*", ENV{PULSE_IGNORE}="1"
SUBSYSTEM=="sound", MODE="0666"
""")
    d.run("udevadm control --reload")


def detect(d):
    """The server there uses the cards that there are."""
    d.run(f"{as_user('pactl list short modules')} | grep -q module-udev-detect || {as_user('pactl load-module module-udev-detect')}")


def sing(d, samples):
    """The microphone of the UAC2 gadget that is there hears these (48000 Hz, stereo, 16 bits), again and again, until it goes."""
    d.put("/run/signal", samples, timeout=120)
    d.wait_for("[ -e /proc/asound/UAC2Gadget ]")  # aplay gives up where nobody takes what it plays
    d.run("setsid sh -c 'while [ -e /proc/asound/UAC2Gadget ]; do aplay -q -D hw:UAC2Gadget -t raw -f S16_LE -r 48000 -c 2 "
          "/run/signal; usleep 100000; done' </dev/null >/dev/null 2>&1 &")


def state(d, source="headset"):
    out = d.run(as_user("pactl list short sources")).out
    return re.search(rf"\t{source}\t.*\t(\w+)$", out, re.M)[1]


def virtual(d):
    """The name of our virtual microphone there; None: there is none."""
    found = re.search(r"\t(qdb\.\w+)\t", d.run(as_user("pactl list short sources")).out)
    return found and found[1]


def mic(qubes, *words, **more):
    return qubes.dom0.run("qvm-mic " + " ".join(words), **more)


def wait_listed(qubes, pattern, tool="qvm-mic"):
    """What the pattern's group is in the tool's list."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = re.search(pattern, qubes.dom0.run([tool, "list"]).out, re.M)
        if found:
            return found[1]
        time.sleep(0.2)
    raise AssertionError(f"not listed: {qubes.dom0.run([tool, 'list']).out} {qubes.logs()}")


def attach(qubes, command):
    """As soon as work's agent has found the sound server, which has just come."""
    deadline = time.monotonic() + 20
    while (done := qubes.dom0.run(command, check=False, timeout=60)).rc != 0:
        assert "no sound server" in done.err and time.monotonic() < deadline, f"{done} {qubes.logs()}"
        time.sleep(0.5)


def signal():
    """What is sung: the bytes."""
    if not os.path.exists(SIGNAL):
        with open(SIGNAL, "wb") as file:
            file.write(sound_signal.signal())
    with open(SIGNAL, "rb") as file:
        return file.read()


def judge(recorded, skip):
    """What has become of the signal, {name: number}."""
    done = subprocess.run([JUDGE, SIGNAL, str(skip)], input=recorded, capture_output=True, check=False)
    assert done.returncode == 0, f"{len(recorded)} bytes: {done.stderr.decode()}"
    words = done.stdout.decode().splitlines()[-1].split()
    return dict(zip(words[1::2], map(float, words[2::2])))
