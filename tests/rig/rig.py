# SPDX-License-Identifier: GPL-2.0-or-later
"""The Xen rig, from the host: boots it, runs commands in its domains, plugs hardware.

    with Rig() as rig:
        rig.plug("storage", "stick", data=image)
        print(rig["sys-usb"].run("cat /sys/bus/usb/devices/*/serial").out)

See README.md for the whole. Every wait has a time-out and ends in a RigError that says what was waited for. Emulation on a
busy machine is up to twenty times slower than on a quiet one, so time-outs are generous, and nothing here measures.
"""
import atexit
import ctypes
import fcntl
import importlib.machinery
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import hardware  # noqa: E402 (beside this file)


def _load_build():
    loader = importlib.machinery.SourceFileLoader("rig_build", os.path.join(HERE, "build"))
    spec = importlib.util.spec_from_loader("rig_build", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


build = _load_build()

GUESTS = ("sys-usb", "work", "personal")
DEVICE_QUBE = "sys-usb"
GUEST_MEMORY = 384
DOM0_MEMORY = 1024
BOOT_TIMEOUT = 180
START_TIMEOUT = 120
RUN_TIMEOUT = 60
SIGKILL = int(signal.SIGKILL)

# Without XSAVE: with it, programs in PV domains that share a processor crash at random under emulation.
CPU = "qemu64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt"
CONTROLLER_SLOT = 8
# Ports 1 to P3 of the passed-through controller take SuperSpeed and slower devices, the rest up to P2 none above high speed.
CONTROLLER_P2, CONTROLLER_P3 = 15, 7

STDIN_WINDOW = 512 * 1024
CHUNK = 32 * 1024
(EXEC, STDIN, SIGNAL, LINK, UNLINK) = range(1, 6)
(STDOUT, STDERR, ACK, EXIT, HELLO, UP, DOWN) = range(16, 23)
HEADER = struct.Struct("<IHBxI")

OOPS = re.compile(r"BUG: |BUG at |Oops|general protection|KASAN|UBSAN|WARNING: |Kernel panic|INFO: task .* blocked|"
                  r"refcount_t: |list_(?:add|del) corruption|soft lockup|rcu: INFO")


class RigError(Exception):
    pass


class RigTimeout(RigError):
    """A command did not end in time; .result has what it had said."""
    result = None


class DomainGone(RigError):
    """The domain went (or its agent) while a command ran in it."""


class CommandFailed(RigError):
    result = None


class Result:
    """rc: exit status, or minus the signal. out, err: text; out_bytes, err_bytes: the same, raw."""

    def __init__(self, rc, out, err):
        self.rc, self.out_bytes, self.err_bytes = rc, out, err

    @property
    def out(self):
        return self.out_bytes.decode(errors="surrogateescape")

    @property
    def err(self):
        return self.err_bytes.decode(errors="surrogateescape")

    def __repr__(self):
        return f"Result(rc={self.rc}, out={self.out!r}, err={self.err!r})"


class Command:
    """A command that runs in a domain; made by Domain.spawn()."""

    def __init__(self, hub, domain, domid, text, has_input):
        self._hub, self.domain, self.domid, self.text = hub, domain, domid, text
        self._out, self._err = bytearray(), bytearray()
        self._rc = None
        self._lost = None
        self._acked = self._sent = 0
        self._has_input = has_input
        self.id = hub.open(self)
        hub.send(domid, EXEC, self.id, struct.pack("<I", 1 if has_input else 0) + text.encode())

    # called by the hub, with its lock held
    def frame(self, kind, data):
        if kind == STDOUT:
            self._out += data
        elif kind == STDERR:
            self._err += data
        elif kind == ACK:
            self._acked += struct.unpack("<I", data)[0]
        elif kind == EXIT:
            self._rc = struct.unpack("<i", data)[0]

    def lost(self, why):
        if self._rc is None:
            self._lost = why

    @property
    def running(self):
        with self._hub.lock:
            return self._rc is None and self._lost is None

    @property
    def output(self):
        """Standard output so far, as text; output_bytes: raw; errors: standard error."""
        return self.output_bytes.decode(errors="surrogateescape")

    @property
    def output_bytes(self):
        with self._hub.lock:
            return bytes(self._out)

    @property
    def errors(self):
        with self._hub.lock:
            return self._err.decode(errors="surrogateescape")

    def result(self):
        with self._hub.lock:
            return Result(self._rc, bytes(self._out), bytes(self._err))

    def _wait(self, ready, deadline):
        with self._hub.changed:
            while not ready() and self._rc is None and self._lost is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._hub.changed.wait(left)
        return True

    def write(self, data, timeout=RUN_TIMEOUT):
        """Gives bytes to the command's standard input (spawn(..., stdin=True))."""
        deadline = time.monotonic() + timeout
        for at in range(0, len(data), CHUNK):
            chunk = data[at:at + CHUNK]
            if not self._wait(lambda: self._sent - self._acked < STDIN_WINDOW, deadline):
                raise self._timeout(f"does not read its input within {timeout} s")
            if self._lost:
                raise DomainGone(f"{self.domain}: {self._lost} while it ran: {self.text}")
            if self._rc is not None:
                return
            self._sent += len(chunk)
            self._hub.send(self.domid, STDIN, self.id, chunk)

    def close_stdin(self):
        self._hub.send(self.domid, STDIN, self.id, b"")

    def signal(self, number):
        self._hub.send(self.domid, SIGNAL, self.id, struct.pack("<I", number))

    def kill(self, number=SIGKILL, timeout=RUN_TIMEOUT):
        """Signals the command and all it started, and waits for its end."""
        self.signal(number)
        return self.wait(timeout)

    def wait_output(self, pattern, timeout=RUN_TIMEOUT):
        """Waits until its standard output matches a regular expression; returns the match."""
        expression = re.compile(pattern, re.M)
        found = []

        def ready():
            m = expression.search(self._out.decode(errors="surrogateescape"))
            if m:
                found.append(m)
            return m

        if not self._wait(ready, time.monotonic() + timeout):
            raise self._timeout(f"did not say {pattern!r} within {timeout} s")
        if not found:
            with self._hub.lock:
                ready()
        if not found:
            raise RigError(f"{self.domain}: ended without saying {pattern!r}: {self.text}\n{self.result()}")
        return found[0]

    def _timeout(self, what):
        e = RigTimeout(f"{self.domain}: {what}: {self.text}")
        e.result = self.result()
        return e

    def wait(self, timeout=RUN_TIMEOUT):
        """Waits for its end; returns its Result."""
        if not self._wait(lambda: False, time.monotonic() + timeout):
            raise self._timeout(f"not done within {timeout} s")
        self._hub.close(self)
        if self._lost:
            raise DomainGone(f"{self.domain}: {self._lost} while it ran: {self.text}")
        return self.result()


class Hub:
    """The connection to the agent in dom0, and through it to those in the guests."""

    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._send_lock = threading.Lock()
        self._commands = {}
        self._next = 1
        self._up = set()
        self.hello = False
        self.ended = None
        self._sock = None

    def attach(self, sock):
        self._sock = sock
        threading.Thread(target=self._reader, daemon=True).start()

    def open(self, command):
        with self.lock:
            self._next += 1
            self._commands[self._next] = command
            if self.ended:
                command.lost(self.ended)
            return self._next

    def close(self, command):
        with self.lock:
            self._commands.pop(command.id, None)

    def send(self, domid, kind, session, data=b""):
        try:
            with self._send_lock:
                self._sock.sendall(HEADER.pack(len(data), domid, kind, session) + data)
        except OSError as e:
            raise RigError(f"the connection to dom0 is gone: {e}") from None

    def link(self, domid):
        self.send(domid, LINK, 0)

    def unlink(self, domid):
        self.send(domid, UNLINK, 0)
        with self.lock:
            self._drop(domid, "the domain was destroyed")

    def wait_up(self, domid, deadline):
        with self.changed:
            while domid not in self._up and not self.ended:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(left)
        return not self.ended

    def is_up(self, domid):
        with self.lock:
            return domid in self._up

    def _drop(self, domid, why):
        self._up.discard(domid)
        for c in list(self._commands.values()):
            if c.domid == domid or domid is None:
                c.lost(why)
                self._commands.pop(c.id, None)
        self.changed.notify_all()

    def _frame(self, domid, kind, session, data):
        with self.lock:
            if kind == HELLO:
                if self.hello:
                    self._drop(0, "the agent in dom0 was started again")
                self.hello = True
            elif kind == UP:
                self._up.add(domid)
            elif kind == DOWN:
                self._drop(domid, "the domain or its agent ended")
            else:
                command = self._commands.get(session)
                if command:
                    command.frame(kind, data)
                    if kind == EXIT:
                        self._commands.pop(session, None)
            self.changed.notify_all()

    def _reader(self):
        buf = bytearray()
        try:
            while True:
                data = self._sock.recv(1 << 18)
                if not data:
                    break
                buf += data
                at = 0
                while len(buf) - at >= HEADER.size:
                    size, domid, kind, session = HEADER.unpack_from(buf, at)
                    if len(buf) - at < HEADER.size + size:
                        break
                    self._frame(domid, kind, session, bytes(buf[at + HEADER.size:at + HEADER.size + size]))
                    at += HEADER.size + size
                del buf[:at]
        except OSError:
            pass
        with self.lock:
            self.ended = "the machine ended"
            self._drop(None, self.ended)


class Domain:
    """dom0 or a guest."""

    def __init__(self, rig, name):
        self.rig, self.name = rig, name
        self._kmsg_next = 0
        self._kmsg_domid = None
        self.gadgets = []

    def __repr__(self):
        return f"<domain {self.name}>"

    # ---- commands

    def _agent(self, timeout):
        raise NotImplementedError

    def spawn(self, cmd, stdin=False):
        """Starts a shell command in the background (a string, or a list of words)."""
        if not isinstance(cmd, str):
            cmd = shlex.join(map(str, cmd))
        return Command(self.rig.hub, self.name, self._agent(RUN_TIMEOUT), cmd, stdin)

    def run(self, cmd, timeout=RUN_TIMEOUT, check=True, input=None):
        """Runs a shell command; what is in time out is killed. With check, another exit status than 0 raises."""
        if isinstance(input, str):
            input = input.encode()
        start = time.monotonic()
        command = self.spawn(cmd, stdin=input is not None)
        try:
            if input is not None:
                command.write(input, timeout)
                command.close_stdin()
            result = command.wait(max(timeout - (time.monotonic() - start), 0))
        except RigTimeout:
            command.signal(SIGKILL)
            self.rig.hub.close(command)
            raise
        if check and result.rc != 0:
            e = CommandFailed(f"{self.name}: exit status {result.rc}: {command.text}\n{result.out[-4000:]}{result.err[-4000:]}")
            e.result = result
            raise e
        return result

    def wait_for(self, cmd, timeout=RUN_TIMEOUT, interval=0.2):
        """Runs a command again and again until it succeeds; returns its Result."""
        deadline = time.monotonic() + timeout
        while True:
            result = self.run(cmd, timeout=max(deadline - time.monotonic(), 1), check=False)
            if result.rc == 0:
                return result
            if time.monotonic() > deadline:
                raise RigTimeout(f"{self.name}: not true within {timeout} s: {cmd}\n{result.out}{result.err}")
            time.sleep(interval)

    def put(self, path, data, mode=None, timeout=RUN_TIMEOUT):
        q = shlex.quote(path)
        more = f" && chmod {mode:o} {q}" if mode is not None else ""
        self.run(f'mkdir -p "$(dirname {q})" && cat > {q}{more}', timeout=timeout,
                 input=data if data is not None else b"")

    def get(self, path, timeout=RUN_TIMEOUT):
        return self.run(f"cat {shlex.quote(path)}", timeout=timeout).out_bytes

    def kill_program(self, name, number=9):
        """kill of every process of this program name; how many there were."""
        pids = self.run(f"pidof {shlex.quote(name)}", check=False).out.split()
        if pids:
            self.run(f"kill -{number} {' '.join(pids)}", check=False)
        return len(pids)

    # ---- logs

    def _console_path(self):
        return os.path.join(self.rig.dir, f"console-{self.name}.log")

    def console(self):
        """All that its console showed so far, also before a restart and after its end."""
        try:
            with open(self._console_path(), "rb") as f:
                return f.read().decode(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def dmesg_new(self):
        """The kernel log's lines since the last call (or the start of the domain)."""
        domid = self._agent(RUN_TIMEOUT)
        if domid != self._kmsg_domid:
            self._kmsg_domid, self._kmsg_next = domid, 0
        found = []
        for line in self.run(f"rig-tool kmsg {self._kmsg_next}").out.splitlines():
            head, _, text = line.partition(";")
            self._kmsg_next = int(head.split(",")[0]) + 1
            found.append(text)
        return found

    # ---- USB

    def usb(self, *wanted):
        """USB devices in sysfs: [{busid, idVendor, idProduct, serial, product, speed, ...}], without the root hubs."""
        script = ("cd /sys/bus/usb/devices && for d in [0-9]*-*; do case $d in *:*|'[0-9]'*) continue;; esac; "
                  "for a in idVendor idProduct serial product manufacturer speed busnum devnum bConfigurationValue "
                  'bDeviceClass; do [ -e $d/$a ] && echo "$d $a $(cat $d/$a 2>/dev/null)"; done; done; true')
        found = {}
        for line in self.run(script).out.splitlines():
            busid, attribute, value = (line.split(" ", 2) + [""])[:3]
            found.setdefault(busid, {"busid": busid})[attribute] = value
        return list(found.values())

    def wait_usb(self, timeout=RUN_TIMEOUT, **wanted):
        """Waits for a USB device with these attributes (serial="…", idProduct="…"); returns its attributes."""
        deadline = time.monotonic() + timeout
        while True:
            for d in self.usb():
                if all(d.get(k) == v for k, v in wanted.items()):
                    return d
            if time.monotonic() > deadline:
                raise RigTimeout(f"{self.name}: no USB device with {wanted} within {timeout} s; has {self.usb()}")
            time.sleep(0.2)

    def wait_block(self, timeout=RUN_TIMEOUT, **wanted):
        """Waits for the block device of a USB device; returns its path, like /dev/sda."""
        device = self.wait_usb(timeout, **wanted)
        path = self.wait_for(f"set -- /sys/bus/usb/devices/{device['busid']}/{device['busid']}:*/host*/target*/*/block/*; "
                             '[ -e "$1" ] && [ -b "/dev/${1##*/}" ] && [ "$(cat $1/size)" != 0 ] && '
                             "echo /dev/${1##*/}", timeout)
        return path.out.strip()

    def wait_gone(self, timeout=RUN_TIMEOUT, **wanted):
        deadline = time.monotonic() + timeout
        while any(all(d.get(k) == v for k, v in wanted.items()) for d in self.usb()):
            if time.monotonic() > deadline:
                raise RigTimeout(f"{self.name}: a USB device with {wanted} is still there after {timeout} s")
            time.sleep(0.2)

    def settle(self):
        self.run("udevadm settle --timeout=30", check=False)

    def gadget(self, name, functions, **options):
        from gadget import Gadget
        return Gadget(self, name, functions, **options)

    def dummy_hcd(self, stock=False, num=4, superspeed=False):
        """(Re)loads dummy_hcd; all gadgets must be down. Without a call, gadget() loads the variant with isochronous
        endpoints."""
        options = f"num={num} is_super_speed={'Y' if superspeed else 'N'}"
        load = f"modprobe dummy_hcd {options}" if stock else f"insmod /usr/lib/rig/dummy_hcd.ko {options}"
        self.run(f"if [ -d /sys/module/dummy_hcd ]; then rmmod dummy_hcd; fi; modprobe -a udc-core usbcore libcomposite && {load}")


class Dom0(Domain):
    def _agent(self, timeout):
        return 0


class Guest(Domain):
    def __init__(self, rig, name, cpu, memory=GUEST_MEMORY, pci=(), extra=""):
        super().__init__(rig, name)
        self.uuid = str(uuid.uuid5(uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8"), "qube:" + name))
        self.memory, self.cpu, self.pci, self.extra = memory, cpu, list(pci), extra
        self.domid = None

    def _agent(self, timeout):
        if self.domid is None:
            raise RigError(f"{self.name}: is not running")
        if not self.rig.hub.wait_up(self.domid, time.monotonic() + timeout):
            raise RigTimeout(f"{self.name}: no connection to its agent within {timeout} s")
        return self.domid

    def config(self):
        lines = [f'name = "{self.name}"', f'uuid = "{self.uuid}"', 'type = "pv"', 'kernel = "/boot/vmlinux"',
                 'ramdisk = "/boot/guest.img"', f"memory = {self.memory}", "vcpus = 1", f'cpus = "{self.cpu}"',
                 f'extra = "console=hvc0 loglevel=5 panic=5 print-fatal-signals=1 {self.extra}"',
                 'on_poweroff = "destroy"', 'on_crash = "destroy"', 'on_reboot = "restart"']
        if self.pci:
            lines.append("pci = [ " + ", ".join(f'"{p}"' for p in self.pci) + " ]")
        return "\n".join(lines) + "\n"

    def create(self, paused=False):
        """Creates the domain and does not wait for its userland."""
        if self.domid is not None:
            raise RigError(f"{self.name}: runs already")
        path = f"/etc/xen/{self.name}.cfg"
        self.rig.dom0.put(path, self.config().encode())
        with self.rig.create_lock:
            self.rig.dom0.run(f"xl create -q {'-p ' if paused else ''}{path}", timeout=START_TIMEOUT)
            self.domid = int(self.rig.dom0.run(f"xenstore-list /local/domain | while read -r d; do [ "
                                               f'"$(xenstore-read /local/domain/$d/name)" = {self.name} ] && echo $d; '
                                               "done; true").out.split()[-1])
        self.gadgets = []
        self.rig.hub.link(self.domid)

    def start(self, timeout=START_TIMEOUT):
        self.create()
        self.wait_ready(timeout)

    def wait_ready(self, timeout=START_TIMEOUT):
        if not self.rig.hub.wait_up(self.domid, time.monotonic() + timeout):
            raise RigTimeout(f"{self.name}: not ready within {timeout} s; its console ends with:\n{self.console()[-3000:]}")

    def _forget(self):
        if self.domid is not None:
            self.rig.hub.unlink(self.domid)
        self.domid = None
        self.gadgets = []

    def destroy(self):
        """Kills the domain, at once and without its knowing."""
        domid = self.domid
        if domid is None:
            return
        self.rig.dom0.run(f"xl destroy {domid}", check=False)
        self._forget()
        self.rig.dom0.wait_for(f"! xl domname {domid} 2>/dev/null")

    def restart(self, timeout=START_TIMEOUT):
        self.destroy()
        self.start(timeout)

    def pause(self):
        self.rig.dom0.run(f"xl pause {self.domid}")

    def unpause(self):
        self.rig.dom0.run(f"xl unpause {self.domid}")

    def reboot(self, timeout=START_TIMEOUT):
        """Lets it reboot itself; it comes back with another domain id."""
        deadline = time.monotonic() + timeout
        old = self.domid
        try:
            self.run("sync; reboot -f", timeout=5, check=False)
        except RigError:
            pass
        self._forget()
        while self.domid is None:
            r = self.rig.dom0.run(f"xl domid {self.name}", check=False)
            if r.rc == 0 and r.out.strip().isdigit() and int(r.out) != old:
                self.domid = int(r.out)
            elif time.monotonic() > deadline:
                raise RigTimeout(f"{self.name}: did not come back within {timeout} s")
            else:
                time.sleep(0.2)
        self.rig.hub.link(self.domid)
        self.wait_ready(max(deadline - time.monotonic(), 1))

    def refresh(self):
        """Finds out whether it still runs, after it was told to end (or crashed) by other means."""
        if self.domid is not None and self.state == "dead":
            self._forget()

    @property
    def state(self):
        """running (or idle), paused, shutdown, crashed, dying; dead when there is no such domain."""
        if self.domid is None:
            return "dead"
        r = self.rig.dom0.run(f"xl list {self.domid}", check=False)
        if r.rc != 0:
            return "dead"
        flags = r.out.splitlines()[-1].split()[-2]
        for flag, word in (("d", "dying"), ("c", "crashed"), ("s", "shutdown"), ("p", "paused")):
            if flag in flags:
                return word
        return "running"


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
        self.extra_devices = []

    def read_image(self):
        with open(self.image, "rb") as f:
            return f.read()


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Rig:
    """Xen with dom0 and guests in QEMU.

    guests     names of the guests to start, among sys-usb, work, personal or any other
    name       of the run folder below build/rig/run/
    memory     MiB of each guest, or {name: MiB}
    dom0_args  more of dom0's kernel command line; guest_args: of the guests'
    quiet      no progress on standard error
    """

    def __init__(self, guests=GUESTS, name=None, memory=GUEST_MEMORY, dom0_args="", guest_args="", quiet=False,
                 dom0_memory=DOM0_MEMORY, rebuild=True, qemu_args=()):
        self.guest_names = tuple(guests)
        self.name = name or "rig"
        self.memory, self.dom0_args, self.guest_args = memory, dom0_args, guest_args
        self.dom0_memory, self.quiet, self.rebuild, self.qemu_args = dom0_memory, quiet, rebuild, list(qemu_args)
        self.hub = Hub()
        self.create_lock = threading.Lock()
        self.dom0 = Dom0(self, "dom0")
        self.domains = {"dom0": self.dom0}
        self.devices = {}
        self.qemu = self.qmp = self.dir = self._tmp = None
        self._start = time.monotonic()
        self._old_stack = None

    def __getitem__(self, name):
        return self.domains[name]

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def log(self, text):
        if not self.quiet:
            print(f"rig {time.monotonic() - self._start:5.1f}s: {text}", file=sys.stderr, flush=True)

    # ---- boot and end

    def _run_dir(self):
        base = os.path.join(build.OUT, "run")
        os.makedirs(base, exist_ok=True)
        for n in range(1, 1000):
            path = os.path.join(base, self.name if n == 1 else f"{self.name}-{n}")
            os.makedirs(path, exist_ok=True)
            self._dir_lock = open(path + ".lock", "w")
            try:
                fcntl.flock(self._dir_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._dir_lock.close()
                continue
            shutil.rmtree(path)
            os.makedirs(os.path.join(path, "share", "log"))
            self.dir = path
            return
        raise RigError("no free run folder")

    def _images(self):
        with build.lock():
            if self.rebuild:
                build.build_all()
            share = os.path.join(self.dir, "share")
            for n in ("vmlinux", "guest-base.cpio", "guest-payload.cpio"):
                os.link(os.path.join(build.IMAGES, n), os.path.join(share, n))
            os.link(os.path.join(build.IMAGES, "xen"), os.path.join(self.dir, "xen"))
            with open(os.path.join(self.dir, "dom0.img"), "wb") as out:
                for n in ("dom0-base.cpio", "dom0-payload.cpio"):
                    with open(os.path.join(build.IMAGES, n), "rb") as f:
                        shutil.copyfileobj(f, out, 1 << 20)

    def _listen(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.bind(os.path.join(self._tmp, name))
        s.listen(1)
        s.settimeout(30)
        return s

    def _accept(self, listener, what):
        try:
            sock, _ = listener.accept()
        except TimeoutError:
            raise RigTimeout(f"QEMU does not connect its {what}; see {self.dir}/qemu.log") from None
        finally:
            listener.close()
        sock.settimeout(None)
        return sock

    def _qemu_command(self):
        guests = self.guest_names
        memory = self.dom0_memory + sum(self._memory_of(g) for g in guests) + 512
        dom0 = f"console=hvc0 loglevel=5 panic=5 {self.dom0_args}".strip().replace(",", ",,")
        # QEMU takes a comma in these paths for its own, so they are given relative to the run folder.
        return ["qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=512",
                "-machine", "q35", "-cpu", CPU, "-smp", str(max(len(guests) + 1, 3)), "-m", str(memory),
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-device", "intel-iommu,intremap=on,aw-bits=48",
                "-device", f"qemu-xhci,id=usb,addr={CONTROLLER_SLOT:#x},p2={CONTROLLER_P2},p3={CONTROLLER_P3}",
                "-chardev", "file,id=console,path=console-dom0.log", "-serial", "chardev:console",
                "-device", "virtio-serial-pci,id=vs",
                "-chardev", f"socket,id=hub,path={self._tmp}/hub", "-device", "virtserialport,chardev=hub,name=rig",
                "-chardev", f"socket,id=qmp,path={self._tmp}/qmp", "-mon", "chardev=qmp,mode=control",
                "-fsdev", "local,id=share,path=share,security_model=none",
                "-device", "virtio-9p-pci,fsdev=share,mount_tag=rig",
                "-kernel", "xen", "-append",
                "console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning "
                f"dom0_mem={self.dom0_memory}M,max:{self.dom0_memory}M dom0_max_vcpus=1 dom0_vcpus_pin",
                "-initrd", f"share/vmlinux {dom0},dom0.img"] + hardware.audio_arguments() + self.qemu_args

    def _memory_of(self, name):
        return self.memory.get(name, GUEST_MEMORY) if isinstance(self.memory, dict) else self.memory

    def boot(self):
        self._run_dir()
        self._tmp = tempfile.mkdtemp(prefix="rig-")
        atexit.register(self.close)
        self._images()
        self.log("images ready")
        hub, qmp = self._listen("hub"), self._listen("qmp")
        with open(os.path.join(self.dir, "qemu.log"), "wb") as log:
            self.qemu = subprocess.Popen(self._qemu_command(), cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=log, preexec_fn=_die_with_parent)
        self.hub.attach(self._accept(hub, "hub"))
        self.qmp = Qmp(self._accept(qmp, "monitor"))
        deadline = time.monotonic() + BOOT_TIMEOUT
        with self.hub.changed:
            while not self.hub.hello:
                left = deadline - time.monotonic()
                if left <= 0 or self.hub.ended:
                    raise RigTimeout(f"dom0 is not ready within {BOOT_TIMEOUT} s; its console ends with:\n"
                                     + self.dom0.console()[-3000:])
                self.hub.changed.wait(left)
        self.log("dom0 ready")
        self._add_guests()
        for g in self.guest_names:
            self[g].create()
            self.log(f"{g} created")
        for g in self.guest_names:
            self[g].wait_ready()
            self.log(f"{g} ready")

    def _add_guests(self):
        bdf = None
        if DEVICE_QUBE in self.guest_names:
            bdf = self.dom0.run('for d in /sys/bus/pci/devices/*; do [ "$(cat $d/class)" = 0x0c0330 ] && '
                                "echo ${d##*/}; done; true").out.split()[0]
            self.dom0.run(f"modprobe xen-pciback; xl pci-assignable-add {bdf}")
        for n, name in enumerate(self.guest_names, 1):
            self.add_guest(name, cpu=n, pci=[bdf] if name == DEVICE_QUBE else ())

    def add_guest(self, name, cpu=1, pci=(), memory=None):
        """Makes a further guest known (it is started by .start())."""
        guest = Guest(self, name, cpu, memory or self._memory_of(name), pci, self.guest_args)
        self.domains[name] = guest
        link = os.path.join(self.dir, f"console-{name}.log")
        if not os.path.islink(link):
            os.symlink(os.path.join("share", "log", f"guest-{name}.log"), link)
        return guest

    def close(self):
        atexit.unregister(self.close)
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
            self.qemu = None
        for d in self.devices.values():
            if d.socket:
                d.socket.close()
        self.devices = {}
        if self._tmp:
            shutil.rmtree(self._tmp, ignore_errors=True)
            self._tmp = None
        if self.dir:
            for n in ("xen", "dom0.img", "share/vmlinux", "share/guest-base.cpio", "share/guest-payload.cpio"):
                try:
                    os.unlink(os.path.join(self.dir, n))
                except FileNotFoundError:
                    pass

    # ---- what was wrong

    def oopses(self):
        """{domain: lines} of kernel faults, from all consoles and from the logs of the domains that answer."""
        found = {}
        for name, domain in self.domains.items():
            text = domain.console().splitlines()
            if isinstance(domain, Dom0) or (domain.domid is not None and self.hub.is_up(domain.domid)):
                try:
                    text += domain.run("dmesg", timeout=20).out.splitlines()
                except RigError:
                    pass
            bad = [line for line in dict.fromkeys(text) if OOPS.search(line)]
            if bad:
                found[name] = bad
        return found

    def assert_no_oops(self):
        found = self.oopses()
        assert not found, "kernel faults:\n" + "\n".join(f"{d}: {line}" for d, ls in found.items() for line in ls)

    # ---- hardware

    def free_port(self, superspeed):
        # SuperSpeed ones from the front; the others from the back, into SuperSpeed ports only when all else is taken.
        ports = range(1, CONTROLLER_P3 + 1) if superspeed else range(CONTROLLER_P2, 0, -1)
        used = {d.port for d in self.devices.values()}
        for p in ports:
            if p not in used:
                return p
        raise RigError("no free port on the controller")

    def plug(self, kind, name, **options):
        """Plugs one of QEMU's USB devices into the controller of sys-usb; returns a Device. See hardware.py."""
        if name in self.devices:
            raise RigError(f"{name}: is plugged in already")
        device = hardware.plug(self, kind, name, options)
        self.devices[name] = device
        return device

    def unplug(self, name):
        """Pulls it out; a stick's image (Device.image) is complete on the host when this returns."""
        device = self.devices.pop(name)
        hardware.unplug(self, device)
        return device

    def keys(self, *codes, hold=0.02):
        """Presses and releases keys of the plugged-in keyboard, one after the other ("a", "ret", "shift-a")."""
        for code in codes:
            self.qmp("send-key", keys=[{"type": "qcode", "data": c} for c in code.split("-")],
                     **{"hold-time": max(int(hold * 1000), 1)})
            time.sleep(hold * 2)
