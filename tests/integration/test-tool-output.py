#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What qvm-device prints when whoever answers it says the worst: a server is played here that sends the escape corpus raw
in every text of every reply (the real broker makes texts safe before). Also the forms of --json, against the real one.
Needs BIN (where the programs are). Prints TAP. Hostile cases: CL11, CL12."""
import contextlib
import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from admin_world import BIN, ROOT, main, run

STICK = "0781:5581:AB12:u080650"
# Each text has MARK early, so that it is seen whether it was shown at all, however it was cut.
MARK = b"evil"
CORPUS = [
    MARK + b"\x1b[2J\x1b]52;c;QUFB\x07\x1bP+q\x1b\\\x1b[31m\x1b[?1049h\x1bc",  # ANSI, OSC 52, DCS
    MARK + b"\xc2\x9b31m\x9b31m\x90q\x9c\xc2\x85\x7f\x08\x07\rover\x0b\x0c\x0e",  # C1 in both forms, C0
    MARK + "\u202eevil\u2066\u2069\u200b\u200d\ufeff\u00ad\u2028\U0001f4a9\u0430".encode(),  # bidi, zero width, look-alikes
    MARK + b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe2\x80",  # no UTF-8
    MARK + b"'; $(id) `id` \" \\ %s%n%99999d {\"a\": \"\\u001b\"}",
    MARK + b"\nevil\n\tevil: x='y' attachment='dom0' evil\n",
    MARK * 16384 + b"\x1b[2J",  # 64 KiB
]
HONEST = (f"device_id='{STICK}' port_id='1-1' devclass='usb' backend_domain='sys-usb'").encode()


def quoted(text):  # as one who keeps to the grammar would send it
    return text.replace(b"\n", b" ").replace(b"'", b"\\'")


class Liar:
    """Answers every call in the right form, with `text` wherever a text goes, and refuses what changes something if told so."""

    def __init__(self, path):
        self.path, self.text, self.refuses, self.old = path, b"", False, False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection = self.listener.accept()[0]
            connection.settimeout(10)
            with connection, contextlib.suppress(OSError):
                request = b""
                while data := connection.recv(65536):
                    request += data
                head = request.split(b"\0")[0].split(b" ")
                method, _, argument = head[0].decode().partition("+")
                connection.sendall(self.answer(method, argument, head[-1].decode(errors="replace")))

    def answer(self, method, argument, dest):
        raw, good = self.text, quoted(self.text)
        last = method.rpartition(".")[2]
        texts = b" ".join(key + b"='" + good[:100] + b"'" for key in
                          [b"manufacturer", b"name", b"serial", b"interfaces", b"attachment", b"_state", b"_label", b"_muted", b"parent_port_id", b"parent_devclass", b"_" + good[:20]])
        reads = {
            "admin.vm.List": b"sys-usb class=AppVM state=Running\nwork class=AppVM state=Running\n" + raw + b" x\n",
            "admin.deviceclass.List": raw,
            "admin.vm.device.denied.List": raw,
            "device.policy.Check": (b"broken: " if self.refuses else b"good: 1 rules\nwarning: ") + raw,
            "device.policy.Explain": b"deny by " + raw + b"\n  " + raw,
            "device.audit.Verify": raw,
        }
        if method == "device.Snapshot":  # an older server closes
            lines = [(b"qube", "admin.vm.List", ""), (b"available", "Available", "sys-usb"), (b"attached", "Attached", "work"), (b"assigned", "Assigned", "work")]
            stream = (b"stream sys-usb:1-1 devclass='usb' frontend_domain='work' since='1'", b" source-at-usec='1'")
            return b"" if self.old else b"0\0broker policy='" + good + b"'\n" + b"".join(
                kind + b" " + line + b"\n" for kind, name, of in lines
                for line in self.answer(name, "", of)[2:].split(b"\n")) + (
                    stream[0] + b"\n" + stream[0] + stream[1] + b" source-in-use='" + good[:20] + b"'\n" + stream[0] +
                    b" _" + good[:20] + b"='" + good[:60] + b"'" + stream[1] + b"\nstream sys-usb:" + good[:20] +
                    b" frontend_domain='work'\nstream sys-usb:1-2 frontend_domain='" + good[:30] + b"'\n") + raw + b"\n"
        if self.refuses and (method not in reads or method in ("device.audit.Verify", "admin.deviceclass.List")) and \
                last not in ("Available", "Attached", "Assigned", "Events", "Listen", "Read"):
            return b"2\0" + raw + b"\0" + raw + b"\0" + raw + b" %s %d %%\0" + raw + b"\0"
        if method in reads:
            return b"0\0" + reads[method]
        if last == "Available":
            if dest != "sys-usb":
                return b"0\0"
            honest = HONEST.replace(b"'usb'", b"'" + (method.split(".")[3:4] or ["usb"])[0].encode() + b"'")
            bad = honest.replace(b"1-1", good[:20])
            return (b"0\0" + b"1-1:x " + honest + b" " + texts + b"\n" + b"x " + bad + b" " + texts + b"\n" +
                    b"x " + honest + b" name='" + raw + b"'\n" + raw + b"\n")
        if last in ("Attached", "Assigned"):
            more = b" mode='auto-attach' frontend_domain='" + dest.encode() + b"' _" + good[:20] + b"='" + good[:60] + b"'\n"
            hostile = b"sys-usb+" + (b"1-3:" + good[:60].replace(b" ", b"") if last == "Attached" else good) + b" "
            return (b"0\0sys-usb+1-1:" + STICK.encode() + b" " + HONEST + more +
                    hostile + HONEST.replace(b"1-1", good[:20]) + more + raw + b"\n")
        if last == "Read":
            if argument != "0":
                return b"0\0"
            record = {"seq": 1, "ts": "T", "event": "T", "port": "T", "source": {"name": "T"}, "outcome": ["T", {"T": None}]}
            lines = [json.dumps(record).replace("T", json.dumps(raw[:200].decode("latin-1"))[1:-1]).encode(),
                     json.dumps(record | {"seq": 2}).encode().replace(b"T", good[:200].replace(b"\\", b"").replace(b'"', b"")),
                     b'{"seq": 3, "event": \'' + raw + b"'}"]
            return b"0\0" + b"\n".join(lines) + b"\n"
        event = raw.replace(b"\0", b"")
        if last == "Events":
            return (b"1\0\0connection-established\0\0" + b"1\0" + event + b"\0" + event + b"\0" + event + b"\0" + event +
                    b"\0\0")
        if last == "Listen":
            fields = b"\0".join(key + b"\0" + event for key in [b"device", b"description", b"rule", b"default"])
            return (b"1\0\0connection-established\0\0" + b"1\0sys-usb\0device-ask:usb\0question\0001\0" + fields +
                    b"\0targets\0work " + event + b"\0\0" + b"1\0sys-usb\0device-ask-end:usb\0question\0001\0end\0" + event +
                    b"\0\0" + b"1\0\0" + event + b"\0\0")
        return b"0\0" + raw  # done, and a word about it


READS = [["list"], ["list", "-s"], ["list", "--all", "-s"], ["info", "sys-usb:1-1"],
         ["label", "sys-usb:1-1"], ["status", "--once"], ["deny", "work"], ["audit"], ["watch"],
         ["watch", "--answer"], ["policy", "explain", "work", "sys-usb:1-1"]]
REFUSABLE = [  # and policy check has two forms
    ["attach", "work", "sys-usb:1-1"], ["qvm-webcam", "attach", "--with-mic", "work", "sys-usb:1-1"], ["attach", "-v", "-o", "a=b", "work", "sys-usb:1-1"], ["detach", "work", "sys-usb:1-1"],
    ["detach", "work"], ["move", "work", "sys-usb:1-1"], ["mute", "work", "sys-usb:1-1"], ["unmute", "work", "sys-usb:1-1"], ["assign", "work", "sys-usb:1-1"],
    ["assign", "--port", "work", "sys-usb:1-1"], ["unassign", "work", "sys-usb:1-1"], ["unassign", "work"],
    ["label", "sys-usb:1-1", "x"],
    ["deny", "work", "u03"], ["allow", "work", "u03"], ["allow", "work", "all"], ["policy", "check"], ["audit", "--verify"],
    ["suspend"], ["resume"], ["--list-device-classes"],
]


def command(words):
    return words if words[0].startswith("qvm-") else ["qvm-usb", *words]


def on_terminal(words, path):
    keys, terminal = pty.openpty()
    process = subprocess.Popen(command(words), executable=BIN / "qvm-device", stdin=subprocess.DEVNULL, stdout=terminal,
                               stderr=terminal, env={"QDB_SOCKET": path, "QDB_USB_IDS": "/nonexistent"})
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while data := os.read(keys, 65536):
            said += data
    os.close(keys)
    return process.wait(60), said.replace(b"\r\n", b"\n")


def on_pipe(words, path):
    done = subprocess.run(command(words), executable=BIN / "qvm-device", stdin=subprocess.DEVNULL, capture_output=True,
                          env={"QDB_SOCKET": path, "QDB_USB_IDS": "/nonexistent"}, timeout=60)
    return done.returncode, done.stdout + done.stderr


def texts_of(value):
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in texts_of(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts_of(part)]
    return [value] if isinstance(value, str) else []


def parse(out):  # one document, or one in each line
    no_constant = {"parse_constant": lambda name: 1 / 0}  # NaN is not JSON
    try:
        return [json.loads(out, **no_constant)]
    except json.JSONDecodeError:
        return [json.loads(line, **no_constant) for line in out.splitlines()]


def in_json(words, path):
    done = subprocess.run([*command(words), "--json"], executable=BIN / "qvm-device", stdin=subprocess.DEVNULL,
                          capture_output=True, env={"QDB_SOCKET": path, "QDB_USB_IDS": "/nonexistent"}, timeout=60)
    for value in parse(done.stdout.decode("ascii")) if done.stdout else []:
        for text in texts_of(value):
            assert re.fullmatch(r"[\x20-\x7e]*", text), (words, text)
    return done.returncode, done.stdout + done.stderr


# ---- tests --------------------------------------------------------------------------------------------------------


def test_escapes(server):
    liar = Liar(f"{server.directory}/liar.sock")
    forms = [on_pipe, on_terminal, in_json]
    cases = [(words, False, False) for words in READS] + [(words, False, True) for words in READS if words[0] == "list"]
    cases += [(words, refuses, False) for words in REFUSABLE for refuses in (False, True)]
    unseen = {(form.__name__, *words) for form in forms for words, _, _ in cases} - {
        ("in_json", "watch", "--answer"), ("in_json", "status", "--once")}  # in the last there are only names, which are checked
    for liar.text in CORPUS:
        for words, liar.refuses, liar.old in cases:
            for form in forms:
                if form is in_json and "--answer" in words:
                    continue
                status, said = form(words, liar.path)
                case = (form.__name__, words, liar.text[:40], liar.refuses, status)
                assert status in (0, 1, 3), (case, said[:500])
                assert not re.search(rb"[^\x20-\x7e\n]", said), (case, re.search(rb"[^\x20-\x7e\n].{0,40}", said)[0])
                if MARK in said:
                    unseen.discard((form.__name__, *words))
    print(f"# {len(CORPUS) * len(cases) * len(forms)} runs")
    assert not unseen, f"hostile text never came so far: {sorted(unseen)}"


CHANGE = {"action", "class", "qube", "backend", "port", "device_id", "interfaces", "done", "warning", "error"}
DEVICE = {"class", "backend", "port", "device_id", "description", "manufacturer", "product", "serial", "interfaces", "label",
          "parent_class", "parent_port", "used_by", "state", "muted", "options"}


def asked(server, *words, status=0, program="qvm-usb"):
    values = parse(run(*words, "--json", path=server.path, status=status, program=program)[0])
    assert len(values) == 1, (words, values)
    return values[0]


def test_json_changes(server):  # a line for each change that was tried
    def changed(*words, status=0, **expected):
        value = asked(server, *words, status=status)
        base = dict.fromkeys(CHANGE) | {"action": words[0], "class": "usb", "qube": "work", "done": status == 0}
        assert value == base | expected, (words, value)

    stick = {"backend": "sys-usb", "port": "1-2", "device_id": STICK}
    changed("attach", "work", "sys-usb:1-2", **stick)
    changed("attach", "work", "sys-usb:1-2", status=1, error="sys-usb:1-2 is already attached to work", **stick)
    changed("move", "personal", "sys-usb:1-2", **stick | {"qube": "personal"})
    changed("detach", "personal", "sys-usb:1-2", **stick | {"qube": "personal", "device_id": None})
    changed("assign", "--port", "work", "sys-usb:9-9", **stick | {"port": "9-9", "device_id": "*"})
    changed("assign", "-v", "--device", "--ask", "work", "sys-usb:1-2", **stick | {"port": "*"})
    changed("unassign", "--port", "work", "sys-usb:9-9", **stick | {"port": "9-9", "device_id": "*"})
    changed("unassign", "work", **stick | {"port": "*"})  # the only one
    changed("label", "sys-usb:1-2", "bank", **stick | {"qube": None})
    assert asked(server, "label", "sys-usb:1-2")["label"] == "bank" and asked(server, "info", "sys-usb:1-2")["label"] == "bank"
    changed("label", "sys-usb:1-2", "", **stick | {"qube": None})
    bare = {"class": None, "interfaces": ["u03****", "u08****"]}
    changed("deny", "work", "u03", "u08", **bare)
    changed("attach", "work", "sys-usb:1-2", status=1, **stick, error="denied by deny list of work: u08****; "
            "why: qvm-device policy explain work sys-usb:1-2")
    changed("allow", "work", "u03", "u08", **bare)
    changed("allow", "work", "all", **bare | {"interfaces": ["*******"]})
    for word in ["suspend", "resume"]:
        changed(word, **{"class": None, "qube": None})
    for port in ["1-2", "1-2.4"]:
        run("attach", "work", "sys-usb:" + port, path=server.path)
    lines = parse(run("detach", "--json", "work", path=server.path)[0])
    assert [(line["port"], line["device_id"], line["done"]) for line in lines] == [
        ("1-2.4", "046d:c31c::u030101u030000", True), ("1-2", STICK, True)], lines
    assert run("detach", "--json", "work", path=server.path) == ("", "")  # nothing was tried
    # what is wrong before anything is tried is on stderr only; what got no answer may have happened
    assert run("attach", "--json", "work", "sys-usb:9-9", path=server.path, status=1)[0] == ""
    assert run("attach", "--json", "nobody", "sys-usb:1-2", path=server.path, status=2)[0] == ""
    assert run("list", "--json", path="/nonexistent", status=3)[0] == ""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(server.directory + "/mute.sock")
        listener.listen(1)
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        out, said = run("resume", "--json", path=server.directory + "/mute.sock", status=3)
        assert json.loads(out)["done"] is None and "no answer" in json.loads(out)["error"] and "closed" in said


def test_json_reads(server):  # a document each
    for program, word in [("qvm-usb", "--list-device-classes"), ("qvm-device", "list-device-classes")]:
        assert asked(server, word, program=program) == ["block", "mic", "speaker", "usb", "webcam"]
    assert asked(server, "list", program="qvm-mic") == [] == asked(server, "deny", "work")
    run("assign", "-q", "--ask", "-o", "max-time=30m", "work", "sys-usb:1-2", path=server.path)
    listed = asked(server, "list", "-s", "sys-usb", "work")
    assert [set(entry) for entry in listed] == [DEVICE] * 2 + [
        {"class", "backend", "port", "device_id", "assigned_to", "mode", "options"}]
    assert asked(server, "info", "sys-usb:1-2") == listed[0]
    assert listed[2] == {"class": "usb", "backend": "sys-usb", "port": "1-2", "device_id": STICK, "assigned_to": "work",
                         "mode": "ask-to-attach", "options": "max-time=30m"}
    run("deny", "work", "u03", path=server.path)
    assert asked(server, "deny", "work") == ["u03****"]
    assert asked(server, "policy", "check", status=1) == {
        "good": False, "error": "50-test.policy:1: there is no such word", "warnings": []}
    server.do("policy ask")
    assert asked(server, "policy", "check") == {"good": True, "error": None, "warnings": []}
    assert asked(server, "policy", "explain", "work", "sys-usb:1-2") == {
        "action": "ask", "by": "50-test.policy:1", "details": ["usb * @anyvm @anyvm ask"]}
    assert asked(server, "policy", "explain", "work", "sys-usb:1-2.4")["by"] == \
        "the deny list of work: u03**** (qvm-device allow work u03****)"
    assert len(asked(server, "audit", "--verify")) == 1
    records = parse(run("audit", "--json", path=server.path)[0])
    assert [record["seq"] for record in records] == [1, 2, 3] and records[1]["source"]["name"] == "sys-usb"
    run("watch", "--answer", "--json", path=server.path, status=2)


def test_json_watch(server):  # an object in each line, at once
    process = subprocess.Popen(["qvm-usb", "watch", "--json"], executable=BIN / "qvm-device", stdout=subprocess.PIPE,
                               env={"QDB_SOCKET": server.path})
    deadline = time.monotonic() + 30
    while not select.select([process.stdout], [], [], 0.05)[0]:
        assert time.monotonic() < deadline
        server.do("qube passing 77")
        server.do("halt passing")
    server.do("policy allow")
    run("attach", "work", "sys-usb:1-2", path=server.path)
    events = []
    while not events or events[-1]["event"] != "device-attach:usb":
        events.append(json.loads(process.stdout.readline()))
    assert events[-1] == {"event": "device-attach:usb", "subject": "work",
                          "fields": {"device": f"sys-usb:1-2:{STICK}", "options": "{}"}}, events[-1]
    process.terminate()
    process.wait(10)
    process.stdout.close()


def test_json_manual(server):  # each key is in the manual page, and the other way round
    page = (ROOT / "man/qvm-device-json.5").read_text()
    described = set(re.findall(r"^\.It Cm (\w+)", page, re.M))
    assert described == CHANGE | DEVICE | {"assigned_to", "mode", "options", "good", "warnings", "by", "details", "event",
                                           "since_seconds", "left_seconds", "by_backend", "by_qube",
                                           "subject", "fields"}, described


sys.exit(main(globals()))
