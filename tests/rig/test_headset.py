# SPDX-License-Identifier: GPL-2.0-or-later
"""A USB headset under Xen: a UAC2 gadget with Linux' own driver, ALSA and PulseAudio in sys-usb. Its microphone and speaker by stream,
itself as a whole by USB, never both; and the driver is seen to leave with the whole.
"""
import re

import gadget
import sound
from qubes import POLICY_DIR, Qubes
from sound import as_user, attach, mic, start_server, virtual, wait_listed

SERIAL = "HEADSET1"
MIC = r"^sys-usb:(mic-[0-9a-f]{8}) .*Microphone: .+ Stereo"
SECONDS = 5


def plug(d):
    """A headset that hears the signal, again and again."""
    sound.ignore_gadgets(d)
    headset = d.gadget("headset", [gadget.uac2()], serial=SERIAL, product="Rig Headset").up()
    sound.sing(d, sound.signal())
    return headset


def unplug(d, headset):
    headset.remove()
    d.wait_for("! pidof aplay")


def drivers(d, serial=SERIAL):
    """The drivers of the device's interfaces."""
    busid = d.wait_usb(serial=serial)["busid"]
    return set(d.run(f"cd /sys/bus/usb/devices; for i in {busid}:*; do [ ! -e $i/driver ] || basename $(readlink $i/driver); done"
                     ).out.split())


def refused(done, words):
    assert done.rc == 1 and words in done.err, done


def record(work):
    """What a program in work hears of the signal."""
    source = virtual(work)
    raw = work.run(f"timeout {SECONDS + 2} " + as_user(f"exec parec --raw -d {source} --format=s16le --rate=48000 --channels=2 "
                                                       "--latency-msec=50"), timeout=60, check=False).out_bytes
    return sound.judge(raw, 2)


def test_headset(rig):
    qubes = Qubes.of(rig)
    device_qube, work = rig["sys-usb"], rig["work"]
    for d in (device_qube, work):
        start_server(d)
    sound.detect(device_qube)
    headset = plug(device_qube)
    whole = qubes.device(qubes.wait_listed(serial=SERIAL))
    part = f"sys-usb:{wait_listed(qubes, MIC)}"
    tree = qubes.dom0.run("qvm-device list").out
    print("".join(f"# {line}\n" for line in tree.splitlines() if "sys-usb" in line), end="")
    assert drivers(device_qube) == {"snd-usb-audio"}, drivers(device_qube)

    attach(qubes, f"qvm-mic attach work {part}")
    heard = record(work)
    print("# its signal in work: " + " ".join(f"{key} {value:g}" for key, value in heard.items()))
    assert heard["mean"] > 0.9, heard
    refused(qubes.usb("attach", "work", whole, check=False), "part")
    assert drivers(device_qube) == {"snd-usb-audio"}, "a refused attach touches nothing"

    # a profile change in mid-call: the source goes; when it comes back soon, so does the virtual microphone
    card = re.search(r"\t(alsa_card\S+)\t", device_qube.run(as_user("pactl list short cards")).out)[1]
    before = re.search(rf"{card}.*?Active Profile: (\S+)", device_qube.run(as_user("pactl list cards")).out, re.S)[1]
    recorder = work.spawn(as_user(f"exec parec -d {virtual(work)}") + " >/dev/null")
    device_qube.run("; sleep 0.5; ".join(as_user(f"pactl set-card-profile {card} {profile}") for profile in ("off", before)))
    recorder.wait(30)
    assert "the device was unplugged" in qubes.log("sys-usb"), qubes.logs()
    work.wait_for(as_user("pactl list short sources") + " | grep -q qdb")
    part = f"sys-usb:{wait_listed(qubes, MIC)}"
    assert record(work)["mean"] > 0.9
    mic(qubes, "detach", "work", part)
    qubes.wait_clean("sys-usb", "work")

    # the whole: the driver leaves, and with it the parts
    qubes.usb("attach", "work", whole)
    work.wait_usb(serial=SERIAL)
    assert "snd-usb-audio" not in drivers(device_qube)
    work.wait_for("grep -q USB-Audio /proc/asound/cards")
    assert part not in mic(qubes, "list").out
    refused(mic(qubes, "attach", "personal", part, check=False), "")
    qubes.usb("detach", "work", whole)
    qubes.wait_clean("sys-usb", "work")
    unplug(device_qube, headset)

    # where the policy says so, the whole ends its parts
    qubes.dom0.put(f"{POLICY_DIR}/05-parts.policy", "usb * @anyvm @anyvm allow parts=end\n", mode=0o644)
    headset = plug(device_qube)
    whole = qubes.device(qubes.wait_listed(serial=SERIAL))
    attach(qubes, f"qvm-mic attach work sys-usb:{wait_listed(qubes, MIC)}")
    qubes.usb("attach", "work", whole)
    work.wait_usb(serial=SERIAL)
    assert not virtual(work) and "snd-usb-audio" not in drivers(device_qube)
    qubes.usb("detach", "work", whole)
    qubes.wait_clean("sys-usb", "work")
    qubes.dom0.run(f"rm {POLICY_DIR}/05-parts.policy")
    unplug(device_qube, headset)
