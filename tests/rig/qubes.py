# SPDX-License-Identifier: GPL-2.0-or-later
"""Our programs in the rig's domains: started, kept running as systemd would, asked through the real command line.

    qubes = Qubes.of(rig)
    port = qubes.wait_listed(serial="STICK1")["port"]
    qubes.attach("work", port)
"""
import json
import re
import time

from rig import RigTimeout

SERVICES = {
    "dom0": ("device-broker", "/usr/sbin/device-broker"),
    "guest": ("device-agent", "/usr/sbin/device-agent"),
}
AGENT_IN_DOM0 = ("device-agent", "/usr/sbin/device-agent --roles export")  # as device-agent-dom0.service
# Restarts what ended, like Restart=always with RestartSec=500ms; /run/NAME.stop ends it.
SUPERVISE = """#!/bin/sh
name=$1; shift
while [ ! -e /run/$name.stop ]; do
	"$@" >>/var/log/$name.log 2>&1 &
	echo $! >/run/$name.pid
	wait $!
	echo "supervise: $name ended with $?" >>/var/log/$name.log
	usleep 500000
done
"""
# The policy in the rig's dom0 is the shipped one, and before it these rules. As shipped, an input device and any device with
# one input interface is asked about, and here nobody is there to be asked; `allow u03****` would not do, for it wants all
# interfaces of a device to fit. So the rig does not show the shipped answer for input devices; host tests do.
RIG_POLICY = "usb * @anyvm @anyvm allow\nmic * @anyvm @anyvm allow\nwebcam * @anyvm @anyvm allow\n"
POLICY_DIR = "/etc/device-broker/policy.d"
USERS = "qdb-broker:x:901:901::/:/bin/false\\nqdb-proxy:x:902:902::/:/bin/false"
GROUPS = "qubes:x:98:\\nqdb-broker:x:901:\\nqdb-proxy:x:902:"


class Qubes:
    def __init__(self, rig, start=True):
        self.rig = rig
        self.dom0 = rig.dom0
        if start:
            self.start_service("dom0")
            self.dom0.wait_for("[ -S /run/device-broker/admin.sock ]")
            for name in rig.guest_names:
                self.start_service(name)

    @classmethod
    def of(cls, rig):
        """One per rig, started at the first call."""
        if not hasattr(rig, "qubes"):
            rig.qubes = cls(rig)
        return rig.qubes

    # ---- services

    def service(self, domain):
        return SERVICES["dom0" if domain == "dom0" else "guest"]

    def start_service(self, domain):
        name, program = self.service(domain)
        d = self.rig[domain]
        d.put("/run/supervise", SUPERVISE, mode=0o755)
        if domain == "dom0":
            d.run(f"[ -e {POLICY_DIR}/90-default.policy ]")  # installed with the broker
            d.put(f"{POLICY_DIR}/10-rig.policy", RIG_POLICY, mode=0o644)
        d.run(f"grep -q qdb-proxy /etc/passwd || {{ printf '{USERS}\\n' >>/etc/passwd; printf '{GROUPS}\\n' >>/etc/group; }}; "
              f"mkdir -p /var/log; [ {domain} != dom0 ] || mkdir -p -m 700 /var/lib/device-broker; true")
        self.supervise(d, name, program)

    def supervise(self, d, name, program):
        d.run(f"rm -f /run/{name}.stop; setsid /run/supervise {name} {program} </dev/null >/dev/null 2>&1 &")

    def start_agent_in_dom0(self):
        self.supervise(self.dom0, *AGENT_IN_DOM0)

    def stop_agent_in_dom0(self):
        self.stop(self.dom0, AGENT_IN_DOM0[0])

    def stop_service(self, domain):
        self.stop(self.rig[domain], self.service(domain)[0])

    def stop(self, d, name):
        d.run(f"touch /run/{name}.stop; kill $(cat /run/{name}.pid)")
        d.wait_for(f"! pidof {name}")

    def log(self, domain):
        name, _ = self.service(domain)
        return self.rig[domain].run(f"cat /var/log/{name}.log", check=False).out

    def restart_guest(self, name):
        """A new life of a qube, with its agent."""
        self.rig[name].restart()
        self.start_service(name)

    def logs(self):
        """The ends of all logs, for a failure's report."""
        text = []
        for name, domain in self.rig.domains.items():
            try:
                text.append(f"--- {name}\n" + "\n".join(self.log(name).splitlines()[-25:]))
            except Exception as e:
                text.append(f"--- {name}: no log: {e}")
        return "\n".join(text)

    # ---- the command line

    def usb(self, *words, check=True, timeout=60):
        return self.dom0.run(["qvm-usb", *words], check=check, timeout=timeout)

    def list(self, device_class="usb"):
        """[{backend, port, device_id, description, state…, used_by: qube or None}], from `qvm-usb list --json`."""
        return json.loads(self.dom0.run(["qvm-device", device_class, "list", "--json"]).out)

    def find(self, **wanted):
        for d in self.list():
            if all(str(d.get(k)) == str(v) for k, v in wanted.items()):
                return d
        return None

    def wait_listed(self, serial=None, vendor=None, timeout=60):
        """Waits until a device with this serial number or vendor id ("0627") is listed; returns its entry."""
        deadline = time.monotonic() + timeout
        while True:
            for d in self.list():
                words = d["device_id"].split(":")
                if (serial is None or words[2] == serial) and (vendor is None or words[0] == vendor):
                    return d
            if time.monotonic() > deadline:
                raise RigTimeout(f"{serial or vendor} is not listed within {timeout} s; there is {self.list()}\n{self.logs()}")
            time.sleep(0.2)

    def wait_unlisted(self, serial, timeout=60):
        deadline = time.monotonic() + timeout
        while any(d["device_id"].split(":")[2] == serial for d in self.list()):
            if time.monotonic() > deadline:
                raise RigTimeout(f"{serial} is still listed after {timeout} s")
            time.sleep(0.2)

    def device(self, d):
        return f"{d['backend']}:{d['port']}"

    def attach(self, target, d, timeout=60):
        """Attaches; waits for a qube whose agent has not reported yet, as after its start, and for nothing else."""
        deadline = time.monotonic() + timeout
        while True:
            r = self.usb("attach", target, self.device(d), check=False, timeout=timeout)
            if r.rc == 0:
                return r
            if "no device agent" not in r.err or time.monotonic() > deadline:
                raise AssertionError(f"attach {self.device(d)} to {target}: {r}\n{self.logs()}")
            time.sleep(0.5)

    def detach(self, target, d, timeout=60):
        return self.usb("detach", target, self.device(d), timeout=timeout)

    def put_back(self):
        """After a test that failed, so that others do not fail for that alone: nothing is attached or plugged in any more."""
        for device_class in ("usb", "mic", "webcam"):
            for d in self.list(device_class):
                if d["used_by"]:
                    self.dom0.run(["qvm-device", device_class, "detach", d["used_by"], self.device(d)], check=False)
        for name in list(self.rig.devices):
            self.rig.unplug(name)
        for name in self.rig.guest_names:
            self.rig[name].run("kill -KILL $(pidof rig-camera); rmmod vivid 2>/dev/null", check=False)
            for gadget in list(self.rig[name].gadgets):
                gadget.remove(check=False)

    # ---- what a session leaves behind

    def traces(self, domain):
        """Everything that an attachment makes in a domain, for people to read; empty when nothing is there."""
        d = self.rig[domain]
        found = []
        # Only of a module that is there to its end: read while it is being loaded, these files make the kernel oops.
        status = d.run("[ \"$(cat /sys/module/vhci_hcd/initstate 2>/dev/null)\" = live ] && "
                       "cat /sys/devices/platform/vhci_hcd.0/status* 2>/dev/null", check=False).out
        for line in status.splitlines():
            fields = line.split()
            if len(fields) >= 3 and fields[0] in ("hs", "ss") and fields[2] != "004":
                found.append(f"vhci port {fields[1]} in state {fields[2]}")
        for line in d.run("ps -o pid,args | grep -E '(usb|audio|camera)-proxy (export|import) ' | grep -v grep", check=False).out.splitlines():
            found.append("process " + line.strip())
        fds = d.run("ls -l /proc/[0-9]*/fd/ 2>/dev/null | grep /dev/bus/usb/; for p in $(pidof device-agent camera-proxy); do "
                    "ls -l /proc/$p/fd | grep /dev/video; done", check=False).out
        found += ["open " + line.split("->")[-1].strip() for line in fds.splitlines()]
        nodes = d.run(f"xenstore-ls /local/domain/{d.domid}/data/qdb 2>/dev/null", check=False).out
        found += ["xenstore node " + line.strip() for line in nodes.splitlines()]
        imported = d.run("for d in /sys/devices/platform/vhci_hcd.*/usb*/[0-9]*-[0-9]*; do "
                         "case $d in *:*) ;; *) [ -e $d/serial ] && echo $d;; esac; done; true", check=False).out
        found += ["imported device " + line for line in imported.splitlines()]
        blocks = d.run("for b in /sys/block/sd*; do readlink -f $b; done | grep vhci_hcd", check=False).out
        found += ["block device " + line for line in blocks.splitlines()]
        return found

    def grants(self, owner, to):
        """How many grant entries of one domain are for another one, as the hypervisor counts them."""
        self.dom0.run("xl dmesg -c >/dev/null; xl debug-keys g")
        # the hypervisor prints it later, in its own time
        text = self.dom0.wait_for("xl dmesg >/run/grants; grep -q 'gnttab_usage_print_all . done' /run/grants && cat /run/grants").out
        owner_id, to_id = self.rig[owner].domid, self.rig[to].domid
        part = re.search(rf"grant-table for remote d{owner_id}\b(.*?)(?=grant-table for remote|\Z)", text, re.S)
        if not part:
            return 0
        return len(re.findall(rf"\[0x[0-9a-f]+\]\s+{to_id}\s", part.group(1)))

    def wait_clean(self, *domains, timeout=20):
        """Waits until traces() is empty in each domain; returns the seconds that it took."""
        start = time.monotonic()
        while True:
            left = {d: t for d in domains if (t := self.traces(d))}
            took = time.monotonic() - start
            if not left:
                return took
            if took > timeout:
                raise AssertionError(f"left behind after {took:.1f} s: {left}\n{self.logs()}")
            time.sleep(0.3)
