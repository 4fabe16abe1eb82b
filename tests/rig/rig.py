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
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import hardware  # noqa: E402 (all of these lie beside this file)
from agent import CommandFailed, DomainGone, Hub, RigError, RigTimeout, Result  # noqa: E402, F401
from domain import Dom0, Guest, GUEST_MEMORY, KERNEL_ARGS  # noqa: E402


def _load_build():
    loader = importlib.machinery.SourceFileLoader("rig_build", os.path.join(HERE, "build"))
    spec = importlib.util.spec_from_loader("rig_build", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


build = _load_build()

GUESTS = ("sys-usb", "work", "personal")
DEVICE_QUBE = "sys-usb"
DOM0_MEMORY = 1024
BOOT_TIMEOUT = 300

# Without XSAVE: with it, programs in PV domains that share a processor crash at random under emulation.
CPU = "qemu64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt"
CONTROLLER_SLOT = 8
# Ports 1 to P3 of the passed-through controller take SuperSpeed and slower devices, the rest up to P2 none above high speed.
CONTROLLER_P2, CONTROLLER_P3 = 15, 7

OOPS = re.compile(r"BUG: |BUG at |Oops|general protection|KASAN|UBSAN|WARNING: |Kernel panic|INFO: task .* blocked|"
                  r"refcount_t: |list_(?:add|del) corruption|soft lockup|rcu: INFO")


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
        dom0 = f"console=hvc0 loglevel=5 panic=5 {KERNEL_ARGS} {self.dom0_args}".strip().replace(",", ",,")
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
                "console=com1 com1=115200,8n1 conring_size=256k loglvl=warning guest_loglvl=warning "
                f"dom0_mem={self.dom0_memory}M,max:{self.dom0_memory}M dom0_max_vcpus=1 dom0_vcpus_pin "
                "spec-ctrl=no xpti=no",
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
        self.qmp = hardware.Qmp(self._accept(qmp, "monitor"))
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
        """Ends QEMU; consoles and images of sticks stay in the run folder."""
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
