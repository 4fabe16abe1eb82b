# SPDX-License-Identifier: GPL-2.0-or-later
"""Microphones under Xen: PulseAudio in sys-usb, in dom0 and in work, over vchan, heard by parec.

There is no sound card: the headset is PulseAudio's own module-pipe-source, which counts (sound-count). The servers are this
machine's, with their libraries, for they are no part of what we install.
"""
import io
import os
import re
import subprocess
import tarfile
import time

import gadget
from qubes import Qubes

LIBDIR = "usr/lib/x86_64-linux-gnu"
MODULES = ("module-native-protocol-unix", "module-pipe-source")
PROGRAMS = ("/usr/bin/pulseaudio", "/usr/bin/pactl", "/usr/bin/parec")
UID = 1000
RUN = f"/run/user/{UID}"
PULSE = f"XDG_RUNTIME_DIR={RUN} HOME={RUN} PULSE_SERVER=unix:{RUN}/pulse/native"
SECONDS = int(os.environ.get("MIC_SECONDS", "20"))


def archive(d):
    """A server, two of its clients and their libraries, but for those that are there."""
    directory = os.path.dirname(subprocess.run(["find", "/usr/lib", "-name", "module-pipe-source.so"], check=True,
                                               capture_output=True, text=True).stdout.splitlines()[0])
    programs = [*PROGRAMS, *(f"{directory}/{name}.so" for name in MODULES)]
    there = set(d.run(f"ls /{LIBDIR} {directory} 2>/dev/null; true").out.split())
    libraries = set(re.findall(r"=> (/\S+)", subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", dereference=True) as tar:
        for path in programs:
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


def plug(d):
    properties = r"qdb.offer=yes device.description=Headset device.vendor.id=046d device.product.id=0a4d"
    d.run(as_user(f'pactl load-module module-pipe-source source_name=headset file={RUN}/headset format=s16le rate=48000 '
                  f'channels=2 source_properties=\\"{properties}\\"'))
    d.run(f"setsid sound-count speak {RUN}/headset {SECONDS + 300} </dev/null >/dev/null 2>&1 &")


def state(d):
    out = d.run(as_user("pactl list short sources")).out
    return re.search(r"\theadset\t.*\t(\w+)$", out, re.M)[1]


def mic(qubes, *words, **more):
    return qubes.dom0.run("qvm-mic " + " ".join(words), **more)


def wait_listed(qubes, pattern):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = re.search(pattern, mic(qubes, "list").out, re.M)
        if found:
            return found[1]
        time.sleep(0.2)
    raise AssertionError(f"not listed: {mic(qubes, 'list').out} {qubes.logs()}")


def attach(qubes, command):
    """As soon as work's agent has found the sound server, which has just come."""
    deadline = time.monotonic() + 20
    while (done := qubes.dom0.run(command, check=False, timeout=60)).rc != 0:
        assert "no sound server" in done.err and time.monotonic() < deadline, f"{done} {qubes.logs()}"
        time.sleep(0.5)


def listen(source_domain, work):
    """A program in work hears every sample of the headset in the other domain, which is open for that time only."""
    source = re.search(r"\t(qdb\.\w+)\t", work.run(as_user("pactl list short sources")).out)[1]
    assert state(source_domain) != "RUNNING"  # nobody records
    heard = work.run(as_user(f"parec --raw -d {source} --format=s16le --rate=48000 --channels=2 --latency-msec=50") +
                     f" | sound-count listen {SECONDS}", timeout=SECONDS * 2 + 60).out
    print(f"# {SECONDS} s from {source_domain.name} under emulated Xen: {heard.strip()}")
    frames, _, _, _, repeated = map(int, re.findall(r"\d+", heard))
    assert frames >= SECONDS * 48000 and repeated == 0, heard
    deadline = time.monotonic() + 10
    while state(source_domain) != "SUSPENDED":
        assert time.monotonic() < deadline, "the headset stays open"
        time.sleep(0.2)


def test_microphone(rig):
    qubes = Qubes.of(rig)
    device_qube, work = rig["sys-usb"], rig["work"]
    for d in (device_qube, work):
        start_server(d)
    plug(device_qube)
    port = wait_listed(qubes, r"^sys-usb:(mic-[0-9a-f]{8}) .*Microphone: Headset")
    attach(qubes, f"qvm-mic attach work sys-usb:{port}")
    assert state(device_qube) == "SUSPENDED"
    listen(device_qube, work)
    refused = mic(qubes, "attach", "personal", f"sys-usb:{port}", check=False)
    assert refused.rc == 1 and "in use by work" in refused.err, refused
    mic(qubes, "detach", "work", f"sys-usb:{port}", timeout=60)
    assert "qdb." not in work.run(as_user("pactl list short sources")).out
    assert not work.run("pidof audio-proxy | wc -w").out.strip() > "1", "only the watcher is left"
    refused = mic(qubes, "attach", "personal", f"sys-usb:{port}", check=False, timeout=60)
    assert refused.rc == 1 and "no sound server" in refused.err, refused
    qubes.wait_clean("sys-usb", "work")


def test_dom0(rig):
    """dom0's own, as users of Qubes attach it; by the shipped policy."""
    qubes = Qubes.of(rig)
    dom0, work = rig.dom0, rig["work"]
    for d in (dom0, work):
        start_server(d)
    plug(dom0)
    stick = dom0.gadget("acm", [gadget.acm()], serial="IN-DOM0").up()
    listed = qubes.wait_listed(serial="IN-DOM0")
    qubes.start_agent_in_dom0()
    wait_listed(qubes, r"^(dom0:mic) ")
    assert qubes.wait_listed(serial="IN-DOM0")["port"] == listed["port"], "USB devices stay listed, by the broker"
    refused = qubes.usb("attach", "work", qubes.device(listed), check=False)
    assert refused.rc == 1, refused
    stick.remove()
    qubes.wait_unlisted("IN-DOM0")
    wait_listed(qubes, r"^(dom0:mic) ")
    before = qubes.grants("dom0", "work")
    attach(qubes, "qvm-device mic attach work dom0:mic")
    assert qubes.grants("dom0", "work") > before, "its samples go another way"
    listen(dom0, work)
    refused = mic(qubes, "attach", "dom0", "dom0:mic", check=False)
    assert refused.rc == 1 and "dom0" in refused.err, refused
    mic(qubes, "detach", "work", "dom0:mic", timeout=60)
    left = work.run(as_user("pactl list short sources")).out
    assert "qdb." not in left, left + qubes.logs()
    qubes.wait_clean("dom0", "work")
    assert qubes.grants("dom0", "work") == before
    own = qubes.grants("dom0", "dom0")
    assert own > 0, "the control channel is Xen's"
    qubes.stop_agent_in_dom0()
    assert qubes.grants("dom0", "dom0") == 0
    nodes = dom0.run("xenstore-ls -f /local/domain/0/data", check=False).out
    assert "ring-ref" not in nodes and "/port" not in nodes, nodes
    assert not dom0.run("pidof audio-proxy", check=False).out
