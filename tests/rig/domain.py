# SPDX-License-Identifier: GPL-2.0-or-later
"""dom0 and the guests, as a scenario sees them."""
import os
import shlex
import time
import uuid

from agent import Command, CommandFailed, RigError, RigTimeout, RUN_TIMEOUT, SIGKILL

START_TIMEOUT = 300
GUEST_MEMORY = 384
CONTROLLER_TRIES = 3
# Both save seconds of boot; neither matters here.
KERNEL_ARGS = "mitigations=off cryptomgr.notests"
UUID_BASE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")


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

    def usb(self):
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
    domid = 0

    def _agent(self, timeout):
        return 0


class Guest(Domain):
    def __init__(self, rig, name, cpu, memory=GUEST_MEMORY, pci=(), extra=""):
        super().__init__(rig, name)
        self.uuid = str(uuid.uuid5(UUID_BASE, "qube:" + name))
        self.memory, self.cpu, self.pci, self.extra = memory, cpu, list(pci), extra
        self.domid = None
        self._lost_controller = 0

    def _agent(self, timeout):
        if self.domid is None:
            raise RigError(f"{self.name}: is not running")
        if not self.rig.hub.wait_up(self.domid, time.monotonic() + timeout):
            raise RigTimeout(f"{self.name}: no connection to its agent within {timeout} s")
        return self.domid

    def config(self):
        lines = [f'name = "{self.name}"', f'uuid = "{self.uuid}"', 'type = "pv"', 'kernel = "/boot/vmlinux"',
                 'ramdisk = "/boot/guest.img"', f"memory = {self.memory}", "vcpus = 1", f'cpus = "{self.cpu}"',
                 f'extra = "console=hvc0 loglevel=5 panic=5 print-fatal-signals=1 {KERNEL_ARGS} {self.extra}"',
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
        if self.pci and self.run("dmesg | grep -q 'pciback not responding'", check=False).rc == 0:
            self._start_again(timeout)

    def _start_again(self, timeout):
        """The kernel's pcifront gives dom0 two seconds, which a very busy host exceeds; the controller is lost then."""
        self._lost_controller += 1
        if self._lost_controller > CONTROLLER_TRIES:
            raise RigError(f"{self.name}: lost its USB controller {CONTROLLER_TRIES} times: the host is too busy")
        self.rig.log(f"{self.name} lost its controller (busy host); started again")
        self.destroy()
        self.start(timeout)
        self._lost_controller = 0

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
