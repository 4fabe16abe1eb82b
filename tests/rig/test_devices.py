# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices of each kind in use: keyboard, serial line, network; two in two qubes, four in one, twins, no serial number."""
import struct
import time

import stick
from gadget import mass_storage
from qubes import Qubes


INPUT_EVENT = struct.Struct("qqHHi")  # struct input_event: time, type, code, value
EV_KEY, KEY_A, KEY_B, KEY_ENTER = 1, 30, 48, 28


def pressed(data):
    """Codes of the keys that went down, in order."""
    whole = data[:len(data) // INPUT_EVENT.size * INPUT_EVENT.size]
    return [code for _, _, kind, code, value in INPUT_EVENT.iter_unpack(whole) if kind == EV_KEY and value == 1]


def test_keyboard(rig):
    qubes = Qubes.of(rig)
    rig.plug("keyboard", "keys")
    d = qubes.wait_listed(vendor="0627")
    qubes.attach("work", d)
    event = rig["work"].wait_for("for e in /sys/devices/platform/vhci_hcd.*/usb*/*/*/*/input/input*/event*; do "
                                 "[ -e $e ] && echo /dev/input/${e##*/} && exit 0; done; false").out.strip()
    reader = rig["work"].spawn(f"cat {event}")
    time.sleep(1)
    rig.keys("a", "b", "ret")
    deadline = time.monotonic() + 30
    while pressed(reader.output_bytes) != [KEY_A, KEY_B, KEY_ENTER]:
        assert time.monotonic() < deadline, pressed(reader.output_bytes)
        time.sleep(0.2)
    reader.kill()
    qubes.detach("work", d)
    qubes.wait_clean("work", "sys-usb")
    rig.unplug("keys")


def test_serial_line(rig):
    qubes = Qubes.of(rig)
    line = rig.plug("serial", "line")
    d = qubes.wait_listed(vendor="0403")
    qubes.attach("work", d)
    rig["work"].wait_for("[ -c /dev/ttyUSB0 ]")
    rig["work"].run("stty -F /dev/ttyUSB0 raw -echo 115200")
    reader = rig["work"].spawn("head -c 11 /dev/ttyUSB0")
    time.sleep(1)
    line.socket.sendall(b"from host\r\n")
    assert reader.wait(60).out_bytes == b"from host\r\n"
    line.socket.settimeout(60)
    rig["work"].run("printf 'from work\\r\\n' >/dev/ttyUSB0")
    got = b""
    while len(got) < 11:
        got += line.socket.recv(64)
    assert got == b"from work\r\n", got
    qubes.detach("work", d)
    qubes.wait_clean("work", "sys-usb")
    rig.unplug("line")


def test_network(rig):
    """A CDC-NCM gadget: its far end is a network interface of sys-usb."""
    qubes = Qubes.of(rig)
    usb = rig["sys-usb"]
    net = usb.gadget("net", ["ncm"], serial="NET1")
    net.up()
    d = qubes.wait_listed(serial="NET1")
    qubes.attach("work", d)
    interface = "for n in /sys/class/net/*; do readlink -f $n | grep -q vhci_hcd && echo ${n##*/} && exit 0; done; false"
    rig["work"].wait_for(interface)
    rig["work"].settle()  # udev gives it another name
    near = rig["work"].run(interface).out.strip()
    rig["work"].run(f"ip addr add 10.9.9.2/24 dev {near} && ip link set {near} up")
    far = net.interface()
    usb.run(f"ip addr add 10.9.9.1/24 dev {far} && ip link set {far} up")
    rig["work"].wait_for("ping -c 1 -W 2 10.9.9.1")
    content = stick.noise(10 << 20, seed=3)
    usb.put("/tmp/big", content)
    server = usb.spawn("nc -l -p 7000 -e cat /tmp/big")
    time.sleep(0.5)
    got = rig["work"].run("nc 10.9.9.1 7000 </dev/null | sha256sum", timeout=300).out.split()[0]
    assert got == stick.sha256(content)
    server.kill()
    qubes.detach("work", d)
    qubes.wait_clean("work", "sys-usb")
    net.remove()


def test_two_devices_in_two_qubes_four_in_one(rig):
    qubes = Qubes.of(rig)
    names = [f"many{i}" for i in range(4)]
    files = {n: stick.noise(300_000, seed=10 + i) for i, n in enumerate(names)}
    for i, n in enumerate(names):
        rig.plug("storage", n, data=stick.make({"data.bin": files[n]}, size_mib=8), serial=n.upper(),
                 superspeed=bool(i % 2))
    devices = {n: qubes.wait_listed(serial=n.upper()) for n in names}

    def check(qube, n):
        block = rig[qube].wait_block(serial=n.upper())
        got = rig[qube].run(f"mkdir -p /m{n} && mount -t vfat -o ro {block} /m{n} && sha256sum </m{n}/data.bin && umount /m{n}").out
        assert got.split()[0] == stick.sha256(files[n]), n

    qubes.attach("work", devices["many0"])
    qubes.attach("personal", devices["many1"])
    check("work", "many0")
    check("personal", "many1")
    qubes.detach("personal", devices["many1"])
    for n in names[1:]:
        qubes.attach("work", devices[n])
    for n in names:
        check("work", n)
    assert [d["used_by"] for d in qubes.list() if d["serial"] in map(str.upper, names)] == ["work"] * 4
    r = qubes.usb("detach", "work")
    assert r.rc == 0
    qubes.wait_clean("work", "personal", "sys-usb")
    for n in names:
        rig.unplug(n)


def test_twins_without_serial(rig):
    """Two equal gadgets without a serial number are two devices, told apart by port. (UD13)"""
    qubes = Qubes.of(rig)
    usb = rig["sys-usb"]
    twins = []
    for i in range(2):
        usb.put(f"/tmp/twin{i}", stick.make({"who": str(i).encode() * 100}, size_mib=4))
        twins.append(usb.gadget(f"twin{i}", [mass_storage(path=f"/tmp/twin{i}")], vid=0x1209, pid=0x2222,
                                serial=None, udc=i))
        twins[-1].up()
    deadline = time.monotonic() + 60
    while len(found := [d for d in qubes.list() if d["device_id"].startswith("1209:2222:")]) < 2:
        assert time.monotonic() < deadline, qubes.list()
        time.sleep(0.3)
    assert found[0]["port"] != found[1]["port"] and found[0]["device_id"] == found[1]["device_id"]
    qubes.attach("work", found[0])
    assert [d["used_by"] for d in qubes.list() if d["port"] == found[1]["port"]] == [None]
    qubes.attach("personal", found[1])
    contents = set()
    for qube in ("work", "personal"):
        block = rig[qube].wait_for("for b in /sys/block/sd*; do readlink -f $b | grep -q vhci_hcd && [ $(cat $b/size) != 0 ] && "
                                   "echo /dev/${b##*/} && exit 0; done; false").out.strip()
        contents.add(rig[qube].run(f"mkdir -p /m && mount -t vfat -o ro {block} /m && cat /m/who && umount /m").out)
    assert contents == {"0" * 100, "1" * 100}
    qubes.detach("work", found[0])
    qubes.detach("personal", found[1])
    for t in twins:
        t.remove()


def test_no_kernel_fault(rig):
    rig.assert_no_oops()
