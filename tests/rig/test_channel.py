# SPDX-License-Identifier: GPL-2.0-or-later
"""DI16: the suite of lib/channel says the same over libxenvchan as over sockets, between guests and with dom0 at either end
and at both."""
import os
import subprocess
import tempfile

from rig import build

RIG = dict(guests=("sys-usb", "work"))
SUITE = "channel-suite"


def socket_trace():
    program = os.path.join(os.path.dirname(build.OUT), "gcc", "bin", SUITE)
    with tempfile.TemporaryDirectory() as directory:
        return subprocess.run([program, "--backend", f"socket:{directory}", "--both"], check=True, capture_output=True,
                              text=True, timeout=300).stdout


def xen_trace(server, client, number):
    """The traces of both ends; `number` keeps the runs' service names apart."""
    def words(role, own, peer):
        return f"{SUITE} --backend xen --run {number:x} --role {role} --own {getattr(own, 'domid', 0)} --peer {getattr(peer, 'domid', 0)} 2>&1"

    other = client.spawn(words("client", client, server))
    r = server.run(words("server", server, client), timeout=900, check=False)
    return r.out + other.wait(120).out


def first_difference(a, b):
    for x, y in zip(a.splitlines() + ["(end)"], b.splitlines() + ["(end)"]):
        if x != y:
            return f"xen: {x}\nsocket: {y}"
    return "one is longer"


def check(server, client, number):
    want = socket_trace()
    assert len(want.splitlines()) > 200, "the suite did not run"
    got = xen_trace(server, client, number)
    assert got == want, first_difference(got, want)


def test_guest_to_guest(rig):
    check(rig["sys-usb"], rig["work"], 1)


def test_dom0_serves(rig):
    check(rig.dom0, rig["work"], 2)


def test_dom0_connects(rig):
    check(rig["work"], rig.dom0, 3)


def test_dom0_to_itself(rig):
    """As the broker and an agent of dom0's."""
    check(rig.dom0, rig.dom0, 4)
