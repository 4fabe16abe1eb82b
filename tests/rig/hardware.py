# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's USB devices on the controller of sys-usb; used through Rig.plug() and Rig.unplug().

kind       options
storage    data=bytes | size=bytes | image=path, superspeed=True (else high speed), serial="…", readonly=False,
           removable=False; Device.image, Device.read_image()
keyboard   Rig.keys() types on it
mouse, tablet, wacom
serial     an FTDI line; Device.socket is its other end
audio      playback only; Device.wav is a WAV file of what was played, complete after the unplug
mtp        files={name: bytes}: a media player with these files
ccid       a smart card reader without a card
hub        a full-speed hub

All take port=n (1 to 7 for up to SuperSpeed, 8 to 15 for up to high speed) and usb_serial="…" where the kind has a serial
number to set.
"""
import json
import os
import shutil
import threading
import time

from agent import RigError, RigTimeout

AUDIO_DEVICES = 2
SIMPLE = {"keyboard": "usb-kbd", "mouse": "usb-mouse", "tablet": "usb-tablet", "wacom": "usb-wacom-tablet",
          "ccid": "usb-ccid", "hub": "usb-hub"}


class Qmp:
    def __init__(self, sock):
        self._sock = sock
        self._file = sock.makefile("rwb")
        self._lock = threading.Lock()
        self._events = []
        self._file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        with self._lock:
            self._file.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            self._file.flush()
            while True:
                answer = self._read(30, command)
                if "event" in answer:
                    self._events.append(answer)
                elif "error" in answer:
                    raise RigError(f"QEMU: {command} {arguments}: {answer['error']['desc']}")
                elif "return" in answer:
                    return answer["return"]

    def _read(self, timeout, what):
        self._sock.settimeout(timeout)
        try:
            line = self._file.readline()
        except (TimeoutError, OSError):
            raise RigTimeout(f"QEMU: no answer to {what} within {timeout} s") from None
        if not line:
            raise RigError("QEMU: has ended")
        return json.loads(line)

    def wait_event(self, name, match, timeout=30):
        deadline = time.monotonic() + timeout
        with self._lock:
            while True:
                for e in self._events:
                    if e["event"] == name and match(e.get("data", {})):
                        self._events.remove(e)
                        return e
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RigTimeout(f"QEMU: no event {name} within {timeout} s")
                answer = self._read(left, name)
                if "event" in answer:
                    self._events.append(answer)


class Device:
    """A USB device of QEMU's that is plugged in; made by Rig.plug()."""

    def __init__(self, kind, name, qom, port):
        self.kind, self.name, self.qom, self.port = kind, name, qom, port
        self.image = None  # path of a stick's backing image
        self.nodes = []  # names of block nodes, inner first
        self.socket = None  # far end of a serial line
        self.wav = None  # what an audio device played
        self.chardev = self.audiodev = self.directory = None

    def read_image(self):
        with open(self.image, "rb") as f:
            return f.read()


def plug(rig, kind, name, options):
    options = dict(options)
    superspeed = options.pop("superspeed", kind == "storage")
    device = Device(kind, name, f"usb-{name}", options.pop("port", None) or rig.free_port(superspeed))
    properties = {"id": device.qom, "bus": "usb.0", "port": str(device.port)}
    if "serial" in options:
        properties["serial"] = options.pop("serial")
    maker = {"storage": _storage, "serial": _serial, "audio": _audio, "mtp": _mtp}.get(kind, _simple)
    listener = maker(rig, device, properties, options)
    if options:
        raise RigError(f"plug {kind}: unknown options {sorted(options)}")
    try:
        rig.qmp("device_add", **properties)
        if listener:
            device.socket = listener
    except RigError:
        _release(rig, device)
        raise
    return device


def _simple(rig, device, properties, options):
    if device.kind not in SIMPLE:
        raise RigError(f"plug: no such kind {device.kind}")
    properties["driver"] = SIMPLE[device.kind]


def _storage(rig, device, properties, options):
    device.image = options.pop("image", None) or os.path.join(rig.dir, f"{device.name}.img")
    data, size = options.pop("data", None), options.pop("size", None)
    if data is not None:
        with open(device.image, "wb") as f:
            f.write(data)
    elif size is not None:
        with open(device.image, "wb") as f:
            f.truncate(size)
    node = f"disk-{device.name}"
    readonly = options.pop("readonly", False)
    rig.qmp("blockdev-add", **{"driver": "raw", "node-name": node, "read-only": readonly,
                               "file": {"driver": "file", "filename": os.path.abspath(device.image)}})
    device.nodes.append(node)
    properties.update(driver="usb-storage", drive=node, removable=options.pop("removable", False))


def _serial(rig, device, properties, options):
    listener = rig._listen(f"serial-{device.name}")
    device.chardev = f"line-{device.name}"
    rig.qmp("chardev-add", id=device.chardev, backend={"type": "socket", "data": {
        "server": False, "addr": {"type": "unix", "data": {"path": os.path.join(rig._tmp, f"serial-{device.name}")}}}})
    end = rig._accept(listener, "serial line")
    os.unlink(os.path.join(rig._tmp, f"serial-{device.name}"))
    end.settimeout(30)
    properties.update(driver="usb-serial", chardev=device.chardev)
    return end


def _audio(rig, device, properties, options):
    used = {d.audiodev for d in rig.devices.values()}
    free = [n for n in range(AUDIO_DEVICES) if f"audio{n}" not in used]
    if not free:
        raise RigError(f"plug audio: only {AUDIO_DEVICES} at once")
    device.audiodev = f"audio{free[0]}"
    device.wav = os.path.join(rig.dir, f"{device.audiodev}.wav")
    properties.update(driver="usb-audio", audiodev=device.audiodev)


def _mtp(rig, device, properties, options):
    device.directory = os.path.join(rig.dir, f"mtp-{device.name}")
    shutil.rmtree(device.directory, ignore_errors=True)
    os.makedirs(device.directory)
    for name, data in options.pop("files", {"hello.txt": b"hello\n"}).items():
        with open(os.path.join(device.directory, name), "wb") as f:
            f.write(data)
    properties.update(driver="usb-mtp", rootdir=device.directory, readonly=options.pop("readonly", True))


def audio_arguments():
    """For QEMU's command line: sound outputs cannot be added while it runs."""
    return [a for n in range(AUDIO_DEVICES) for a in ("-audiodev", f"wav,id=audio{n},path=audio{n}.wav")]


def _release(rig, device):
    for node in device.nodes:
        rig.qmp("blockdev-del", **{"node-name": node})
    if device.chardev:
        rig.qmp("chardev-remove", id=device.chardev)
    if device.socket:
        device.socket.close()
    if device.directory:
        shutil.rmtree(device.directory, ignore_errors=True)


def unplug(rig, device):
    rig.qmp("device_del", id=device.qom)
    rig.qmp.wait_event("DEVICE_DELETED", lambda data: data.get("device") == device.qom)
    _release(rig, device)
