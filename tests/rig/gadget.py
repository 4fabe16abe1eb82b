# SPDX-License-Identifier: GPL-2.0-or-later
"""USB gadgets on dummy_hcd in a domain: devices of any shape, made through configfs; used through Domain.gadget().

    g = rig["sys-usb"].gadget("stick", [mass_storage(data=image)], serial="S1")
    g.up(); g.down(); g.remove()

A function is what mass_storage(), keyboard(), mouse(), acm(), ncm(), ecm(), source_sink(), loopback(), uac1(), uac2(), uvc()
return, or one of these names. One gadget holds one UDC while it is up; dummy_hcd has four (dummy_udc.0 to .3).
"""
import os
import shlex

from agent import RigError, RigTimeout, RUN_TIMEOUT

ROOT = "/sys/kernel/config/usb_gadget"
SPEEDS = {"full": "full-speed", "high": "high-speed", "super": "super-speed"}

KEYBOARD_REPORTS = bytes.fromhex(
    "05010906a101050719e029e71500250175019508810295017508810395057501050819012905910295017503910395067508"
    "1500256505071900296581 00c0".replace(" ", ""))
MOUSE_REPORTS = bytes.fromhex(
    "05010902a1010901a1000509190129031500250195037501810295017505810305010930093115812 57f750895028106c0c0".replace(" ", ""))


class Function:
    """kind: configfs' name of it; attributes: files below it; more: {file: bytes} to make in the domain first."""

    def __init__(self, kind, attributes=None, data=None, size=None, path=None, links=()):
        self.kind, self.attributes = kind, dict(attributes or {})
        self.data, self.size, self.path, self.links = data, size, path, links
        self.directory = None


def mass_storage(data=None, size=None, path=None, ro=False, removable=False, cdrom=False):
    """A stick, of these bytes, of this size in zeros, or of an existing file of the domain."""
    return Function("mass_storage", {"lun.0/ro": int(ro), "lun.0/removable": int(removable), "lun.0/cdrom": int(cdrom)},
                    data, size, path)


def keyboard():
    return Function("hid", {"protocol": 1, "subclass": 1, "report_length": 8, "report_desc": KEYBOARD_REPORTS})


def mouse():
    return Function("hid", {"protocol": 2, "subclass": 1, "report_length": 3, "report_desc": MOUSE_REPORTS})


def hid(report_descriptor, report_length, protocol=0, subclass=0):
    return Function("hid", {"protocol": protocol, "subclass": subclass, "report_length": report_length,
                            "report_desc": report_descriptor})


def acm():
    return Function("acm")


def ncm(host_addr=None, dev_addr=None):
    return Function("ncm", {k: v for k, v in (("host_addr", host_addr), ("dev_addr", dev_addr)) if v})


def ecm(host_addr=None, dev_addr=None):
    return Function("ecm", {k: v for k, v in (("host_addr", host_addr), ("dev_addr", dev_addr)) if v})


def source_sink(**attributes):
    """What usbtest talks to; the gadget must be 0525:a4a0 (see Gadget.USBTEST)."""
    return Function("SourceSink", attributes)


def loopback(**attributes):
    return Function("Loopback", attributes)


def uac1(**attributes):
    return Function("uac1", dict({"p_chmask": 1, "c_chmask": 0, "p_srate": 48000, "p_ssize": 2}, **attributes))


def uac2(**attributes):
    return Function("uac2", dict({"p_chmask": 3, "c_chmask": 3, "p_srate": 48000, "c_srate": 48000, "p_ssize": 2,
                                  "c_ssize": 2}, **attributes))


def uvc(*formats):
    """A camera: (fourcc "YUYV" or "MJPG", width, height, fps) each. Something must feed it: rig-camera on Gadget.camera()."""
    attributes, links = {"streaming_maxpacket": 3072}, []
    for n, (fourcc, width, height, fps) in enumerate(formats):
        form = f"streaming/{'mjpeg' if fourcc == 'MJPG' else 'uncompressed'}/f{n}"
        attributes |= {f"{form}/s/wWidth": width, f"{form}/s/wHeight": height,
                       f"{form}/s/dwMaxVideoFrameBufferSize": width * height * 2,
                       f"{form}/s/dwFrameInterval": 10000000 // fps, f"{form}/s/dwDefaultFrameInterval": 10000000 // fps}
        links.append((form, "streaming/header/h"))
    links += [("streaming/header/h", f"streaming/class/{speed}") for speed in ("fs", "hs", "ss")]
    links += [("control/header/h", f"control/class/{speed}") for speed in ("fs", "ss")]
    return Function("uvc", attributes, links=links)


NAMES = {"mass_storage": lambda: mass_storage(size=8 << 20), "keyboard": keyboard, "mouse": mouse, "acm": acm, "ncm": ncm,
         "ecm": ecm, "source_sink": source_sink, "loopback": loopback, "uac1": uac1, "uac2": uac2}


def _printf(data):
    return "".join(f"\\{b:03o}" for b in data)


class Gadget:
    USBTEST = dict(vid=0x0525, pid=0xa4a0)

    def __init__(self, domain, name, functions, vid=0x1d6b, pid=0x0104, serial=None, product=None, manufacturer="Rig",
                 device=0x0100, udc=None, speed=None, attributes=None, configs=None):
        """configs: [[index of function, …], …] for several configurations (default: one with all);
        attributes: more files of the gadget, like {"bDeviceClass": 0xef}; speed: "full", "high" or "super" at most
        (super needs Domain.dummy_hcd(superspeed=True))."""
        self.domain, self.name = domain, name
        self.functions = [NAMES[f]() if isinstance(f, str) else f for f in functions]
        self.wanted_udc, self.udc = udc, None
        base = self.path = f"{ROOT}/{name}"
        s = ["set -e", "[ -d /sys/module/dummy_hcd ] || { modprobe -a udc-core usbcore libcomposite; "
             "insmod /usr/lib/rig/dummy_hcd.ko num=4; }", "modprobe libcomposite",
             f"mkdir -p /run/gadget {base}/strings/0x409", f"cd {base}"]

        def attribute(file, value):
            if isinstance(value, bytes):
                s.append(f"printf '{_printf(value)}' > {file}")
            else:
                s.append(f"printf %s {shlex.quote(str(value))} > {file}")

        attribute("idVendor", f"{vid:#06x}")
        attribute("idProduct", f"{pid:#06x}")
        attribute("bcdDevice", f"{device:#06x}")
        attribute("strings/0x409/manufacturer", manufacturer)
        attribute("strings/0x409/product", product or f"rig {name}")
        if serial is not None:
            attribute("strings/0x409/serialnumber", serial)
        if speed:
            attribute("max_speed", SPEEDS[speed])
        for k, v in (attributes or {}).items():
            attribute(k, v)
        for n, f in enumerate(self.functions):
            f.directory = f"functions/{f.kind}.{name}{n}"
            s.append(f"mkdir {f.directory}")
            if f.kind == "mass_storage":
                if f.data is not None or f.path is None:
                    f.path = f"/run/gadget/{name}{n}.img"
                if f.data is not None:
                    domain.put(f.path, f.data)
                elif f.size is not None:
                    s.append(f"truncate -s {f.size} {f.path}")
            s += [f"mkdir -p {f.directory}/{path}" for pair in f.links for path in pair]
            for k, v in f.attributes.items():
                s.append(f"mkdir -p {os.path.dirname(f'{f.directory}/{k}')}")
                attribute(f"{f.directory}/{k}", v)
            s += [f"ln -s {f.directory}/{what} {f.directory}/{where}/" for what, where in f.links]
            if f.kind == "mass_storage":
                attribute(f"{f.directory}/lun.0/file", f.path)
        for c, members in enumerate(configs or [range(len(self.functions))], 1):
            s.append(f"mkdir -p configs/c.{c}/strings/0x409")
            attribute(f"configs/c.{c}/strings/0x409/configuration", f"configuration {c}")
            attribute(f"configs/c.{c}/MaxPower", 120)
            s += [f"ln -s {self.functions[n].directory} configs/c.{c}/" for n in members]
        try:
            domain.run("\n".join(s))
        except RigError:
            self.remove(check=False)
            raise
        domain.gadgets.append(self)

    def up(self, udc=None):
        """Plugs it in; returns itself. The device is there a moment later: see device()."""
        used = {g.udc for g in self.domain.gadgets if g.udc is not None}
        udc = udc if udc is not None else self.wanted_udc
        if udc is None:
            udc = min(set(range(32)) - used)
        self.domain.run(f"echo dummy_udc.{udc} > {self.path}/UDC")
        self.udc = udc
        return self

    def down(self):
        """Pulls it out."""
        self.domain.run(f"echo '' > {self.path}/UDC")
        self.udc = None
        return self

    def device(self, timeout=RUN_TIMEOUT):
        """Waits until this domain has the device on its bus; returns its attributes, as Domain.usb() does."""
        busid = self.domain.wait_for(f"cd /sys/devices/platform/dummy_hcd.{self.udc}/ && for d in usb*/*-1; do "
                                     '[ -e $d/bConfigurationValue ] && echo "${d##*/}" && exit 0; done; exit 1',
                                     timeout).out.strip()
        for d in self.domain.usb():
            if d["busid"] == busid:
                return d
        raise RigTimeout(f"{self.domain.name}: the gadget {self.name} went away at once")

    def remove(self, check=True):
        """Pulls it out and takes it apart."""
        self.domain.run(f"""cd {self.path} || exit 0
            [ -n "$(cat UDC)" ] && echo '' > UDC
            for l in configs/*/*.*; do [ -L $l ] && rm $l; done
            for l in functions/*/*/class/*/* functions/*/streaming/header/*/*; do [ -L $l ] && rm $l; done
            rmdir functions/*/streaming/*/*/* functions/*/*/*/* configs/*/strings/* configs/* functions/* strings/* 2>/dev/null
            cd / && rmdir {self.path}""", check=check)
        self.udc = None
        if self in self.domain.gadgets:
            self.domain.gadgets.remove(self)

    def _attribute(self, index, name):
        return self.domain.run(f"cat {self.path}/{self.functions[index].directory}/{name}").out.strip()

    def _first(self, kind):
        for n, f in enumerate(self.functions):
            if f.kind == kind:
                return n
        raise RigError(f"gadget {self.name}: has no function {kind}")

    def tty(self, index=None):
        """Gadget's end of its serial line, like /dev/ttyGS0."""
        return "/dev/ttyGS" + self._attribute(self._first("acm") if index is None else index, "port_num")

    def interface(self, index=None):
        """Gadget's end of its network."""
        if index is None:
            index = next(n for n, f in enumerate(self.functions) if f.kind in ("ncm", "ecm"))
        return self._attribute(index, "ifname")

    def camera(self):
        """Gadget's end of its camera, like /dev/video1."""
        return self.domain.wait_for(f"for d in /sys/devices/platform/dummy_udc.{self.udc}/gadget*/video4linux/video*; do "
                                    "[ -e $d/dev ] && echo /dev/${d##*/} && exit 0; done; exit 1").out.strip()

    def report(self, data, index=None):
        """Sends HID reports: bytes, or a list of them."""
        device = self._attribute(self._first("hid") if index is None else index, "dev")
        path = f"/dev/hidg{device.split(':')[1]}"
        for r in [data] if isinstance(data, bytes) else data:
            self.domain.run(f"printf '{_printf(r)}' > {path}", timeout=20)

    def press(self, *keycodes, index=None):
        """Presses and releases keys of a keyboard by their HID usage (4 = a)."""
        self.report([r for k in keycodes for r in (bytes([0, 0, k, 0, 0, 0, 0, 0]), bytes(8))], index)

    def image(self, index=None):
        """What is in the stick's file now."""
        return self.domain.get(self.functions[self._first("mass_storage") if index is None else index].path)
