# SPDX-License-Identifier: GPL-2.0-or-later
"""Death of each process and of each qube, at idle and in mid-transfer: the other side is cleaned up, the list is right,
and the next attach works. (PD01-PD10, HP07, DI01 of the project's list of hostile cases.)"""
import time

import stick
from qubes import Qubes

SERIAL = "MORTAL"
DATA = stick.noise(2 << 20)


def setup_stick(rig):
    if "mortal" not in rig.devices:
        rig.plug("storage", "mortal", data=stick.make({"data.bin": DATA}), serial=SERIAL, superspeed=True)
    return Qubes.of(rig).wait_listed(serial=SERIAL, timeout=90)


def attached(rig, busy):
    """Attaches the stick to work; with `busy` a reader runs there without end."""
    qubes = Qubes.of(rig)
    d = setup_stick(rig)
    deadline = time.monotonic() + 30
    while (r := qubes.usb("attach", "work", qubes.device(d), check=False)).rc != 0:
        assert time.monotonic() < deadline, f"the next attach does not work: {r}\n{qubes.logs()}"
        time.sleep(1)
    block = rig["work"].wait_block(serial=SERIAL)
    if busy:
        rig["work"].spawn(f"while dd if={block} of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done")
        time.sleep(1)
    return d


def works_again(rig):
    """A whole attach, a checked read, a detach."""
    qubes = Qubes.of(rig)
    d = attached(rig, busy=False)
    block = rig["work"].wait_block(serial=SERIAL)
    got = rig["work"].run(f"mkdir -p /m && mount -t vfat -o ro {block} /m && sha256sum </m/data.bin && umount /m").out.split()[0]
    assert got == stick.sha256(DATA)
    qubes.detach("work", d)
    qubes.wait_clean("work", "sys-usb")
    assert qubes.find(port=d["port"])["used_by"] is None


def kill_process(rig, domain, program, busy):
    qubes = Qubes.of(rig)
    attached(rig, busy)
    assert rig[domain].kill_program(program) == 1, f"{program} did not run in {domain}"
    qubes.wait_clean("work", "sys-usb", timeout=30)
    works_again(rig)


def test_kill_exporting_proxy(rig):
    kill_process(rig, "sys-usb", "usb-proxy", busy=True)


def test_kill_importing_proxy(rig):
    kill_process(rig, "work", "usb-proxy", busy=True)


def test_kill_device_qubes_agent(rig):
    kill_process(rig, "sys-usb", "device-agent", busy=True)


def test_kill_app_qubes_agent(rig):
    kill_process(rig, "work", "device-agent", busy=True)


def test_kill_broker(rig):
    """Streams go on while the broker is away; when it is back it proves each with both agents, and keeps it."""
    qubes = Qubes.of(rig)
    d = attached(rig, busy=False)
    work = rig["work"]
    block = work.wait_block(serial=SERIAL)
    read = f"mkdir -p /m && mount -t vfat -o ro {block} /m && sha256sum </m/data.bin && umount /m"
    rig.dom0.run("touch /run/device-broker.stop")
    assert rig.dom0.kill_program("device-broker") == 1
    got = work.run(read).out.split()[0]
    assert got == stick.sha256(DATA), "the stream did not go on without the broker"
    proxies = work.run("pidof usb-proxy").out
    qubes.start_service("dom0")
    rig.dom0.wait_for("qvm-usb list")
    deadline = time.monotonic() + 60
    while (found := qubes.find(port=d["port"])) is None or found["state"] != "attached":
        assert time.monotonic() < deadline, f"the stream was not proven: {found}\n{qubes.logs()}"
        time.sleep(0.5)
    assert found["used_by"] == "work" and work.run("pidof usb-proxy").out == proxies, "it is not the same stream"
    got = work.run(f"echo 3 >/proc/sys/vm/drop_caches; {read}").out.split()[0]
    assert got == stick.sha256(DATA), "the stream did not go on under the new broker"
    qubes.detach("work", d)
    qubes.wait_clean("work", "sys-usb", timeout=30)
    works_again(rig)


def destroy(rig, name, busy):
    qubes = Qubes.of(rig)
    attached(rig, busy)
    other = "work" if name == "sys-usb" else "sys-usb"
    rig[name].destroy()
    qubes.wait_clean(other, timeout=30)
    if name == "sys-usb":
        qubes.wait_unlisted(SERIAL)
    else:
        assert qubes.find(backend="sys-usb", port=setup_stick(rig)["port"])["used_by"] is None
    rig[name].start()
    qubes.start_service(name)
    works_again(rig)


def test_destroy_app_qube_idle(rig):
    destroy(rig, "work", busy=False)


def test_destroy_app_qube_busy(rig):
    destroy(rig, "work", busy=True)


def test_destroy_device_qube_idle(rig):
    destroy(rig, "sys-usb", busy=False)


def test_destroy_device_qube_busy(rig):
    destroy(rig, "sys-usb", busy=True)


def pause(rig, name, busy):
    """A paused qube is as silent as a dead one, and may come back with stale words."""
    qubes = Qubes.of(rig)
    d = attached(rig, busy)
    other = "work" if name == "sys-usb" else "sys-usb"
    rig[name].pause()
    try:
        qubes.wait_clean(other, timeout=60)
        if name == "work":
            qubes.attach("personal", d)
            rig["personal"].wait_block(serial=SERIAL)
            qubes.detach("personal", d)
        else:
            r = qubes.usb("attach", "personal", qubes.device(d), check=False, timeout=40)
            assert r.rc != 0, "a device of a paused qube was attached"
    finally:
        rig[name].unpause()
    qubes.wait_clean(name, timeout=60)
    works_again(rig)


def test_pause_app_qube_idle(rig):
    pause(rig, "work", busy=False)


def test_pause_app_qube_busy(rig):
    pause(rig, "work", busy=True)


def test_pause_device_qube_idle(rig):
    pause(rig, "sys-usb", busy=False)


def test_pause_device_qube_busy(rig):
    pause(rig, "sys-usb", busy=True)


def test_no_kernel_fault(rig):
    rig.assert_no_oops()
