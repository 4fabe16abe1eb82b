# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: plug, list, attach, use, detach; one target; nothing left behind."""
import json
import time

import stick
from qubes import Qubes

DATA = stick.noise(3 << 20)
READ_BACK = stick.noise(1 << 20, seed=2)


def sys_usb_driver(rig, port):
    """The drivers that sys-usb's own kernel has bound to a device's interfaces."""
    return rig["sys-usb"].run(f"for i in /sys/bus/usb/devices/{port}:*; do readlink $i/driver; done; true").out.split()


def plugged(rig, name, **options):
    """Plugs a stick with one file; returns its list entry."""
    rig.plug("storage", name, data=stick.make({"data.bin": DATA}), serial=name.upper(), **options)
    return Qubes.of(rig).wait_listed(serial=name.upper())


def use(rig, qube, serial):
    """Mounts the stick in a qube, checks its file, writes one."""
    block = rig[qube].wait_block(serial=serial)
    rig[qube].run(f"mkdir -p /m && mount -t vfat {block} /m")
    got = rig[qube].run("sha256sum </m/data.bin", timeout=120).out.split()[0]
    assert got == stick.sha256(DATA), "the file read in the qube differs from the stick's image"
    rig[qube].put("/m/written.bin", READ_BACK, timeout=120)
    rig[qube].run("umount /m", timeout=120)


def streams(qubes):
    return json.loads(qubes.usb("status", "--json").out)


def wait_told(qubes, device, to_qube, from_qube):
    """The stream's status when both sides have said that so much was moved, and that nothing waits for the device."""
    deadline = time.monotonic() + 30
    while True:
        stream, = [s for s in streams(qubes) if s["port"] == device["port"]]
        sides = [stream["by_backend"], stream["by_qube"]]
        if all(side and side["bytes_to_qube"] >= to_qube and side["bytes_from_qube"] >= from_qube and not side["in_use"]
               for side in sides):
            return stream
        assert time.monotonic() < deadline, stream
        time.sleep(0.5)


def test_list_attach_use_detach(rig):
    qubes = Qubes.of(rig)
    d = plugged(rig, "stick1", superspeed=True)
    assert d["backend"] == "sys-usb" and d["used_by"] is None, d
    qubes.attach("work", d)
    assert qubes.find(port=d["port"])["used_by"] == "work"
    use(rig, "work", "STICK1")
    stream = wait_told(qubes, d, len(DATA), len(READ_BACK))
    assert stream["qube"] == "work", stream
    qubes.detach("work", d)
    assert qubes.find(port=d["port"])["used_by"] is None
    assert not [s for s in streams(qubes) if s["port"] == d["port"]]
    image = rig.unplug("stick1").image
    assert stick.read_file(image, "written.bin") == READ_BACK, "what work wrote is not in the stick's image"
    qubes.wait_unlisted("STICK1")


def test_refused_while_in_use_then_moves(rig):
    qubes = Qubes.of(rig)
    d = plugged(rig, "stick2", superspeed=False)
    qubes.attach("work", d)
    refused = qubes.usb("attach", "personal", qubes.device(d), check=False)
    assert refused.rc == 1 and "work" in refused.err and "detach" in refused.err, refused
    assert not qubes.traces("personal")
    again = qubes.usb("attach", "work", qubes.device(d), check=False)
    assert again.rc == 1 and "already" in again.err.lower(), again
    use(rig, "work", "STICK2")
    qubes.detach("work", d)
    qubes.attach("personal", d)
    use(rig, "personal", "STICK2")
    qubes.detach("personal", d)
    rig.unplug("stick2")


def test_detach_leaves_nothing(rig):
    qubes = Qubes.of(rig)
    d = plugged(rig, "stick3", superspeed=True)
    before = qubes.grants("sys-usb", "work")
    qubes.attach("work", d)
    assert qubes.grants("sys-usb", "work") > before, "this test would not see a grant"
    assert qubes.traces("work") and qubes.traces("sys-usb"), "this test would not see a trace"
    rig["work"].wait_block(serial="STICK3")
    start = time.monotonic()
    qubes.detach("work", d)
    took = time.monotonic() - start
    assert not qubes.traces("work"), qubes.traces("work")
    assert not qubes.traces("sys-usb"), qubes.traces("sys-usb")
    assert qubes.grants("sys-usb", "work") == before
    assert took < 3, f"detach took {took:.1f} s"
    assert sys_usb_driver(rig, d["port"]) == [], "sys-usb's kernel took the device back"
    rig.unplug("stick3")


def test_errors_name_the_thing(rig):
    qubes = Qubes.of(rig)
    cases = {
        ("attach", "work", "sys-usb:9-9"): ("9-9", 1),
        ("attach", "nobody", "sys-usb:1-1"): ("nobody", 2),
        ("attach", "work", "nothere:1-1"): ("nothere", 1),
        ("detach", "work", "sys-usb:9-9"): ("9-9", 1),
        ("attach", "work"): ("usage", 2),
    }
    for words, (named, status) in cases.items():
        r = qubes.usb(*words, check=False)
        assert r.rc == status and named in r.err.lower(), f"{words}: {r}"


def test_unplug_in_mid_transfer(rig):
    qubes = Qubes.of(rig)
    d = plugged(rig, "stick4", superspeed=True)
    qubes.attach("work", d)
    block = rig["work"].wait_block(serial="STICK4")
    reader = rig["work"].spawn(f"while dd if={block} of=/dev/null bs=64k iflag=direct; do :; done")
    time.sleep(2)
    rig.unplug("stick4")
    qubes.wait_unlisted("STICK4")
    reader.wait(60)
    qubes.wait_clean("work", "sys-usb")
    d = plugged(rig, "stick5", superspeed=True)
    qubes.attach("work", d)
    use(rig, "work", "STICK5")
    qubes.detach("work", d)
    rig.unplug("stick5")


def test_no_kernel_fault(rig):
    rig.assert_no_oops()
