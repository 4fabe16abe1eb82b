# SPDX-License-Identifier: GPL-2.0-or-later
"""Lies in USB/IP, told by tests/integration/liar.c in the place of usb-proxy, and what is looked at after each.

    stage = Stage(rig, target="work")           # wrappers in sys-usb, gadgets as lanes, the honest twin
    stage.run([Lie("command=0", CUT), …])       # each on a lane of its kind, several lanes at once

A lane is a gadget in sys-usb (a stick, or usbtest's source/sink for isochronous transfers). A lie is attached, used, judged
and detached on its lane, while the twin, an honest session into the same qube, goes on reading.
"""
import itertools
import json
import re
import threading
import time

import stick
from gadget import Gadget, mass_storage, source_sink
from qubes import Qubes

CUT, GOOD, EITHER = "cut", "rewritten", "cut or rewritten"

PROXY = "/usr/lib/device-broker/usb-proxy"
HONEST = "/usr/lib/device-broker/honest/usb-proxy"
AUDIT = "/var/lib/device-broker/audit.log"
# Tells the lie that is laid down for this device (export) or for this qube (import), else is honest.
EXPORT_WRAPPER = f"""#!/bin/sh
all="$*"
side=$1
device=${{all##*--devid }}
device=${{device%% *}}
[ $side = export ] && [ -e /run/lies/$device ] || exec {HONEST} "$@"
read -r lie </run/lies/$device
exec /usr/bin/liar "$@" --proxy {HONEST} $lie
"""
IMPORT_WRAPPER = f"""#!/bin/sh
[ $1 = import ] && [ -e /run/lies/import ] || exec {HONEST} "$@"
read -r lie </run/lies/import
exec /usr/bin/liar "$@" --proxy {HONEST} $lie
"""
UNGUARDED_WRAPPER = f"""#!/bin/sh
[ $1 = import ] && exec /usr/bin/unguarded "$@"
exec {HONEST} "$@"
"""

PATIENCE = 40  # seconds until a lie must have been cut, or the device must work
TRIES = 3
DATA = stick.noise(128 << 10, seed=77)
TWIN = stick.noise(512 << 10, seed=78)
TWIN_HASH = stick.sha256(TWIN)

# What a kernel says when any device comes, does not answer, or goes while it is in use. All else is about the lie.
ORDINARY = [re.compile(p) for p in (
    r"^usb \d+-\d+: (new|reset) (high|full|super)-speed .*USB device number \d+ using \S+$",
    r"^usb \d+-\d+: New USB device (found|strings)",
    r"^usb \d+-\d+: (Product|Manufacturer|SerialNumber): ",
    r"^usb \d+-\d+: USB disconnect, device number \d+$",
    r"^usb \d+-\d+: device descriptor read/\S+, error -\d+$",
    r"^usb \d+-\d+: unable to (read config index|get BOS descriptor)",
    r"^usb \d+-\d+: can't (read configurations|set config #\d+), error -\d+$",
    r"^usb \d+-\d+: device not accepting address \d+, error -\d+$",
    r"^usb \d+-\d+: (Device not responding to setup address|SetAddress Request \(\d+\) to port \d+)",
    r"^usb (usb)?\d+(-\d+)?-port\d+: (unable to enumerate USB device|attempt power cycle|Cannot enable.*)$",
    r"^usb-storage \d+-\d+:\d+\.\d+: USB Mass Storage device detected$",
    r"^scsi host\d+: usb-storage \d+-\d+:\d+\.\d+$",
    r"^scsi \d+:0:0:0: Direct-Access ",
    r"^sd \d+:0:0:0: ",
    r"^ sd[a-z]+:",
    r"^usb \d+-\d+: enqueue for inactive port \d+$",
    r"^usb \d+-\d+: string descriptor 0 (read error: -\d+|malformed.*)$",
    r"^(critical |device offline |)(I/O |medium |target |)error, dev sd[a-z]+, sector \d+",
    r"^Buffer I/O error on dev sd[a-z]+, logical block \d+, async page read$",
    r"^Dev sd[a-z]+: unable to read RDB block 0$",
    r"^usbtest \d+-\d+:\d+\.\d+: (Linux gadget zero|\S+-speed \{|TEST 1[56]:|\.\.\. iso|iso |total )",
    r"^usbtest \d+-\d+:\d+\.\d+: (timeout|failed |couldn't get|during the test, \d+ errors)",
    r"^vhci_hcd vhci_hcd\.0: (pdev\(\d+\) rhport\(\d+\) sockfd\(\d+\)|devid\(\d+\) speed\(\d+\)|Device attached)",
    r"^vhci_hcd: (connection closed|connection reset by peer|release socket|disconnect device|stop threads)$",
    r"^vhci_hcd: sendmsg failed!, ret=-32 for 48$",  # once a cut: a request was just being sent when the socket was closed
    r"^vhci_hcd: not connected \d+$",  # the agent detaches a port that the kernel frees at the same moment
    r"^vhci_hcd: vhci_device speed not set$",  # gone during the reset of its port
    r"^vhci_hcd: unlink->seqnum \d+$",
    r"^vhci_hcd: urb->status -\d+$",
    r"^clocksource: |^tsc: Marking TSC unstable|^hrtimer: |^sched: ",  # a busy host
)]
# Of a device qube's kernel: usbfs while a device is taken, reset and given back.
ORDINARY_EXPORTER = ORDINARY + [re.compile(p) for p in (
    r"^usb \d+-\d+: usbfs: ",
    r"^usbtest ",
    r"^gadget: |^configfs-gadget |^dummy_udc|^Mass Storage Function|^LUN: ",
)]


def install(domain, wrapper):
    """In the place of usb-proxy, which is there at every moment: the agent looks for it when it starts."""
    domain.put(PROXY + ".new", wrapper.encode(), mode=0o755)
    domain.run(f"mv {PROXY}.new {PROXY}")


class Lie:
    """words: liar's --lie (or more options); kind and nth: of which message; verdict: what must come of it."""

    def __init__(self, lie, verdict, kind="in", nth=5, more=""):
        self.lie, self.verdict, self.kind, self.nth, self.more = lie, verdict, kind, nth, more
        self.result = self.reason = None
        self.seconds = 0

    def again(self):
        return Lie(self.lie, self.verdict, self.kind, self.nth, self.more)

    @property
    def words(self):
        lie = f"--lie {self.lie} " if self.lie else ""
        return f"{lie}--kind {self.kind} --nth {self.nth} {self.more}".strip()

    @property
    def on_source_sink(self):
        """usbtest's gadget is quicker to attach than a stick; a stick has the data."""
        return self.kind in ("iso", "control", "hello")

    def __str__(self):
        return self.words


class Lane:
    """A gadget whose sessions lie."""

    def __init__(self, stage, name, iso):
        self.stage, self.iso, self.serial = stage, iso, name.upper()
        usb = stage.rig["sys-usb"]
        if iso:
            self.gadget = usb.gadget(name, [source_sink()], serial=self.serial, **Gadget.USBTEST)
        else:
            self.gadget = usb.gadget(name, [mass_storage(data=DATA)], serial=self.serial)
        self.gadget.up()
        device = self.gadget.device()
        self.devid = int(device["busnum"]) << 16 | int(device["devnum"])
        self.entry = stage.qubes.wait_listed(serial=self.serial)
        self.last_record = 0

    def used_by(self):
        return self.stage.qubes.find(backend="sys-usb", port=self.entry["port"])["used_by"]

    # ---- using the device in the target: True: all of it is right; False: not (yet, or any more)

    def probe(self, target):
        return self.probe_iso(target) if self.iso else self.probe_stick(target)

    def in_target(self, target):
        """Shell that sets d to the device's folder in sysfs, or ends."""
        return ("cd /sys/bus/usb/devices; d=; for s in */serial; do "
                f"read -r x <$s && [ $x = {self.serial} ] && d=${{s%/serial}}; done 2>/dev/null; [ -n \"$d\" ] || exit 3; ")

    def probe_stick(self, target):
        r = target.run(self.in_target(target) + "set -- $d/$d:*/host*/target*/*/block/*; b=${1##*/}; "
                       '[ -b "/dev/$b" ] && [ "$(cat $1/size)" != 0 ] || exit 3; '
                       f"dd if=/dev/$b bs=32k count={len(DATA) >> 15} iflag=direct 2>/dev/null | sha256sum", check=False)
        return r.rc == 0 and r.out.split()[0] == stick.sha256(DATA)

    def probe_iso(self, target):
        r = target.run(self.in_target(target) + "readlink $d/$d:*/driver | grep -q usbtest || exit 3; "
                       "testusb -D $(printf /dev/bus/usb/%03d/%03d $(cat $d/busnum) $(cat $d/devnum)) "
                       "-t 16 -c 2 -s 4096 -g 3", check=False)
        return r.rc == 0 and "test 16," in r.out + r.err and "-->" not in r.out + r.err

    def start_using(self, target):
        """The same, in the background: it may never end."""
        target.spawn(self.in_target(target) + "readlink $d/$d:*/driver | grep -q usbtest || exit 3; "
                     "testusb -D $(printf /dev/bus/usb/%03d/%03d $(cat $d/busnum) $(cat $d/devnum)) -t 16 -c 2 -s 4096 -g 3")

    # ---- one lie

    def tell(self, lie):
        """Attaches with a lie, uses, detaches; sets the lie's result. Raises AssertionError on anything wrong."""
        for _ in range(TRIES):
            start = time.monotonic()
            if self.tell_once(lie):
                break
        else:
            raise AssertionError(f"{lie}: was never told ({lie.result})\n{self.stage.qubes.logs()}")
        lie.seconds = time.monotonic() - start
        self.stage.check_log(lie)

    def tell_once(self, lie):
        """False: it was not told, as the attach was over before (a busy host)."""
        stage, target, qubes = self.stage, self.stage.target, self.stage.qubes
        place = f"/run/lies/{self.devid if stage.side == 'export' else 'import'}"
        told = f"/run/lies/told.{self.serial}"
        liar = stage.rig["sys-usb"] if stage.side == "export" else target
        liar.run(f"rm -f {told}; echo '{lie.words} --told {told}' >{place}")
        attach = qubes.usb("attach", target.name, qubes.device(self.entry), check=False)
        deadline = time.monotonic() + PATIENCE
        works = False
        user = self.used_by() if attach.rc else target.name
        while user == target.name:
            works = self.probe(target) and liar.run(f"[ -e {told} ]", check=False).rc == 0
            user = self.used_by()
            if works or time.monotonic() > deadline:
                break
        lie.result = CUT if user is None else GOOD if works else "neither cut nor working"
        if user == target.name:
            qubes.usb("detach", target.name, qubes.device(self.entry), check=False)
            assert self.used_by() is None, f"{lie}: cannot be detached\n{qubes.logs()}"
        was_told = liar.run(f"rm {place}; [ -e {told} ]", check=False).rc == 0
        if not was_told or user is not None:
            return was_told
        records = [r for r in stage.audit(self.entry["port"]) if r["event"] in ("detached", "attach-failed")]
        assert records and records[-1]["seq"] > self.last_record, f"{lie}: nothing in the audit log: {records}"
        self.last_record, lie.reason = records[-1]["seq"], records[-1]["outcome"]
        return True

    def honest(self):
        """An attach without a lie works."""
        target = self.stage.target
        self.stage.qubes.attach(target.name, self.entry)
        deadline = time.monotonic() + 60
        while not self.probe(target):
            assert time.monotonic() < deadline, f"the next honest attach does not work\n{self.stage.qubes.logs()}"
        self.stage.qubes.detach(target.name, self.entry)


class Twin:
    """An honest session of QEMU's stick into the target, read without end."""

    def __init__(self, stage):
        self.stage = stage
        stage.rig.plug("storage", "twin", data=TWIN, serial="TWIN", superspeed=True)
        self.entry = stage.qubes.wait_listed(serial="TWIN")
        stage.qubes.attach(stage.target.name, self.entry)
        block = stage.target.wait_block(serial="TWIN")
        self.reader = stage.target.spawn(f"while :; do dd if={block} bs=64k count={len(TWIN) >> 16} iflag=direct 2>/dev/null | "
                                         "sha256sum; sleep 2; done")
        self.reader.wait_output(r"\s-\n", timeout=60)

    def reads(self):
        """How many reads there were; all of them were right."""
        lines = self.reader.output.splitlines()
        wrong = [line for line in lines if line.split()[0] != TWIN_HASH]
        assert not wrong, f"the honest twin read wrong data: {wrong}"
        assert self.reader.running, "the honest twin's reader ended"
        return len(lines)

    def check_goes_on(self):
        before = self.reads()
        deadline = time.monotonic() + 60
        while self.reads() == before:
            assert time.monotonic() < deadline, "the honest twin does not go on"
            time.sleep(0.3)

    def end(self):
        self.check_goes_on()
        self.reader.kill()
        self.stage.qubes.detach(self.stage.target.name, self.entry)
        self.stage.rig.unplug("twin")


class Stage:
    def __init__(self, rig, side, sticks=1, iso=1, twin=True, target="work"):
        self.rig, self.side, self.qubes = rig, side, Qubes.of(rig)
        self.target = rig[target]
        self.lock = threading.Lock()
        self.strange = []  # lines of a kernel's log that are about a lie
        self.unheard = set()
        for domain in (self.target, rig["sys-usb"]):
            domain.run(f"mkdir -p /run/lies {HONEST.rpartition('/')[0]} && [ -e {HONEST} ] || cp -p {PROXY} {HONEST}; "
                       "modprobe usb-storage delay_use=0; modprobe usbtest alt=1; rm -f /run/lies/*")
        install(rig["sys-usb"], EXPORT_WRAPPER)
        install(self.target, IMPORT_WRAPPER)
        for name in [f"lie{i}" for i in range(4)] + [f"iso{i}" for i in range(4)]:  # of a test that failed
            for gadget in [g for g in rig["sys-usb"].gadgets if g.name == name]:
                gadget.remove()
        if "twin" in rig.devices:
            rig.unplug("twin")
        self.lanes = [Lane(self, f"lie{i}", False) for i in range(sticks)] + [Lane(self, f"iso{i}", True) for i in range(iso)]
        self.twin = Twin(self) if twin else None
        self.target.dmesg_new(), rig["sys-usb"].dmesg_new()
        self.baseline = {d.name: self.traces(d) for d in (self.target, rig["sys-usb"])}

    def audit(self, port):
        """The audit records of one device."""
        records = [json.loads(line) for line in self.rig.dom0.run(f"tail -n 300 {AUDIT}").out.splitlines()]
        return [r for r in records if r.get("port") == port]

    def traces(self, domain):
        liars = domain.run("pidof liar unguarded", check=False).out.split()
        return sorted(self.qubes.traces(domain.name) + [f"process liar {pid}" for pid in liars])

    def check_log(self, what):
        """New lines of the attacked kernel's log: none but the ordinary."""
        victim, allowed = ((self.target, ORDINARY) if self.side == "export" else (self.rig["sys-usb"], ORDINARY_EXPORTER))
        with self.lock:
            for line in victim.dmesg_new():
                if not any(p.search(line) for p in allowed):
                    self.strange.append(f"{what}: {line}")

    def check_clean(self, timeout=30):
        """Nothing more is there than before all lies, and the twin goes on."""
        deadline = time.monotonic() + timeout
        while (now := {d: self.traces(self.rig[d]) for d in self.baseline}) != self.baseline:
            assert time.monotonic() < deadline, f"left behind: {now}, there was {self.baseline}\n{self.qubes.logs()}"
            time.sleep(0.3)
        if self.twin:
            self.twin.check_goes_on()
        assert not self.strange, "the kernel's log is not empty:\n" + "\n".join(self.strange)

    def run(self, lies, parallel=True, between=16):
        """Tells all lies, `between` at a time; then checks."""
        lies = list(lies)
        for n in range(0, len(lies), between):
            self.run_some(lies[n:n + between], parallel)
            self.check_clean()
            self.lanes[-1].honest()
            self.check_log("an honest attach")
        self.check_clean()

    def run_some(self, lies, parallel):
        queues = {iso: iter([lie for lie in lies if lie.on_source_sink == iso]) for iso in (False, True)}
        errors = []

        def work(lane):
            while not errors:
                with self.lock:
                    lie = next(queues[lane.iso], None)
                if lie is None:
                    return
                try:
                    lane.tell(lie)
                except Exception as e:
                    errors.append(e)

        workers = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in self.lanes]
        for w in workers:
            w.start()
            if not parallel:
                w.join()
        for w in workers:
            w.join()
        for e in errors:
            raise e

    def end(self):
        for lane in self.lanes:
            lane.gadget.remove()
        if self.twin:
            self.twin.end()
        self.lanes, self.twin = [], None


def pairs(fields, kind, nth):
    """Every pair of (field, value, verdict)."""
    for (a, va, ra), (b, vb, rb) in itertools.combinations(fields, 2):
        yield Lie(f"{a}={va},{b}={vb}", GOOD if ra == rb == GOOD else CUT, kind, nth)


def table(lies):
    """Lines for the test's output."""
    counts = {}
    for lie in lies:
        counts[lie.result] = counts.get(lie.result, 0) + 1
    reasons = {}
    for lie in lies:
        if lie.result == CUT:
            reasons[lie.reason] = reasons.get(lie.reason, 0) + 1
    words = [", ".join(f"{n} {r}" for r, n in sorted(c.items(), key=str)) for c in (counts, reasons)]
    return f"{len(lies)} lies: {words[0]}; reasons of the cuts: {words[1]}"


def disagreements(lies):
    return [f"{lie}: {lie.result} ({lie.reason}), not {lie.verdict}" for lie in lies
            if lie.result not in (CUT, GOOD) or lie.verdict not in (lie.result, EITHER)]


def unguarded(rig, rows):
    """Tells the lie of each row to a kernel without a filter; returns for each the new lines of its log, and of usbmon. A row
    is a lie, words, a pattern and how many lines shall have it. The last may fault the kernel."""
    stage = Stage(rig, "export", twin=False)
    target, results = stage.target, []
    install(target, UNGUARDED_WRAPPER)
    target.run("mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null; modprobe usbmon")
    for lie, _, pattern, least in rows:
        lane = next(lane for lane in stage.lanes if lane.iso == lie.on_source_sink)
        monitor = target.spawn("cat /sys/kernel/debug/usb/usbmon/0u")
        place = f"/run/lies/{lane.devid}"
        rig["sys-usb"].run(f"echo '{lie.words}' >{place}")
        attach = stage.qubes.usb("attach", target.name, stage.qubes.device(lane.entry), check=False)
        lines, deadline = [], time.monotonic() + PATIENCE
        while len(matching(pattern, lines + usbmon(monitor))) < least and time.monotonic() < deadline:
            if lane.iso:
                lane.start_using(target)
            time.sleep(0.5)
            lines += target.dmesg_new()
        results.append(lines + usbmon(monitor) + [str(attach)])
        monitor.kill()
        rig["sys-usb"].run(f"rm {place}")
        stage.qubes.usb("detach", target.name, stage.qubes.device(lane.entry), check=False)
    stage.end()
    stage.qubes.restart_guest(target.name)
    return results


def usbmon(monitor):
    return ["usbmon: " + line.split(" ", 2)[-1] for line in monitor.output.splitlines()]


def matching(pattern, lines):
    return [line for line in lines if re.search(pattern, line)]
