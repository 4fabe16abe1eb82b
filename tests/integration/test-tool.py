#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qvm-device's commands about what is stored, asked, audited and explained, against the real API server and core.

Needs BIN (where the programs are). Prints TAP.
"""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

sys.dont_write_bytecode = True
from admin_world import BIN, ROOT, call, main, run

PATIENCE = 30
STICK = "0781:5581:AB12:u080650"


def watch(server, *words, **more):
    """A watcher that hears all from now on: it shows no event before its streams are open, so one is made until it does."""
    process = subprocess.Popen(["qvm-device", "watch", *words], executable=BIN / "qvm-device",
                               env={"QDB_SOCKET": server.path}, stdout=subprocess.PIPE, text=True,
                               **{"stdin": subprocess.PIPE} | more)
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


def type_in(process, text):
    process.stdin.write(text)
    process.stdin.flush()


def stop(process):
    process.terminate()
    process.wait(PATIENCE)
    if process.stdin:
        process.stdin.close()
    process.stdout.close()


def attach(server, device):  # which asks
    return subprocess.Popen(["qvm-usb", "attach", "work", device], executable=BIN / "qvm-device",
                            env={"QDB_SOCKET": server.path}, stderr=subprocess.PIPE, text=True)


def ended(process, status, expected):
    with process:
        assert process.wait(PATIENCE) == status
        assert expected in process.stderr.read()


def test_label(server):  # shown where the description is, in front, where no device can put a text
    assert run("label", "sys-usb:1-2", path=server.path) == ("", "")
    watcher = watch(server)
    assert run("label", "sys-usb:1-2", "My 'bank' stick", path=server.path) == ("", "")
    assert "My 'bank' stick" in read_until(watcher, "stick")
    stop(watcher)
    assert run("label", "sys-usb:1-2", path=server.path) == ("My 'bank' stick\n", "")
    described = "My 'bank' stick (USB_Storage: SanDisk Ultra Fit)"
    listed = run("list", path=server.path)[0].splitlines()
    assert described in listed[1] and sum("bank" in line for line in listed) == 1, listed  # not the same stick in sys-usb2
    assert run("info", "sys-usb:1-2", path=server.path)[0].startswith(described)
    server.do("unplug sys-usb 0")
    server.device("sys-usb", 5, "3-1", "0781", "5581", "AB12", "SanDisk", "Ultra Fit", ["080650"])  # at another port
    assert run("label", "sys-usb:3-1", path=server.path)[0] == "My 'bank' stick\n"
    server.device("sys-usb", 6, "3-2", "1234", "5678", "", "(bank", "x", ["080650"])
    assert "USB_Storage: (bank x" in run("list", path=server.path)[0]
    for text in ["x" * 65, "\u202e", "a\\b", " x"]:
        assert run("label", "sys-usb:3-1", text, path=server.path, status=1)[1].startswith("Error: a label is 1 to 64 "), text
    assert run("label", "sys-usb:3-1", "", path=server.path) == ("", "")
    assert "bank'" not in run("list", path=server.path)[0]
    run("label", "sys-usb:3-1", "a", "b", path=server.path, status=2)


def test_status(server):  # what each stream moves, once or live
    assert run("status", path=server.path) == ("", "") and json.loads(run("status", "--json", path=server.path)[0]) == []
    run("attach", "-o", "max-time=30m", "work", "sys-usb:1-2", path=server.path)
    run("attach", "personal", "sys-usb:1-2.4", path=server.path)
    server.do("stream sys-usb 0 1 3145728 5120 1")
    server.do("stream sys-usb 0 2 3145000 5120 1")
    lines = run("status", path=server.path)[0].splitlines()
    assert [re.split("  +", line) for line in lines] == [
        ["personal", "sys-usb:1-2.4", "0s", "?", "?", "?", "Keyboard: unknown vendor unknown usb device"],
        ["work", "sys-usb:1-2", "0s", "29m", "3.0 MiB", "5.0 KiB", "yes", "USB_Storage: SanDisk Ultra Fit"]], lines
    assert run("status", "work", path=server.path)[0].count("\n") == 1 == run("status", "pers*", path=server.path)[0].count("\n")
    assert run("status", "sys-usb", path=server.path)[0].count("\n") == 2
    assert run("status", path=server.path, program="qvm-mic") == ("", "")
    streams = json.loads(run("status", "--json", "work", path=server.path)[0])
    assert streams[0].pop("left_seconds") in range(1790, 1800) and streams[0].pop("since_seconds") < 10
    assert streams == [{"class": "usb", "backend": "sys-usb", "port": "1-2", "qube": "work",
                        "muted": False, "by_backend": {"bytes_to_qube": 3145728, "bytes_from_qube": 5120, "in_use": True},
                        "by_qube": {"bytes_to_qube": 3145000, "bytes_from_qube": 5120, "in_use": True}}], streams
    def live(rows, columns):
        main_end, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = subprocess.Popen(["qvm-device", "status"], executable=BIN / "qvm-device", stdout=terminal, stderr=terminal,
                                   env={"QDB_SOCKET": server.path})
        os.close(terminal)
        return process, main_end

    process, main_end = live(4, 30)
    said = ""
    while "more" not in said:  # one of two fits, and no line is longer than the screen is wide
        assert select.select([main_end], [], [], PATIENCE)[0]
        said += os.read(main_end, 65536).decode()
    lines = re.sub(r"\x1b\[(2?J|H|K)", "", said).split("\r\n")
    assert [len(line) for line in lines[:2]] == [30, 30] and lines[2] == "and 1 more", lines
    process.kill()
    process.wait()
    os.close(main_end)
    process, main_end = live(24, 120)
    said, moved, began = "", 3145728, time.monotonic()
    while "MiB/s)" not in said:  # 1 MiB in each tenth of a second
        assert time.monotonic() - began < PATIENCE and process.poll() is None, said
        moved += 1 << 20
        server.do(f"stream sys-usb 0 1 {moved} 5120 0")
        if select.select([main_end], [], [], 0.1)[0]:
            said += os.read(main_end, 65536).decode()
    assert "QUBE" in said and re.search(r"MiB \(\d+\.\d MiB/s\)", said) and "5.0 KiB (0 B/s)" in said, said
    assert not re.search(r"[^\x20-\x7e\r\n]", re.sub(r"\x1b\[(2?J|H|K)", "", said)), said
    run("detach", "work", path=server.path)
    run("detach", "personal", path=server.path)
    while "nothing is attached" not in said:
        assert time.monotonic() - began < PATIENCE, said
        said += os.read(main_end, 65536).decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == -signal.SIGINT
    os.close(main_end)


def test_assign(server):
    out, _ = run("assign", "work", "sys-usb:1-2", path=server.path)
    assert out == "Assigned.\n", out
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
    said = run("assign", "--port", "later", "sys-usb:8-8", path=server.path)[1]  # it is listed by now, as halted
    assert said == "Warning: no qube later runs; the assignment waits for one of that name.\n", said
    assert run("assign", "-q", "later", "sys-usb:8-7:aaaa:bbbb:C:u080650", path=server.path)[1] == ""
    assert "choose another qube" in run("assign", "dom0", "sys-usb:1-2", path=server.path, status=1)[1]
    assert "*later (auto-attach)" in run("list", "-s", path=server.path)[0]
    assert run("unassign", "later", path=server.path) == ("", "")
    assert "later" not in run("list", "-s", path=server.path)[0]
    assert run("unassign", "--port", "personal", "sys-usb:9-9", path=server.path)[0] == \
        "Unassigned.\n"  # nothing is there that could be detached
    run("u", "--device", "-q", "personal", "sys-usb:1-2", path=server.path)
    assert run("unassign", "work", f"sys-usb:1-2:{STICK}", path=server.path)[0] == \
        "Unassigned. To detach it now: qvm-usb detach work sys-usb:1-2\n"
    assert "*" not in run("list", "-s", path=server.path)[0]
    assert run("unassign", "work", "sys-usb:1-2", path=server.path, status=1)[1] == \
        "qvm-usb: error: sys-usb:1-2 is not assigned to work in this way; look at: qvm-usb list --assignments work\n"
    for row in [["assign", "work"], ["assign", "--ask", "-r", "work", "sys-usb:1-2"],
                ["assign", "--port", "--device", "work", "sys-usb:1-2"], ["assign", "no name", "sys-usb:1-2"],
                ["assign", "-p", "work", "sys-usb:1-2"], ["unassign"], ["unassign", "--ask", "work", "sys-usb:1-2"],
                ["assign", "work", "sys-usb"], ["unassign", "nobody"]]:
        run(*row, path=server.path, status=2)
    assert run("assign", "work", "sys-usb:9-9", path=server.path, status=1)[1] == \
        "qvm-usb: error: backend vm sys-usb doesn't expose usb device '9-9'; look at: qvm-usb list sys-usb\n"
    assert "there is no option ro here" in run("assign", "-o", "ro=1", "work", "sys-usb:1-2", path=server.path, status=1)[1]


def test_unassign_unplugged(server):  # by its port, as it is listed
    def unassign(*words, status=0):
        return run("unassign", "work", *words, path=server.path, status=status)

    def listed():
        return re.findall(r"^(\S+) +(\S+|any device) +\*work", run("list", "-s", "work", path=server.path)[0], re.M)

    run("assign", "work", "sys-usb:1-2", path=server.path)
    run("assign", "--port", "work", "sys-usb:1-2", path=server.path)
    server.do("unplug sys-usb 0")
    assert unassign("sys-usb:1-2") == ("Unassigned.\n", "")
    assert listed() == [("sys-usb:1-2", "any device")]  # which was not named
    assert "is not assigned to work in this way" in unassign("sys-usb:1-2", status=1)[1]
    unassign("--port", "sys-usb:1-2")
    # another device is there now; two that are not; one of two that is
    ids = ["aaaa:bbbb:C:u080650", "aaaa:bbbb:D:u080650"]
    run("assign", "work", f"sys-usb:1-2:{ids[0]}", path=server.path)
    server.device("sys-usb", 0, "1-2", "0781", "5581", "AB12", "SanDisk", "Ultra Fit", ["080650"])
    unassign("sys-usb:1-2")
    assert listed() == []
    for name in ids:
        run("assign", "work", f"sys-usb:1-2:{name}", path=server.path)
    assert unassign("sys-usb:1-2", status=1)[1] == \
        "qvm-usb: error: several devices are assigned to work at sys-usb:1-2: name one as sys-usb:1-2:ID\n"
    run("assign", "work", "sys-usb:1-2", path=server.path)
    assert unassign("sys-usb:1-2")[0] == "Unassigned. To detach it now: qvm-usb detach work sys-usb:1-2\n"
    assert sorted(listed()) == [("sys-usb:1-2", name) for name in ids]
    unassign(f"sys-usb:1-2:{ids[0]}")
    server.do("halt sys-usb")  # nor need the device's qube be there
    unassign("sys-usb:1-2")
    assert listed() == []


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
    assert run("deny", "work", "u03", "u08****", path=server.path, program="qvm-device") == ("", "")
    assert run("deny", "work", path=server.path)[0] == "u03****\nu08****\n"
    said = run("attach", "work", "sys-usb:1-2", path=server.path, status=1)[1]
    assert said == "Error: denied by deny list of work: u08****; why: qvm-device policy explain work sys-usb:1-2\n", said
    run("allow", "work", "u08", path=server.path, program="qvm-device")
    run("attach", "work", "sys-usb:1-2", path=server.path)
    run("allow", "work", "all", path=server.path, program="qvm-device")
    assert run("deny", "work", path=server.path) == ("", "")
    assert run("allow", "work", "u08", path=server.path, status=1)[1] == \
        "Error: u08**** is not in the deny list of work\n"
    for _ in range(2):  # nobody knows it; then it is known as halted
        assert run("deny", "wrok", "u03", path=server.path)[1] == \
            "Warning: no qube wrok runs; the deny list waits for one of that name.\n"
    assert run("deny", "wrok", path=server.path) == ("u03****\n", "")
    assert run("allow", "wrok", "u03", path=server.path) == ("", "")
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


def test_tree(server):  # another server's devices, some of which are parts of others
    line = "available {0}:x device_id='x' port_id='{0}' devclass='{1}' backend_domain='sys-usb'{2}\n"
    part = " parent_port_id='{}' parent_devclass='{}'"
    snapshot = "qube sys-usb class=AppVM state=Running\n" + "".join(line.format(*of) for of in [
        ("sda", "block", part.format("2-1", "usb")), ("sda1", "block", part.format("sda", "block")),
        ("2-1", "usb", ""), ("1-1", "usb", ""), ("sdb", "block", part.format("9-9", "usb"))])
    path = server.directory + "/tree.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(4)

        def answer():
            for _ in range(2):
                with listener.accept()[0] as connection:
                    while connection.recv(4096):
                        pass
                    connection.sendall(b"0\0" + snapshot.encode())

        threading.Thread(target=answer, daemon=True).start()
        out, _ = run("list", path=path, program="qvm-device")
        assert [row.split("  USB")[0].rstrip() for row in out.splitlines()] == [
            "sys-usb:1-1", "sys-usb:2-1", "  sys-usb:sda", "    sys-usb:sda1", "sys-usb:sdb"], out
        rows = json.loads(run("list", "--json", path=path, program="qvm-device")[0])
    assert [(row["port"], row["parent_class"], row["parent_port"]) for row in rows] == [
        ("1-1", None, None), ("2-1", None, None), ("sda", "usb", "2-1"), ("sda1", "block", "sda"), ("sdb", "usb", "9-9")]


def test_audit(server):
    out, _ = run("audit", path=server.path, program="qvm-device")
    assert out.splitlines() == [
        "2026-11-23T18:04:09.123456Z  #1 policy-loaded",
        "2026-11-23T18:04:10.123456Z  #2 attach-request  sys-usb:1-2 (0781:5581:A_[2J:u080650) -> work  by uid 1000"
        " for sys-gui  rule 50-test.policy:1",
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
        process = attach(server, "sys-usb:1-2")
        for answer in answers:
            said = read_until(watcher, "attach it to work? [y/n] ")
            assert f"\nSanDisk Ultra Fit (sys-usb:1-2:{STICK}), by rule 50-test.policy:1\n" in said, said
            type_in(watcher, answer + "\n")
        ended(process, status, expected)

    ask(["n"], 1, "somebody was asked, and said no")
    # what is no answer answers nothing; nor does the end of a line that is too long
    ask(["maybe", "7", "", "x" * 1000, "x" * 128 + "y", "y"], 0, "")
    assert "work (attached)" in run(path=server.path)[0]
    run("detach", "work", path=server.path)
    read_until(watcher, "device-detach:usb")  # what was shown before is read
    # its device goes while it is asked about: the question goes, and a late line answers nothing
    process = attach(server, "sys-usb:1-2")
    read_until(watcher, "[y/n] ")
    server.do("unplug sys-usb 0")
    read_until(watcher, "not a question any more")
    type_in(watcher, "y\n")
    ended(process, 1, "")
    assert watcher.poll() is None
    stop(watcher)
    assert "nobody is there" in run("attach", "work", "sys-usb:1-2.4", path=server.path, status=1)[1]


def two_questions(server, watcher):  # the first is on the screen, the other waits
    first = attach(server, "sys-usb:1-2")
    read_until(watcher, "[y/n] ")
    second = attach(server, "sys-usb2:1-2")
    read_until(watcher, "device-ask:usb sys-usb2")
    time.sleep(0.2)
    return first, second


def test_answer_late(server):  # the question ends by itself, and the line that was meant for it comes: not for the next one
    server.do("policy ask")
    watcher = watch(server, "--answer")
    first, second = two_questions(server, watcher)
    since = time.monotonic()
    server.do("unplug sys-usb 0")
    read_until(watcher, "not a question any more")
    type_in(watcher, "y\n")
    time.sleep(0.2)
    type_in(watcher, "y\nmore of")  # and the beginning of a line is as late as the line
    ended(first, 1, "")
    read_until(watcher, "attach it to work? [y/n] ")
    assert time.monotonic() - since > 1
    type_in(watcher, "y\n")
    read_until(watcher, "attach it to work? [y/n] ")
    assert second.poll() is None and "(attached)" not in run(path=server.path)[0]
    type_in(watcher, "n\n")
    ended(second, 1, "somebody was asked, and said no")
    # one that comes while nothing that is typed counts is shown later as well
    server.device("sys-usb", 0, "1-2", "0781", "5581", "AB12", "SanDisk", "Ultra Fit", ["080650"])
    first = attach(server, "sys-usb:1-2")
    read_until(watcher, "[y/n] ")
    since = time.monotonic()
    server.do("unplug sys-usb 0")
    read_until(watcher, "not a question any more")
    second = attach(server, "sys-usb2:1-2")
    ended(first, 1, "")
    read_until(watcher, "attach it to work? [y/n] ")
    assert time.monotonic() - since > 1
    type_in(watcher, "n\n")
    ended(second, 1, "somebody was asked, and said no")
    stop(watcher)


def test_answer_once(server):  # two lines at once: the second answers nothing
    server.do("policy ask")
    watcher = watch(server, "--answer")
    first, second = two_questions(server, watcher)
    type_in(watcher, "y\ny\n")
    ended(first, 0, "")
    read_until(watcher, "attach it to work? [y/n] ")
    type_in(watcher, "n\ny\n")
    ended(second, 1, "somebody was asked, and said no")
    # lines that came while no question was there
    run("detach", "work", path=server.path)
    watcher.send_signal(signal.SIGSTOP)
    type_in(watcher, "y\n" * 1000)
    first = attach(server, "sys-usb:1-2")
    time.sleep(0.2)
    watcher.send_signal(signal.SIGCONT)
    read_until(watcher, "attach it to work? [y/n] ")
    type_in(watcher, "n\n")
    ended(first, 1, "somebody was asked, and said no")
    stop(watcher)


def test_answer_on_terminal(server):  # which holds what was typed, line by line
    server.do("policy ask")
    keys, terminal = pty.openpty()
    watcher = watch(server, "--answer", stdin=terminal)
    os.close(terminal)
    first, second = two_questions(server, watcher)
    os.write(keys, b"y\ny\n")
    ended(first, 0, "")
    read_until(watcher, "attach it to work? [y/n] ")
    assert second.poll() is None
    run("detach", "work", path=server.path)
    server.do("unplug sys-usb2 0")
    read_until(watcher, "not a question any more")
    ended(second, 1, "")
    time.sleep(1.2)
    os.write(keys, b"y")  # not yet a line
    first = attach(server, "sys-usb:1-2")
    read_until(watcher, "attach it to work? [y/n] ")
    os.write(keys, b"\n")
    read_until(watcher, "attach it to work? [y/n] ")
    os.write(keys, b"n\n")
    ended(first, 1, "somebody was asked, and said no")
    stop(watcher)
    os.close(keys)


def test_answer_input_ends(server):  # nobody can answer any more: the broker hears so, and the watcher goes on
    server.do("policy ask")
    watcher = watch(server, "--answer", stderr=subprocess.PIPE)
    process = attach(server, "sys-usb:1-2")
    read_until(watcher, "[y/n] ")
    watcher.stdin.close()
    ended(process, 1, "nobody")
    assert "nobody is there" in run("attach", "work", "sys-usb:1-2", path=server.path, status=1)[1]
    server.do("policy allow")
    run("attach", "work", "sys-usb:1-2", path=server.path)
    read_until(watcher, "device-attach:usb work")
    watcher.terminate()
    with watcher:
        assert "answered here any more" in watcher.stderr.read()


def test_answer_choice(server):  # two qubes want the same device: one line chooses
    watcher = watch(server, "--answer")
    run("assign", "-q", "--port", "work", "sys-usb:7-1", path=server.path)
    run("assign", "-q", "--port", "personal", "sys-usb:7-1", path=server.path)
    server.device("sys-usb", 5, "7-1", "0001", "0002", "S", "Maker", "Thing", ["080650"])
    said = read_until(watcher, "[1-2, or n for none] ")
    assert "  1) personal\n  2) work\n" in said, said
    type_in(watcher, "3\n")
    read_until(watcher, "[1-2, or n for none] ")
    type_in(watcher, "2\n")
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
    said = watcher.stderr.read()
    assert "closed the connection" in said, said
    watcher.stderr.close()
    watcher.stdin.close()
    watcher.stdout.close()


def test_statuses(server):  # of each command each that it can have; 3 of all
    rows = {  # what ends with 0, with 1, with 2; None: nothing does
        "list": ([], None, ["nobody"]), "attach": (["work", "sys-usb:1-2"], ["work", "sys-usb:1-2"], ["work"]),
        "info": (["sys-usb:1-2"], ["sys-usb:9-9"], ["sys-usb"]), "label": (["sys-usb:1-2", "x"], ["sys-usb:1-2", " "], []),
        "move": (["personal", "sys-usb:1-2"], ["dom0", "sys-usb:1-2"], []),
        "mute": (None, ["personal", "sys-usb:1-2"], ["personal"]), "unmute": (None, ["personal", "sys-usb:1-2"], ["personal"]),
        "detach": (["personal", "sys-usb:1-2"], ["personal", "sys-usb:1-2"], ["nobody"]),
        "assign": (["--ask", "work", "sys-usb:1-2"], ["work", "sys-usb:1-2"], ["no name", "sys-usb:1-2"]),
        "unassign": (["work", "sys-usb:1-2"], ["work", "sys-usb:1-2"], ["--port", "--device", "work", "sys-usb:1-2"]),
        "status": ([], None, ["nobody"]), "deny": (["work", "u03"], ["work", "U03"], ["work", ""]), "allow": (["work", "u03"], ["work", "u03"], ["work"]),
        "policy": (["explain", "work", "sys-usb:1-2"], ["check"], ["chek"]), "audit": ([], None, ["--verify", "--follow"]),
        "watch": (None, None, ["x"]), "suspend": ([], None, ["x"]), "resume": ([], None, ["x"]),
    }
    assert set(rows) == set(re.findall(r"^  ([a-z]+)", run("--help", path=server.path)[0].split("options:")[0], re.M))
    for command, words_of in rows.items():
        for status, words in enumerate(words_of):
            if words is not None:
                out, said = run(command, *words, path=server.path, status=status)
                assert bool(said) == bool(status) or command == "policy", (command, said)
        said = run(command, *(words_of[0] or (words_of[1] if words_of[1] and words_of[0] is None else [])), path="/nonexistent", status=3)[1]
        assert "does not run: nothing listens at /nonexistent.\nLook at: systemctl status" in said, said


def test_errors(server):  # each says the cause and what may help
    run("attach", "work", "sys-usb2:1-2", path=server.path)
    for program, line, status, text in [
        ("qvm-usb", "lst", 2, "invalid choice: 'lst' (did you mean list?)"),
        ("qvm-usb", "dettach work", 2, "invalid choice: 'dettach' (did you mean detach?)"),
        ("qvm-usb", "frobnicate", 2, "(choose from list, attach, detach,"),
        ("qvm-device", "usb polcy check", 2, "(did you mean policy?)"),
        ("qvm-usb", "list --asignments", 2, "unrecognized arguments: --asignments (did you mean --assignments?)"),
        ("qvm-usb", "list --ask", 2, "unrecognized arguments: --ask (an option of assign, after that word)"),
        ("qvm-usb", "--ro attach work sys-usb:1-2", 2, "--ro (an option of attach, move, assign, after that word)"),
        ("qvm-usb", "attach wrok sys-usb:1-2", 2, "no such domain: 'wrok' (did you mean work?)"),
        ("qvm-usb", "attach vault sys-usb:1-2", 2, "no such domain: 'vault' (is it running?)"),
        ("qvm-usb", "attach work sys-ubs:1-2", 1, "no such backend vm: 'sys-ubs' (did you mean sys-usb?)"),
        ("qvm-device", "usb info sys-usb:9-9", 1, "doesn't expose usb device '9-9'; look at: qvm-device usb list sys-usb"),
        ("qvm-usb", "info sys-usb:1-2:aaaa:bbbb:C:u080650", 1, "another device is at sys-usb:1-2 now; look at: qvm-usb info sys-usb:1-2"),
        ("qvm-usb", "attach work sys-usb:1-2 -o readonly", 2, "--option/-o: expected KEY=VALUE, got readonly"),
        ("qvm-usb", "attach work sys-usb:1-2 -o", 2, "argument -o: expected one argument"),
        ("qvm-usb", "attach work sys-usb:1-2 -o ==x", 2, "expected KEY=VALUE, got ==x"),
        ("qvm-usb", "attach work sys-usb:1-2 -o max-time=0s", 1, "as in 90s, 30m, 2h"),
        ("qvm-usb", "attach work sys-usb:1-2 -o max-time=-1", 1, "as in 90s, 30m, 2h"),
        ("qvm-usb", "attach work sys-usb:1-2 -o follow-port=maybe", 1, "leave it out"),
        ("qvm-usb", "attach work 1-2", 2, "expected a backend vm, port id and [optional] device id combination like"),
        ("qvm-usb", "attach work", 2, "the following arguments are required: VM BACKEND:PORT[:ID]"),
        ("qvm-usb", "attach personal sys-usb2:1-2", 1, "is in use by work: detach it there first (qvm-usb detach work sys-usb2:1-2)"),
        ("qvm-device", "usb move personal sys-usb:1-2", 1, "attach it (qvm-device usb attach personal sys-usb:1-2)"),
        ("qvm-device", "usb unassign work sys-usb:1-2", 1, "look at: qvm-device usb list --assignments work"),
        ("qvm-usb", "watch --answer --json", 2, "argument --answer: not allowed with argument --json"),
        ("qvm-usb", "allow work u03", 1, "u03**** is not in the deny list of work"),
    ]:
        out, said = run(*line.split(), path=server.path, program=program, status=status)
        assert text in said and not out, (line, out, said)
        assert said.startswith("usage: " if status == 2 else ("Error: ", f"{program}: error: ")), said
    server.do("halt personal")
    run("assign", "-q", "--port", "personal", "sys-usb:9-9", path=server.path)
    said = run("attach", "personal", "sys-usb:1-2", path=server.path, status=1)[1]
    assert "not running" in said and "assign" in said, said
    run("assign", "work", "sys-usb:1-2", path=server.path)
    out, _ = run("usb", "unassign", "work", "sys-usb:1-2", path=server.path, program="qvm-device")
    assert out == "Unassigned. To detach it now: qvm-device usb detach work sys-usb:1-2\n", out
    run(*out.split(": ")[1].split()[1:], path=server.path, program="qvm-device")  # and that works


def test_full_disk(server):  # what could not be written is said
    for words in [["list"], ["list", "--json"], ["audit", "--json"], ["--list-device-classes"], ["attach", "--json", "work", "sys-usb:1-2"]]:
        with open("/dev/full", "w") as full:
            done = subprocess.run(["qvm-usb", *words], executable=BIN / "qvm-device", env={"QDB_SOCKET": server.path}, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        assert done.returncode == 1 and "could not be written (" in done.stderr, done


CAMERA, MIC = "sys-usb:webcam-0123abcd", "sys-usb:mic-0123abcd"
CAMERA_ID, MIC_ID = "046d:0825:S1:u0e0100", "046d:0825:S1:m000000"


def add_camera(server, parent="1-2", mic_parent="1-2"):
    server.part("sys-usb", 9, "webcam", "webcam-0123abcd", parent, "046d", "0825", "S1", "HD Webcam C310")
    if mic_parent:
        server.part("sys-usb", 10, "mic", "mic-0123abcd", mic_parent, "046d", "0825", "S1", "HD Webcam C310")


def camera(server, *words, program="qvm-webcam", **more):
    return run(*words, program=program, path=server.path, **more)


def users(server):  # of the camera and of its microphone
    listed = [json.loads(camera(server, "list", "--json", program=name)[0]) for name in ("qvm-webcam", "qvm-mic")]
    return [device["used_by"] for devices in listed for device in devices]


def test_camera(server):  # shown as a part, in use, muted, and with what was asked of it
    add_camera(server)
    assert camera(server)[0] == f"{CAMERA}  Camera: HD Webcam C310\n"
    listed = camera(server, "list", "sys-usb", program="qvm-device")[0]
    assert re.sub(" +", " ", listed).splitlines()[:3] == [
        "sys-usb:1-2 USB_Storage: SanDisk Ultra Fit", f" {MIC} Microphone: HD Webcam C310", f" {CAMERA} Camera: HD Webcam C310"], listed
    assert camera(server, "attach", "-v", "-o", "size=1280x720", "-o", "fps=30", "work", CAMERA) == (
        f"Attaching {CAMERA} to work: done\n", "")
    assert camera(server)[0] == f"{CAMERA}  Camera: HD Webcam C310  work (attached)\n"
    server.do("stream sys-usb 9 1 41472000 100 1")
    status = camera(server, "status")[0]
    assert re.sub(" +", " ", status) == f"work {CAMERA} 0s 39.6 MiB 100 B yes Camera: HD Webcam C310\n", status
    assert camera(server, "info", CAMERA)[0] == (
        f"Camera: HD Webcam C310\ndevice ID: {CAMERA_ID}\nused by: work\noptions: size=1280x720, fps=30\n")
    camera(server, "mute", "work", CAMERA)
    assert "work (attached, muted)" in camera(server)[0] and " muted " in camera(server, "status")[0]
    assert "used by: work\nmuted: yes\n" in camera(server, "info", CAMERA)[0]
    for words in [["list"], ["info", CAMERA]]:
        shown = json.loads(camera(server, *words, "--json")[0])
        shown = shown[0] if words == ["list"] else shown
        assert (shown["muted"], shown["options"], shown["parent_port"]) == (True, "size=1280x720, fps=30", "1-2"), shown
    camera(server, "unmute", "work", CAMERA)
    camera(server, "move", "-o", "fps=15", "personal", CAMERA)
    assert "used by: personal\noptions: fps=15\n" in camera(server, "info", CAMERA)[0]
    assert "its camera webcam-0123abcd is in use by personal" in run("attach", "work", "sys-usb:1-2", path=server.path, status=1)[1]
    camera(server, "detach", "personal")
    camera(server, "assign", "-q", "-o", "size=640x480", "work", CAMERA)
    assert "*work (auto-attach: size=640x480)" in camera(server, "list", "-s")[0]
    assert json.loads(camera(server, "list", "-s", "--json")[0])[1]["options"] == "size=640x480"
    assert "options: size=640x480\n" in camera(server, "info", CAMERA)[0]


def test_camera_controls(server):  # as they were said, and all of them at once
    add_camera(server)
    words = [word for name in ("brightness", "contrast", "saturation", "sharpness") for word in ("-o", f"{name}=100")]
    shown = "brightness=100, contrast=100, saturation=100, sharpness=100"
    camera(server, "attach", "-o", "power-line=60", "-o", "brightness=0", "work", CAMERA)
    assert "used by: work\noptions: brightness=0, power-line=60\n" in camera(server, "info", CAMERA)[0]
    camera(server, "move", *words, "personal", CAMERA)
    assert f"used by: personal\noptions: {shown}\n" in camera(server, "info", CAMERA)[0]
    camera(server, "detach", "personal")
    camera(server, "assign", "-q", "-o", "max-time=168h", "-o", "follow-port=yes", "-o", "size=4096x4096", "-o", "fps=120", *words,
           "-o", "power-line=off", "work", CAMERA)
    shown = f"follow-port=yes, max-time=168h, size=4096x4096, fps=120, {shown}, power-line=off"
    assert f"(auto-attach: {shown})" in camera(server, "list", "-s")[0]
    assert json.loads(camera(server, "list", "-s", "--json")[0])[1]["options"] == shown


def test_camera_options(server):  # of cameras only, and of the form that is wanted
    add_camera(server)
    size = "option size must be WIDTHxHEIGHT in pixels, as in 1280x720: even numbers from 16 to 4096, not "
    fps = "option fps must be a whole number of pictures a second, from 1 to 120, not "
    names = "max-time, size, fps, brightness, contrast, saturation, sharpness and power-line"
    for program, line, text in [
        ("qvm-webcam", f"attach -o size=1281x720 work {CAMERA}", size + "1281x720"),
        ("qvm-webcam", f"assign -o size=big work {CAMERA}", size + "big"),
        ("qvm-webcam", f"attach -o fps=121 work {CAMERA}", fps + "121"),
        ("qvm-webcam", f"attach -o rate=3 work {CAMERA}", f"there is no option rate here, only {names}: leave it out"),
        ("qvm-usb", "attach -o size=1280x720 work sys-usb:1-2", "option size is for cameras only: leave it out"),
        ("qvm-webcam", f"attach -o brightness=101 work {CAMERA}", "option brightness must be a whole number of per cent, from 0 to 100, not 101"),
        ("qvm-webcam", f"assign -o power-line=on work {CAMERA}", "option power-line must be 50, 60 or off, not on"),
        ("qvm-mic", f"attach -o contrast=5 work {MIC}", "option contrast is for cameras only: leave it out"),
        ("qvm-mic", f"attach -o fps=30 work {MIC}", "option fps is for cameras only: leave it out"),
    ]:
        assert run(*line.split(), path=server.path, program=program, status=1) == ("", f"Error: {text}\n"), line
    assert users(server) == [None, None]


def test_with_mic(server):
    add_camera(server)
    server.part("sys-usb", 11, "mic", "mic-76543210", "1-3", "046d", "0825", "S2", "Another")
    server.part("sys-usb2", 9, "mic", "mic-0123abce", "1-2", "046d", "0825", "S2", "Another")
    words = ["attach", "-v", "--with-mic", "-o", "size=1280x720", "-o", "max-time=1h", "-o", "fps=30", "-o", "sharpness=5", "work", CAMERA]
    assert camera(server, *words) == (f"Attaching {CAMERA} to work: done\nAttaching {MIC} to work: done\n", "")
    assert sorted(users(server), key=str) == [None, None, "work", "work"]
    assert "options: max-time=1h, size=1280x720, fps=30, sharpness=5\n" in camera(server, "info", CAMERA)[0]
    assert "options: max-time=1h\n" in camera(server, "info", MIC, program="qvm-mic")[0]
    assert camera(server, *words, status=1)[1].startswith(f"qvm-webcam: error: the microphone of {CAMERA}, mic-0123abcd, is attached to work;")
    camera(server, "detach", "work")
    camera(server, "detach", "work", program="qvm-mic")
    done = camera(server, "webcam", "attach", "--with-mic", "--json", "personal", CAMERA, program="qvm-device")
    lines = [json.loads(line) for line in done[0].splitlines()]
    assert [(line["class"], line["port"], line["device_id"], line["qube"], line["done"]) for line in lines] == [
        ("webcam", "webcam-0123abcd", CAMERA_ID, "personal", True), ("mic", "mic-0123abcd", MIC_ID, "personal", True)] and not done[1]


def test_with_mic_unanswered(server):  # the broker ends between the two
    add_camera(server)
    path = server.directory + "/relay.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)

        def relay():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                with connection:
                    request = b""
                    while data := connection.recv(65536):
                        request += data
                    if not request.startswith(b"admin.vm.device.mic.Attach"):
                        connection.sendall(call(server.path, request))

        thread = threading.Thread(target=relay)
        thread.start()
        out, said = run("attach", "--with-mic", "--json", "work", CAMERA, program="qvm-webcam", path=path, status=3)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
    assert [json.loads(line)["done"] for line in out.splitlines()] == [True, None], out
    assert said.endswith(f"qvm-webcam: error: {CAMERA} is attached to work; whether its microphone, {MIC}, is too is not known\n"), said


def test_with_mic_refused(server):  # before anything was attached, where that can be seen
    usage = "argument --with-mic: for cameras only (qvm-webcam attach)\n"
    assert run("attach", "--with-mic", "work", "sys-usb:1-2", path=server.path, status=2)[1].endswith(usage)
    assert camera(server, "attach", "--with-mic", "work", MIC, program="qvm-mic", status=2)[1].endswith(usage)
    none = f"qvm-webcam: error: {CAMERA} has no microphone that sys-usb knows of; nothing was attached: leave --with-mic out\n"
    for parent, mic_parent in [(None, None), (None, "1-2"), ("1-2", None), ("1-2", "1-3"), ("1-2", "1-2.4")]:
        add_camera(server, parent, mic_parent)
        assert camera(server, "attach", "--with-mic", "work", CAMERA, status=1) == ("", none), (parent, mic_parent)
        server.do("unplug sys-usb 9")
        if mic_parent:
            server.do("unplug sys-usb 10")
    add_camera(server)
    camera(server, "attach", "personal", MIC, program="qvm-mic")
    assert camera(server, "attach", "--with-mic", "work", CAMERA, status=1) == (
        "", f"qvm-webcam: error: the microphone of {CAMERA}, mic-0123abcd, is attached to personal; nothing was attached: leave "
        f"--with-mic out, or detach it first (qvm-mic detach personal {MIC})\n")
    camera(server, "detach", "personal", program="qvm-mic")
    server.part("sys-usb", 11, "mic", "mic-76543210", "1-2", "046d", "0825", "S1", "HD Webcam C310")
    assert camera(server, "attach", "--with-mic", "--json", "work", CAMERA, status=1) == (
        "", f"qvm-webcam: error: {CAMERA} has more than one microphone, mic-0123abcd and mic-76543210; nothing was attached: "
        "attach each by itself (qvm-mic attach)\n")
    assert users(server) == [None, None, None]
    server.do("unplug sys-usb 11")
    run("deny", "work", "m", path=server.path)  # what cannot be seen before: the camera stays
    said = f"denied by deny list of work: m******; why: qvm-device policy explain work {MIC}"
    both = f"qvm-webcam: error: {CAMERA} is attached to work, but its microphone, {MIC}, is not\n"
    assert camera(server, "attach", "--with-mic", "work", CAMERA, status=1) == ("", f"Error: {said}\n{both}")
    assert users(server) == ["work", None]
    camera(server, "detach", "work")
    out, errors = camera(server, "attach", "--with-mic", "--json", "work", CAMERA, status=1)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["class"], line["done"], line["error"]) for line in lines] == [("webcam", True, None), ("mic", False, said)], out
    assert errors == f"Error: {said}\n{both}"
    camera(server, "detach", "work")
    run("deny", "work", "u0e", path=server.path)  # and when the camera is refused the microphone is not tried
    out, errors = camera(server, "attach", "--with-mic", "--json", "work", CAMERA, status=1)
    assert len(out.splitlines()) == 1 and "deny list of work: u0e****" in errors and "microphone" not in errors
    assert users(server) == [None, None]


def test_names(server):  # as they are installed: the name has the class
    root = f"{server.directory}/root"
    subprocess.run(["make", "-s", "-C", ROOT, "-o", "all", "install-dom0", f"CONFIG={BIN.parent.name}",
                    f"BUILD={BIN.parent.parent}", f"DESTDIR={root}"], check=True, env={"PATH": os.environ["PATH"]})
    stick = "sys-usb:1-2    USB_Storage: SanDisk Ultra Fit\n"
    for name, listed in [("qvm-usb", stick), ("qvm-mic", ""), ("qvm-speaker", ""), ("qvm-webcam", "")]:
        done = subprocess.run([f"{root}/usr/bin/{name}", "--socket", server.path, "list", "sys-usb"], capture_output=True,
                              text=True, timeout=PATIENCE)
        assert done.returncode == 0 and done.stdout.startswith(listed) and bool(done.stdout) == bool(listed), (name, done)
        assert run(program=name, path=server.path)[0].startswith(listed and "sys-usb2"), name
        out, said = run("usb", "list", program=name, path=server.path, status=2)
        assert said.startswith(f"usage: {name} [-h]") and "CLASS" not in said, said
        page = pathlib.Path(f"{root}/usr/share/man/man1/{name}.1").read_text()
        assert (pathlib.Path(root) / "usr/share/man" / page.split()[1]).exists(), page
        assert name in pathlib.Path(f"{root}/usr/share/man/man1/qvm-device.1").read_text()
        for script in [f"bash-completion/completions/{name}", f"fish/vendor_completions.d/{name}.fish",
                       "zsh/vendor-completions/_qvm-device"]:
            assert name in pathlib.Path(f"{root}/usr/share/{script}").read_text(), script
    run("attach", "work", "dom0:mic", program="qvm-mic", path=server.path, status=1)


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
