# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's own usbtest suite on the source/sink gadget: what passes natively in sys-usb passes through us in work.

Cases 11, 12 and 24 (unlinking URBs) make the kernel's own usbip-host oops; they must pass here. Isochronous cases use alternate
setting 1 and the rig's variant of dummy_hcd.
"""
from gadget import Gadget, loopback, source_sink
from qubes import Qubes
from rig import RigError

SERIAL = "USBTEST"
ARGUMENTS = "-c 20 -s 1024 -v 512 -g 8"  # fewer rounds than testusb's own: an emulated machine does all of them twice
ALT0 = [n for n in range(30) if n not in (15, 16, 22, 23)]
ALT1 = [15, 16, 22, 23]
MUST_PASS = set(range(15)) | set(range(17, 22)) | {24, 27, 28, 29} | set(ALT1)


def run_cases(domain, cases, alt):
    """{case: None or the error} in one domain."""
    domain.run(f"rmmod usbtest 2>/dev/null; modprobe usbtest alt={alt}")
    device = domain.wait_usb(serial=SERIAL)
    node = f"/dev/bus/usb/{int(device['busnum']):03d}/{int(device['devnum']):03d}"
    domain.wait_for(f"[ -e /sys/bus/usb/devices/{device['busid']}:*/driver ] && "
                    f"readlink /sys/bus/usb/devices/{device['busid']}:*/driver | grep -q usbtest")
    results = {}
    for case in cases:
        try:
            r = domain.run(f"testusb -D {node} -t {case} {ARGUMENTS}", check=False, timeout=180)
            text = r.out + r.err
            failed = "-->" in text or f"test {case}," not in text
            results[case] = (" ".join(text.split())[-120:] or "unsupported") if failed else None
        except RigError as e:
            results[case] = f"no end: {e}"
            break
    return results


def both_alternates(domain):
    return {**run_cases(domain, ALT0, 0), **run_cases(domain, ALT1, 1)}


def test_usbtest_natively_and_through_us(rig):
    qubes = Qubes.of(rig)
    usb, work = rig["sys-usb"], rig["work"]
    gadget = usb.gadget("zero", [source_sink(), loopback()], configs=[[0], [1]], serial=SERIAL, **Gadget.USBTEST).up()
    natively = both_alternates(usb)
    passed = {case for case, error in natively.items() if error is None}
    print(f"# natively: {len(passed)} pass: {sorted(passed)}")
    print("# natively failing: " + "; ".join(f"{c}: {e}" for c, e in natively.items() if e))
    assert passed >= MUST_PASS, f"natively only {sorted(passed)}"
    d = qubes.wait_listed(serial=SERIAL)
    qubes.attach("work", d)
    through = both_alternates(work)
    good = {case for case, error in through.items() if error is None}
    print(f"# through us: {len(good)} pass: {sorted(good)}")
    bad = {case: through.get(case, "not run") for case in sorted(passed - good)}
    qubes.detach("work", d)
    qubes.wait_clean("work", "sys-usb")
    gadget.remove()
    assert not bad, f"pass natively and fail through us: {bad}"


def test_no_kernel_fault(rig):
    rig.assert_no_oops()
