# SPDX-License-Identifier: GPL-2.0-or-later
"""The rig's test of itself: what scenarios build on."""
import hashlib
import os
import random
import time

import gadget
from rig import CommandFailed, DomainGone, RigError, RigTimeout

RIG = dict(guests=("sys-usb", "work", "personal"))
ALL = ("dom0", "sys-usb", "work", "personal")


def raises(kind, call, *args, **kw):
    try:
        call(*args, **kw)
    except kind as e:
        return e
    raise AssertionError(f"no {kind.__name__}")


def wait_until(true, timeout=60, what="it"):
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, f"{what} did not happen within {timeout} s"
        time.sleep(0.2)


# ---- domains and commands

def test_domains_run_xen_and_udev(rig):
    assert rig.dom0.run("cat /sys/hypervisor/type").out == "xen\n"
    for name in ALL:
        assert rig[name].run("hostname").out.strip() == name
        assert rig[name].run("udevadm control --ping; pidof systemd-udevd").rc == 0
    assert len(rig.dom0.run("xl list").out.splitlines()) == 5


def test_exit_status_output_and_input(rig):
    for name in ALL:
        d = rig[name]
        r = d.run("echo out; echo err >&2; exit 7", check=False)
        assert (r.rc, r.out, r.err) == (7, "out\n", "err\n"), r
        assert raises(CommandFailed, d.run, "false").result.rc == 1
        assert d.run("kill -9 $$", check=False).rc == -9
        assert d.run(["printf", "%s", "a b'c"]).out == "a b'c"


def test_big_binary_both_ways(rig):
    data = random.Random(1).randbytes(3 << 20)
    for name in ("dom0", "work"):
        d = rig[name]
        d.put("/tmp/blob", data)
        assert d.run("sha256sum /tmp/blob").out.split()[0] == hashlib.sha256(data).hexdigest()
        assert d.get("/tmp/blob") == data
        d.run("rm /tmp/blob")


def test_many_commands_at_once(rig):
    start = time.monotonic()
    commands = [(n, i, rig[n].spawn(f"sleep 2; echo {n} {i}")) for n in ALL for i in range(4)]
    for n, i, c in commands:
        assert c.wait().out == f"{n} {i}\n"
    assert time.monotonic() - start < 16, "they ran one after the other"


def test_conversation_with_a_running_command(rig):
    c = rig["work"].spawn("while read -r a; do echo got $a; done; echo end", stdin=True)
    c.write(b"one\n")
    c.wait_output("got one")
    assert c.running
    c.write(b"two\n")
    c.close_stdin()
    assert c.wait().out == "got one\ngot two\nend\n"


def test_time_out_kills_what_was_started(rig):
    for name in ("dom0", "work"):
        e = raises(RigTimeout, rig[name].run, "echo begun; sleep 1234", timeout=2)
        assert e.result.out == "begun\n"
        rig[name].wait_for("! ps | grep -q '[s]leep 1234'", timeout=20)


def test_daemon_does_not_hold_its_command(rig):
    start = time.monotonic()
    rig["work"].run("sleep 1000 & echo started")
    assert time.monotonic() - start < 30
    rig["work"].run("kill $(pidof sleep)")


def test_dmesg_new(rig):
    d = rig["work"]
    d.dmesg_new()
    d.run("echo rig-mark-1 > /dev/kmsg")
    assert [line for line in d.dmesg_new() if "rig-mark" in line] == ["rig-mark-1"]
    assert not [line for line in d.dmesg_new() if "rig-mark" in line]


def test_pivot_root_is_possible(rig):
    rig["work"].run("""unshare -m sh -ec 'mkdir -p /tmp/new; mount -t tmpfs new /tmp/new; mkdir /tmp/new/old /tmp/new/usr
        mount --bind /usr /tmp/new/usr; for l in bin lib lib64 sbin; do ln -s usr/$l /tmp/new/$l; done
        cd /tmp/new; pivot_root . old; umount -l /old; ls /' | grep -q usr""")


def test_guest_has_its_grants(rig):
    assert rig["work"].run("cat /sys/module/xen_gntalloc/parameters/limit").out == "1024\n"


# ---- ends of domains

def test_paused_guest_times_out_alone(rig):
    work, personal = rig["work"], rig["personal"]
    before = work.spawn("sleep 3; echo late")
    work.pause()
    assert work.state == "paused"
    raises(RigTimeout, work.run, "true", timeout=3)
    assert personal.run("echo fine").out == "fine\n" and rig.dom0.run("echo fine").out == "fine\n"
    raises(RigTimeout, work.put, "/tmp/big", bytes(4 << 20), timeout=4)
    assert personal.run("echo fine").out == "fine\n"
    work.unpause()
    assert before.wait().out == "late\n"
    assert work.run("echo back").out == "back\n"


def test_destroy_ends_its_commands(rig):
    work = rig["work"]
    old, c = work.domid, work.spawn("echo here; sleep 1000")
    c.wait_output("here")
    work.destroy()
    raises(DomainGone, c.wait, 10)
    assert work.state == "dead"
    raises(RigError, work.run, "true")
    assert rig["personal"].run("echo fine").out == "fine\n"
    rig.dom0.wait_for(f"! xl list | grep -q ' {old} '")
    work.start()
    assert work.domid != old and work.run("hostname").out == "work\n"
    assert "RIG" in work.console() and work.console().count("ready") >= 2


def test_destroy_while_paused_and_busy(rig):
    work = rig["work"]
    c = work.spawn("cat /dev/zero")
    c.wait_output("\0")
    work.pause()
    work.destroy()
    raises(DomainGone, c.wait, 10)
    work.start()
    work.run("true")


def test_guest_that_ends_by_itself(rig):
    personal = rig["personal"]
    c = personal.spawn("sleep 1; poweroff -f")
    raises(DomainGone, c.wait, 60)
    wait_until(lambda: personal.state == "dead", what="the end of the domain")
    personal.refresh()
    personal.start()
    personal.run("true")


def test_crash_shows_and_is_survived(rig):
    personal = rig["personal"]
    c = personal.spawn("echo c > /proc/sysrq-trigger")
    raises(DomainGone, c.wait, 60)
    wait_until(lambda: personal.state == "dead", what="the end of the domain")
    personal.refresh()
    found = rig.oopses()
    assert list(found) == ["personal"] and any("panic" in line for line in found["personal"]), found
    raises(AssertionError, rig.assert_no_oops)
    os.truncate(os.path.join(rig.dir, "share", "log", "guest-personal.log"), 0)
    personal.start()


def test_reboot(rig):
    work = rig["work"]
    old, identity = work.domid, work.uuid
    work.reboot()
    assert work.domid != old and work.uuid == identity
    assert work.run("cat /sys/hypervisor/uuid").out.strip() == identity


def test_device_qube_gets_its_controller_again(rig):
    usb = rig["sys-usb"]
    rig.plug("storage", "again", size=1 << 20, serial="AGAIN")
    usb.wait_usb(serial="AGAIN")
    usb.restart()
    usb.wait_usb(serial="AGAIN")
    rig.unplug("again")
    usb.wait_gone(serial="AGAIN")


# ---- QEMU's hardware

def stick_round_trip(rig, superspeed, speed):
    data = random.Random(speed).randbytes(4 << 20)
    usb, name = rig["sys-usb"], f"stick{speed}"
    stick = rig.plug("storage", name, data=data, serial=f"S{speed}", superspeed=superspeed)
    disk = usb.wait_block(serial=f"S{speed}")
    assert usb.wait_usb(serial=f"S{speed}")["speed"] == str(speed)
    assert usb.run(f"sha256sum {disk}", timeout=120).out.split()[0] == hashlib.sha256(data).hexdigest()
    usb.run(f"dd of={disk} bs=4096 seek=100 conv=fsync", input=b"written" * 1000)
    rig.unplug(name)
    usb.wait_gone(serial=f"S{speed}")
    want = bytearray(data)
    want[409600:409600 + 7000] = b"written" * 1000
    assert stick.read_image() == bytes(want)


def test_stick_at_superspeed(rig):
    stick_round_trip(rig, True, 5000)


def test_stick_at_high_speed(rig):
    stick_round_trip(rig, False, 480)


def test_unplug_in_mid_transfer(rig):
    usb = rig["sys-usb"]
    rig.plug("storage", "torn", size=64 << 20, serial="TORN")
    disk = usb.wait_block(serial="TORN")
    c = usb.spawn(f"while dd if={disk} of=/dev/null bs=64k iflag=direct; do :; done")
    time.sleep(2)
    rig.unplug("torn")
    c.wait(60)
    usb.wait_gone(serial="TORN")


def test_keyboard_types(rig):
    usb = rig["sys-usb"]
    rig.plug("keyboard", "k")
    usb.wait_usb(product="QEMU USB Keyboard")
    event = usb.wait_for("ls /dev/input/by-id/*QEMU_USB_Keyboard*-event-kbd").out.strip()
    c = usb.spawn(f"rig-tool evread {event} 4 60")
    c.wait_output("ready")
    rig.keys("a", "b")
    assert c.wait(90).out.split("\n")[1:5] == ["1 30 1", "1 30 0", "1 48 1", "1 48 0"]
    rig.unplug("k")
    usb.wait_gone(product="QEMU USB Keyboard")


def test_serial_line_both_ways(rig):
    usb = rig["sys-usb"]
    line = rig.plug("serial", "line").socket
    tty = usb.wait_for("ls /dev/ttyUSB0").out.strip()
    c = usb.spawn(f"rig-tool tty {tty}", stdin=True)
    time.sleep(1)
    c.write(b"to the host\n")
    got = b""
    while not got.endswith(b"\n"):
        got += line.recv(4096)
    assert got == b"to the host\n"
    line.sendall(b"to the guest\n")
    c.wait_output("to the guest")
    rig.unplug("line")
    usb.wait_gone(idVendor="0403")
    c.kill()


def test_every_kind_of_hardware_enumerates(rig):
    usb = rig["sys-usb"]
    products = {"storage": "QEMU USB HARDDRIVE", "keyboard": "QEMU USB Keyboard", "mouse": "QEMU USB Mouse",
                "tablet": "QEMU USB Tablet", "serial": "QEMU USB SERIAL", "audio": "QEMU USB Audio",
                "mtp": "QEMU filesharing", "ccid": "QEMU USB CCID", "hub": "QEMU USB Hub"}
    for kind in products:
        rig.plug(kind, kind, **({"size": 1 << 20} if kind == "storage" else {}))
    for product in products.values():
        usb.wait_usb(product=product)
    usb.settle()
    for kind in products:
        rig.unplug(kind)
    for product in products.values():
        usb.wait_gone(product=product)


def test_audio_is_heard(rig):
    usb = rig["sys-usb"]
    speaker = rig.plug("audio", "speaker")
    usb.wait_usb(product="QEMU USB Audio")
    usb.wait_for("ls /dev/snd/pcmC*D0p")
    usb.run("modprobe snd-pcm-oss")
    usb.wait_for("test -e /dev/dsp")
    usb.run("head -c 16000 /dev/urandom > /dev/dsp")
    rig.unplug("speaker")
    usb.wait_gone(product="QEMU USB Audio")
    with open(speaker.wav, "rb") as f:
        heard = f.read()
    assert heard[:4] == b"RIFF" and len(set(heard[44:])) > 100, len(heard)


# ---- gadgets

def with_gadget(domain, functions, check=None, **options):
    g = domain.gadget("t", functions, **options).up()
    try:
        device = g.device()
        if check:
            check(g, device)
    finally:
        g.remove()
    domain.wait_for("! ls -d /sys/devices/platform/dummy_hcd.0/usb*/*-1 2>/dev/null")
    return device


def test_gadget_mass_storage(rig):
    usb = rig["sys-usb"]
    data = random.Random(2).randbytes(2 << 20)

    def check(g, device):
        disk = usb.wait_block(serial="MASS")
        assert usb.run(f"sha256sum {disk}").out.split()[0] == hashlib.sha256(data).hexdigest()
        usb.run(f"dd of={disk} conv=fsync", input=b"gadget")
        assert g.image() == b"gadget" + data[6:]

    with_gadget(usb, [gadget.mass_storage(data=data)], check, serial="MASS")


def test_gadget_keyboard_and_mouse(rig):
    usb = rig["sys-usb"]

    def check(g, device):
        usb.settle()
        c = usb.spawn("rig-tool evread $(ls /dev/input/by-path/*dummy_hcd*kbd) 2 60")
        c.wait_output("ready")
        g.press(4)
        assert c.wait(90).out.split("\n")[1:3] == ["1 30 1", "1 30 0"]
        c = usb.spawn("rig-tool evread $(ls /dev/input/by-path/*dummy_hcd*event-mouse) 2 60")
        c.wait_output("ready")
        g.report(bytes([0, 5, 3]), index=1)
        assert c.wait(90).out.split("\n")[1:3] == ["2 0 5", "2 1 3"]

    with_gadget(usb, [gadget.keyboard(), gadget.mouse()], check, serial="HID")


def test_gadget_serial_line(rig):
    usb = rig["sys-usb"]

    def check(g, device):
        tty = usb.wait_for("ls /dev/ttyACM0").out.strip()
        near, far = usb.spawn(f"rig-tool tty {tty}", stdin=True), usb.spawn(f"rig-tool tty {g.tty()}", stdin=True)
        time.sleep(1)
        near.write(b"ping\n")
        far.wait_output("ping")
        far.write(b"pong\n")
        near.wait_output("pong")
        near.kill()
        far.kill()

    with_gadget(usb, ["acm"], check, serial="ACM")


def network(rig, function):
    usb = rig["sys-usb"]

    def check(g, device):
        near = usb.wait_for(f"ls /sys/bus/usb/devices/{device['busid']}/*/net").out.split()[-1]
        far = g.interface()
        usb.run(f"""ip netns 2>/dev/null; unshare -n sleep 300 & sleep 1; echo $! > /run/ns
            ip link set {near} netns $!; ip addr add 10.9.0.1/24 dev {far}; ip link set {far} up
            nsenter -t $! -n sh -c 'ip addr add 10.9.0.2/24 dev {near}; ip link set {near} up'""")
        usb.wait_for("ping -c 1 -W 2 10.9.0.2")
        usb.run("kill $(cat /run/ns)")

    with_gadget(usb, [function], check, serial="NET")


def test_gadget_ncm(rig):
    network(rig, gadget.ncm("02:00:00:00:00:01", "02:00:00:00:00:02"))


def test_gadget_ecm(rig):
    network(rig, gadget.ecm())


def test_gadget_audio(rig):
    usb = rig["sys-usb"]
    for kind in ("uac1", "uac2"):
        with_gadget(usb, [kind], lambda g, d: usb.wait_for(f"ls /sys/bus/usb/devices/{d['busid']}/*/sound"), serial="UAC")


def test_gadgets_composite_and_several(rig):
    usb = rig["sys-usb"]
    a = usb.gadget("a", ["mass_storage", "keyboard", "acm"], serial="SAME").up(udc=0)
    b = usb.gadget("b", ["keyboard"], serial="SAME").up(udc=1)
    c = usb.gadget("c", ["acm"]).up()
    try:
        assert a.device()["serial"] == b.device()["serial"] == "SAME"
        assert "serial" not in c.device() and c.udc == 2
        usb.wait_for(f"test $(ls -d /sys/bus/usb/devices/{a.device()['busid']}:1.* | wc -l) = 4")
        b.down()
        usb.wait_for("! ls -d /sys/devices/platform/dummy_hcd.1/usb*/*-1 2>/dev/null")
        b.up()
        b.device()
    finally:
        for g in (a, b, c):
            g.remove()


def test_gadget_in_dom0(rig):
    with_gadget(rig.dom0, [gadget.keyboard()], lambda g, d: rig.dom0.wait_for("ls /dev/input/by-path/*dummy_hcd*kbd"))


def test_gadget_with_two_configurations(rig):
    def check(g, device):
        path = f"/sys/bus/usb/devices/{device['busid']}"
        assert rig["work"].run(f"cat {path}/bNumConfigurations").out.strip() == "2"

    with_gadget(rig["work"], ["keyboard", "acm"], check, serial="TWO", configs=[[0], [1]])


def test_stock_dummy_hcd(rig):
    personal = rig["personal"]
    personal.dummy_hcd(stock=True)
    with_gadget(personal, ["keyboard"], serial="STOCK")
    raises(RigError, personal.gadget("iso", ["uac2"]).up)
    personal.gadgets[0].remove()
    personal.dummy_hcd(superspeed=True)
    assert with_gadget(personal, ["mass_storage"], serial="SUPER")["speed"] == "5000"
    assert with_gadget(personal, ["mass_storage"], serial="HIGH", speed="high")["speed"] == "480"
    personal.dummy_hcd()


# Cases of usbtest that the gadget does not answer: 25 and 26 want interrupt endpoints.
USBTEST_ABSENT = {25, 26}
USBTEST_ISO = {15, 16, 22, 23}
USBTEST_LAST = 29


def usbtest(domain, device, case):
    path = f"/dev/bus/usb/{int(device['busnum']):03d}/{int(device['devnum']):03d}"
    return domain.run(f"testusb -D {path} -t {case} -c 20 -s 1024 -v 512 -g 8", timeout=300, check=False)


def test_usbtest_natively(rig):
    usb = rig["sys-usb"]
    failed = {}
    for iso in (False, True):
        usb.run(f"[ -d /sys/module/usbtest ] && rmmod usbtest; modprobe usbtest {'alt=1' if iso else ''}")
        g = usb.gadget("zero", [gadget.source_sink(), gadget.loopback()], **gadget.Gadget.USBTEST, serial="ZERO",
                       configs=[[0], [1]]).up()
        device = g.device()
        usb.wait_for(f"test -e /sys/bus/usb/drivers/usbtest/{device['busid']}:1.0")
        for case in sorted(USBTEST_ISO) if iso else sorted(set(range(USBTEST_LAST + 1)) - USBTEST_ISO):
            r = usbtest(usb, device, case)
            said = r.out + r.err
            if r.rc or "secs" not in said:
                failed[case] = said.strip().splitlines()[-1:]
        g.remove()
    usb.run("rmmod usbtest")
    assert set(failed) == USBTEST_ABSENT, failed


def test_no_kernel_faults(rig):
    rig.assert_no_oops()
