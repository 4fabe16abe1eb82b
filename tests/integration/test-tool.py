#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qvm-device's commands about what is stored, asked, audited and explained, against the real API server and core.

Needs BIN (where the programs are). Prints TAP.
"""
import json
import os
import pty
import re
import select
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from admin_world import BIN, main, run

PATIENCE = 30
STICK = "0781:5581:AB12:u080650"


def watch(server, *words, **more):
    """A watcher that hears all from now on: it shows no event before its streams are open, so one is made until it does."""
    process = subprocess.Popen(["qvm-device", "watch", *words], executable=BIN / "qvm-device",
                               env={"QDB_SOCKET": server.path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               **more)
    deadline = time.monotonic() + PATIENCE
    while not select.select([process.stdout], [], [], 0.05)[0]:
        assert time.monotonic() < deadline, "the watcher hears nothing"
        server.do("qube passing 77")
        server.do("halt passing")
    return process


def read_until(process, text):
    said = ""
    deadline = time.monotonic() + PATIENCE
    while text not in said:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([process.stdout], [], [], left)[0], f"{text} did not come: {said}"
        data = os.read(process.stdout.fileno(), 4096).decode()
        assert data, f"it ended: {said}"
        said += data
    assert not re.search(r"[^\x20-\x7e\n]", said), said
    return said


def stop(process):
    process.terminate()
    process.wait(PATIENCE)
    process.stdin.close()
    process.stdout.close()


def test_assign(server):
    out, _ = run("assign", "work", "sys-usb:1-2", path=server.path)
    assert out == "Assigned. To attach it now: qvm-usb attach work sys-usb:1-2\n", out
    assert "work (attached)" in run(path=server.path)[0]  # an automatic one, and both are there
    out, _ = run("list", "-s", path=server.path)
    assert "\nsys-usb:1-2    0781:5581:AB12:u080650" in out and out.rstrip().endswith("*work (auto-attach)"), out
    assert run("assign", "work", "sys-usb:1-2", path=server.path, status=1)[1] == \
        "Error: this device is already assigned to work: unassign it first, or change its mode\n"
    run("assign", "--ask", "--device", "-o", "max-time=30m", "personal", "sys-usb:1-2", path=server.path)
    run("s", "--required", "--port", "-o", "follow-port=yes", "-q", "personal", "sys-usb:9-9", path=server.path)
    out, _ = run("list", "-s", "personal", path=server.path)
    assert re.search(rf"^sys-usb:\*    +{STICK}  +\*personal \(ask-to-attach: max-time=30m\)$", out, re.M), out
    assert re.search(r"^sys-usb:9-9  +any device  +\*personal \(required: follow-port=yes\)$", out, re.M), out
    listed = json.loads(run("list", "-s", "--json", path=server.path)[0])
    assert {"class": "usb", "backend": "sys-usb", "port": "9-9", "device_id": "*", "assigned_to": "personal",
            "mode": "required", "options": "follow-port=yes"} in listed, listed
    # a device that is not there, by its whole name; a qube that does not run
    out, said = run("assign", "later", "sys-usb:8-8:aaaa:bbbb:C:u080650", path=server.path)
    assert said == "Warning: no qube later runs; the assignment waits for one of that name.\n", said
    assert "*later (auto-attach)" in run("list", "-s", path=server.path)[0]
    assert run("unassign", "later", path=server.path) == ("", "")
    assert "later" not in run("list", "-s", path=server.path)[0]
    assert run("unassign", "--port", "personal", "sys-usb:9-9", path=server.path)[0] == \
        "Unassigned. To detach it now: qvm-usb detach personal sys-usb:9-9\n"
    run("u", "--device", "-q", "personal", "sys-usb:1-2", path=server.path)
    run("unassign", "-q", "work", f"sys-usb:1-2:{STICK}", path=server.path)
    assert "*" not in run("list", "-s", path=server.path)[0]
    assert run("unassign", "work", "sys-usb:1-2", path=server.path, status=1)[1] == \
        "Error: sys-usb:1-2 is not assigned to work in this way\n"
    for row in [["assign", "work"], ["assign", "--ask", "-r", "work", "sys-usb:1-2"], ["assign", "dom0", "sys-usb:1-2"],
                ["assign", "--port", "--device", "work", "sys-usb:1-2"], ["assign", "no name", "sys-usb:1-2"],
                ["assign", "-p", "work", "sys-usb:1-2"], ["unassign"], ["unassign", "--ask", "work", "sys-usb:1-2"],
                ["assign", "work", "sys-usb"], ["unassign", "nobody"]]:
        run(*row, path=server.path, status=2)
    assert run("assign", "work", "sys-usb:9-9", path=server.path, status=1)[1] == \
        "qvm-usb: error: backend vm sys-usb doesn't expose usb device '9-9'\n"
    assert "there is no option ro here" in run("assign", "-o", "ro=1", "work", "sys-usb:1-2", path=server.path, status=1)[1]


def test_attach_with_time(server):
    run("attach", "-o", "max-time=30m", "work", "sys-usb:1-2", path=server.path)
    assert "as in 90s" in run("attach", "-o", "max-time=x", "work", "sys-usb2:1-2", path=server.path, status=1)[1]


def test_move(server):
    assert run("move", "personal", "sys-usb:1-2", path=server.path, status=1)[1] == \
        "qvm-usb: error: sys-usb:1-2 is attached to no qube: attach it (qvm-usb attach personal sys-usb:1-2)\n"
    run("attach", "work", "sys-usb:1-2", path=server.path)
    assert run("move", "-v", "personal", "sys-usb:1-2", path=server.path)[0] == \
        "Moving sys-usb:1-2 from work to personal: done\n"
    assert "personal (attached)" in run(path=server.path)[0]
    run("mv", "-o", "max-time=1h", "work", "sys-usb:1-2", path=server.path)
    assert "work (attached)" in run(path=server.path)[0]
    assert "choose another qube" in run("m", "dom0", "sys-usb:1-2", path=server.path, status=1)[1]
    server.do("mode fail")
    said = run("move", "personal", "sys-usb:1-2", path=server.path, status=1)[1]
    assert said.startswith("Error: moving sys-usb:1-2 from work to personal failed: "), said


def test_deny_and_allow(server):
    assert run("deny", "work", path=server.path, program="qvm-device") == ("", "")
    run("deny", "work", "u03", "u08****", path=server.path, program="qvm-device")
    assert run("deny", "work", path=server.path)[0] == "u03****\nu08****\n"
    said = run("attach", "work", "sys-usb:1-2", path=server.path, status=1)[1]
    assert said == "Error: denied by deny list of work: u08****; why: qvm-device policy explain work sys-usb:1-2\n", said
    run("allow", "work", "u08", path=server.path, program="qvm-device")
    run("attach", "work", "sys-usb:1-2", path=server.path)
    run("allow", "work", "all", path=server.path, program="qvm-device")
    assert run("deny", "work", path=server.path) == ("", "")
    assert run("allow", "work", "u08", path=server.path, status=1)[1] == \
        "Error: u08**** is not in the deny list of work\n"
    assert "not a list of patterns" in run("deny", "work", "U03", path=server.path, status=1)[1]
    for row in [["deny"], ["deny", "work", "u08****0"], ["deny", "work", ""], ["allow", "work"], ["deny", "no name"],
                ["deny", "work", "u 3"]]:
        run(*row, path=server.path, status=2)


def test_policy(server):
    out, _ = run("policy", "check", path=server.path, program="qvm-device", status=1)
    assert out == "broken, so everything is denied: 50-test.policy:1: there is no such word\n", out
    server.do("policy ask")
    assert run("policy", "check", path=server.path, program="qvm-device")[0] == "good: 1 rules\n"
    out, _ = run("policy", "explain", "work", "sys-usb:1-2", path=server.path, program="qvm-device")
    assert out == "ask by 50-test.policy:1\n  usb * @anyvm @anyvm ask\n", out
    server.do("policy deny")
    out, _ = run("policy", "explain", "work", "sys-usb:1-2", path=server.path)
    assert out.startswith("deny by 50-test.policy:1\n")
    said = run("attach", "work", "sys-usb:1-2", path=server.path, status=1)[1]
    assert said == "Error: denied by 50-test.policy:1; why: qvm-device policy explain work sys-usb:1-2\n", said
    for row in [["policy"], ["policy", "chek"], ["policy", "check", "x"], ["policy", "explain", "work"],
                ["policy", "explain", "nobody", "sys-usb:1-2"]]:
        run(*row, path=server.path, program="qvm-device", status=2)


def test_audit(server):
    out, _ = run("audit", path=server.path, program="qvm-device")
    assert out.splitlines() == [
        "2026-11-23T18:04:09.123456Z  #1 policy-loaded",
        "2026-11-23T18:04:10.123456Z  #2 attach-request  sys-usb:1-2 (0781:5581:A_[2J:u080650) -> work  by uid 1000"
        "  rule 50-test.policy:1",
        "2026-11-23T18:04:11.123456Z  #3 detached: unplugged"], out
    lines = [json.loads(line) for line in run("audit", "--json", path=server.path)[0].splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3] and lines[1]["source"]["name"] == "sys-usb"
    out, _ = run("audit", "--verify", path=server.path)
    assert out.count("\n") == 1, out
    follower = subprocess.Popen(["qvm-device", "audit", "--follow"], executable=BIN / "qvm-device",
                                env={"QDB_SOCKET": server.path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    read_until(follower, "#3 detached")
    assert follower.poll() is None
    stop(follower)
    for row in [["audit", "x"], ["audit", "--verify", "--follow"], ["audit", "--answer"]]:
        run(*row, path=server.path, status=2)


def test_watch(server):
    watcher = watch(server)
    run("attach", "work", "sys-usb:1-2", path=server.path)
    said = read_until(watcher, "device-attach:usb")
    assert f"device-attach:usb work device=sys-usb:1-2:{STICK} options={{}}\n" in said, said
    server.device("sys-usb", 5, "5-1", "0001", "0002", "\x1b[2J", "\x1b[31m", "x", ["030101"])
    read_until(watcher, "device-added:usb sys-usb device=sys-usb:5-1:0001:0002:__2J:u030101\n")
    stop(watcher)


def test_answer(server):
    server.do("policy ask")
    said = run("attach", "work", "sys-usb:1-2", path=server.path, status=1)[1]
    assert "nobody is there to be asked: run qvm-device watch --answer" in said, said
    watcher = watch(server, "--answer")

    def ask(answers, status, expected):
        process = subprocess.Popen(["qvm-usb", "attach", "work", "sys-usb:1-2"], executable=BIN / "qvm-device",
                                   env={"QDB_SOCKET": server.path}, stderr=subprocess.PIPE, text=True)
        said = read_until(watcher, "attach it to work? [y/n] ")
        assert f"\nSanDisk Ultra Fit (sys-usb:1-2:{STICK}), by rule 50-test.policy:1\n" in said, said
        for answer in answers:
            watcher.stdin.write(answer + "\n")
            watcher.stdin.flush()
        with process:
            assert process.wait(PATIENCE) == status
            assert expected in process.stderr.read()

    ask(["n"], 1, "somebody was asked, and said no")
    ask(["maybe", "7", "", "x" * 1000, "y"], 0, "")  # what is no answer answers nothing
    assert "work (attached)" in run(path=server.path)[0]
    run("detach", "work", path=server.path)
    read_until(watcher, "device-detach:usb")  # what was shown before is read
    # its device goes while it is asked about: the question goes, and a late line answers nothing
    process = subprocess.Popen(["qvm-usb", "attach", "work", "sys-usb:1-2"], executable=BIN / "qvm-device",
                               env={"QDB_SOCKET": server.path}, stderr=subprocess.DEVNULL)
    read_until(watcher, "[y/n] ")
    server.do("unplug sys-usb 0")
    read_until(watcher, "not a question any more")
    watcher.stdin.write("y\n")
    watcher.stdin.flush()
    assert process.wait(PATIENCE) == 1
    assert watcher.poll() is None
    stop(watcher)
    assert "nobody is there" in run("attach", "work", "sys-usb:1-2.4", path=server.path, status=1)[1]


def test_answer_choice(server):  # two qubes want the same device: one line chooses
    watcher = watch(server, "--answer")
    run("assign", "-q", "--port", "work", "sys-usb:7-1", path=server.path)
    run("assign", "-q", "--port", "personal", "sys-usb:7-1", path=server.path)
    server.device("sys-usb", 5, "7-1", "0001", "0002", "S", "Maker", "Thing", ["080650"])
    said = read_until(watcher, "[1-2, or n for none] ")
    assert "  1) personal\n  2) work\n" in said, said
    watcher.stdin.write("3\n2\n")
    watcher.stdin.flush()
    read_until(watcher, "device-attach:usb work")
    assert "work (attached)" in run(path=server.path)[0]
    stop(watcher)


def test_sleep(server):
    run("attach", "work", "sys-usb:1-2", path=server.path)
    assert run("suspend", path=server.path, program="qvm-device") == ("", "")
    assert "(" not in run(path=server.path)[0]
    assert "going to sleep" in run("attach", "work", "sys-usb:1-2", path=server.path, status=1)[1]
    assert run("resume", "-v", path=server.path, program="qvm-device")[0] == "Attaching devices again: done\n"
    assert "work (attached)" in run(path=server.path)[0]
    run("resume", path=server.path, program="qvm-device")  # once more does no harm


def test_no_class(server):  # a command that is about no class stands where the class does
    for row in [["suspend"], ["usb", "suspend"], ["-v", "resume"], ["usb", "policy", "check"]]:
        run(*row, path=server.path, program="qvm-device", status=1 if "check" in row else 0)
    for row in [["attach", "work", "sys-usb:1-2"], ["policy"], ["suspend", "x"], ["usb", "frob"]]:
        run(*row, path=server.path, program="qvm-device", status=2)


def test_broker_ends(server):  # a watcher is told, and ends with the status of a missing broker
    watcher = watch(server, "--answer", stderr=subprocess.PIPE)
    server.stop()
    assert watcher.wait(PATIENCE) == 3
    assert "closed the connection" in watcher.stderr.read()
    watcher.stderr.close()
    watcher.stdin.close()
    watcher.stdout.close()


def test_terminal(server):
    main_end, terminal = pty.openpty()
    run("assign", "-q", "--port", "work", "sys-usb:9-9", path=server.path)
    subprocess.run(["qvm-usb", "list", "-s", "work"], executable=BIN / "qvm-device", env={"QDB_SOCKET": server.path},
                   stdout=terminal, check=True, timeout=10)
    os.close(terminal)
    said = os.read(main_end, 4096).decode()
    os.close(main_end)
    assert said == "BACKEND:DEVID  DESCRIPTION  USED BY\r\nsys-usb:9-9    any device   *work (auto-attach)\r\n", said


sys.exit(main(globals()))
