# SPDX-License-Identifier: GPL-2.0-or-later
"""Microphones under Xen: PulseAudio in sys-usb, in dom0 and in work, over vchan, heard by parec.

There is no sound card: the headset is PulseAudio's own module-pipe-source, which counts, or sings (sound-count).
"""
import os
import re
import time

import gadget
import sound
from qubes import Qubes
from sound import RUN, as_user, attach, mic, start_server, state, virtual, wait_listed

SECONDS = int(os.environ.get("MIC_SECONDS", "20"))
SETTLE = 2


def plug(d):
    properties = r"qdb.offer=yes device.description=Headset device.vendor.id=046d device.product.id=0a4d"
    d.run(as_user(f'pactl load-module module-pipe-source source_name=headset file={RUN}/headset format=s16le rate=48000 '
                  f'channels=2 source_properties=\\"{properties}\\"'))
    d.run(f"setsid sound-count speak {RUN}/headset {SECONDS + 300} </dev/null >/dev/null 2>&1 &")


def unplug(d):
    d.run(as_user("pactl unload-module module-pipe-source"))
    d.kill_program("sound-count")


def listen(source_domain, work):
    """A program in work hears every sample of the headset in the other domain, which is open for that time only."""
    source = virtual(work)
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
    assert not virtual(work)
    assert not work.run("pidof audio-proxy | wc -w").out.strip() > "1", "only the watcher is left"
    refused = mic(qubes, "attach", "personal", f"sys-usb:{port}", check=False, timeout=60)
    assert refused.rc == 1 and "no sound server" in refused.err, refused
    unplug(device_qube)
    qubes.wait_clean("sys-usb", "work")


def sing(d, ppm):
    """The headset's place is taken by a singer whose clock is so much fast."""
    d.kill_program("sound-count")
    d.put("/run/signal", sound.signal(), timeout=120)
    d.run(f"setsid sound-count sing {RUN}/headset {SECONDS + 300} /run/signal {ppm} </dev/null >/dev/null 2>&1 &")


def record(d, program, source, seconds):
    words = {"parec": f"parec --raw -d {source} --format=s16le --rate=48000 --channels=2 --latency-msec=50",
             "arecord": f"env PULSE_SOURCE={source} arecord -q -D pulse -t raw -f S16_LE -r 48000 -c 2"}[program]
    return d.spawn(f"timeout {seconds} " + as_user(f"exec {words}") + f" >/run/{program}.raw")


def test_signal(rig):
    """Speech and a sweep, by a clock that is fast and one that is slow, as ordinary programs record them; and at the source itself."""
    qubes = Qubes.of(rig)
    device_qube, work = rig["sys-usb"], rig["work"]
    for d in (device_qube, work):
        start_server(d)
    plug(device_qube)
    port = wait_listed(qubes, r"^sys-usb:(mic-[0-9a-f]{8}) .*Microphone: Headset")
    for ppm in (300, -300):
        sing(device_qube, ppm)
        attach(qubes, f"qvm-mic attach work sys-usb:{port}")
        seconds = SECONDS // 2 + SETTLE
        source = virtual(work)
        programs = {"source": record(device_qube, "parec", "headset", seconds),
                    **{name: record(work, name, source, seconds) for name in ("parec", "arecord")}}
        heard = {}
        for name, program in programs.items():
            program.wait(seconds + 60)
            d = device_qube if name == "source" else work
            file = f"/run/{'parec' if name == 'source' else name}.raw"
            heard[name] = sound.judge(d.get(file, timeout=600), SETTLE)
            d.run(f"rm {file}")
            print(f"# {ppm:+} ppm, {name}: " + " ".join(f"{key} {value:g}" for key, value in heard[name].items()))
        for name in ("parec", "arecord"):
            ours = heard[name]
            assert ours["seconds"] >= SECONDS // 2 - 2 and ours["worst"] > 0.999, f"{name}: {ours}"
            assert max(abs(ours["level-low"]), abs(ours["level-high"])) < 0.1, f"{name}: {ours}"
            assert ours["jumps"] <= heard["source"]["jumps"], f"{name}: {heard}"
        mic(qubes, "detach", "work", f"sys-usb:{port}", timeout=60)
    unplug(device_qube)
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
    unplug(dom0)
    qubes.wait_clean("dom0", "work")
    assert qubes.grants("dom0", "work") == before
    own = qubes.grants("dom0", "dom0")
    assert own > 0, "the control channel is Xen's"
    qubes.stop_agent_in_dom0()
    assert qubes.grants("dom0", "dom0") == 0
    nodes = dom0.run("xenstore-ls -f /local/domain/0/data", check=False).out
    assert "ring-ref" not in nodes and "/port" not in nodes, nodes
    assert not dom0.run("pidof audio-proxy", check=False).out
