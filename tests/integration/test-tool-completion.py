#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion of the tool's words: by bash itself with the script that is installed, and by `--complete` alone; zsh and fish
read their scripts where they are installed. Needs BIN (where the programs are). Prints TAP.
"""
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from admin_world import BIN, ROOT, main, run

CONTROLS = ["brightness=", "contrast=", "saturation=", "sharpness=", "power-line="]
STICK = "0781:5581:AB12:u080650"
SCRIPTS = ROOT / "packaging/completions"
COMMANDS = "list attach detach move mute unmute assign unassign info label status deny allow policy audit watch suspend resume".split()
FREE = ["list"] + COMMANDS[COMMANDS.index("status"):]

# As readline would: the line is cut at its word breaks, the function called, each reply put in place of the last part.
IN_BASH = r"""
source "$1"
declare -f _init_completion && exit 9 # it must work without bash-completion
COMP_LINE=$2 COMP_POINT=${#2}
[ "$3" = - ] || COMP_WORDBREAKS=$3
complete -p "${2%% *}" >/dev/null || exit 8
_qvm_device
stem=$2
last=${2##* }
case $last in *["$COMP_WORDBREAKS"]*) last=${last##*["$COMP_WORDBREAKS"]} ;; esac
for reply in "${COMPREPLY[@]}"; do printf '%s\n' "${stem%"$last"}$reply"; done
"""


def complete(*words, path, program="qvm-usb"):
    return run("--complete", *words, path=path, program=program)[0].split()


def in_bash(server, line, breaks=" \t\n\"'><=;|&(:", path=None):
    bin_dir = server.directory + "/bin"
    if not os.path.exists(bin_dir):
        os.mkdir(bin_dir)
        for name in ["qvm-device", "qvm-usb", "qvm-mic", "qvm-speaker", "qvm-webcam"]:
            os.symlink(BIN / "qvm-device", f"{bin_dir}/{name}")
    done = subprocess.run(["bash", "--norc", "--noprofile", "-c", IN_BASH, "bash", SCRIPTS / "qvm-device.bash", line, breaks],
                          env={"PATH": f"{bin_dir}:/usr/bin:/bin", "QDB_SOCKET": path or server.path}, capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 0 and not done.stderr, (line, done)
    return [found[len(line[:line.rindex(" ") + 1]):] for found in done.stdout.splitlines()]


def test_words(server):
    every = ["--help", "--version", "--verbose", "--quiet", "--socket", "--list-device-classes", "--json"]
    places = ["sys-usb:1-2", "sys-usb:1-2.4", "sys-usb2:1-2"]
    qubes = ["personal", "sys-usb", "sys-usb2", "work"]
    run("attach", "work", "sys-usb:1-2.4", path=server.path)
    run("assign", "-q", "--port", "personal", "sys-usb:9-9", path=server.path)
    server.part("sys-usb", 9, "webcam", "webcam-0123abcd", "1-2", "046d", "0825", "", "HD Webcam")
    for program, line, expected in [
        ("qvm-device", [""], FREE + ["block", "mic", "speaker", "usb", "webcam"]), ("qvm-device", ["u"], ["usb"]),
        ("qvm-device", ["usb", ""], COMMANDS), ("qvm-device", ["policy", ""], ["check", "explain"]),
        ("qvm-device", ["usb", "policy", "explain", ""], ["dom0"] + qubes), ("qvm-device", ["mic", "info", ""], []),
        ("qvm-device", ["policy", "explain", "work", "sys-usb2"], places[2:]), ("qvm-device", ["policy", "check", ""], []),
        ("qvm-device", ["block", "attach", "work", ""], []), ("qvm-device", ["usb", "frob", ""], []),
        ("qvm-usb", [""], COMMANDS), ("qvm-usb", ["a"], ["attach", "assign", "allow", "audit"]), ("qvm-usb", [], COMMANDS),
        ("qvm-usb", ["attach", ""], ["dom0"] + qubes), ("qvm-usb", ["at", "w"], ["work"]),
        ("qvm-usb", ["-v", "a", "-o", "x=y", "--ro", "work", "sys-usb:"], places[:2]),
        ("qvm-usb", ["attach", "work", ""], places), ("qvm-usb", ["attach", "work", "sys-usb2:1-2", ""], []),
        ("qvm-usb", ["info", f"sys-usb:1-2:{STICK[:5]}"], [f"sys-usb:1-2:{STICK}"]),
        ("qvm-usb", ["detach", "work", ""], ["sys-usb:1-2.4"]), ("qvm-usb", ["detach", "personal", ""], []),
        ("qvm-usb", ["unassign", "personal", ""], ["sys-usb:9-9"]), ("qvm-usb", ["unassign", "no such", ""], []),
        ("qvm-usb", ["list", "work", "personal", "sys"], qubes[1:3]), ("qvm-usb", ["deny", "work", ""], []),
        ("qvm-usb", ["allow", "work", ""], ["all"]), ("qvm-usb", ["allow", "work", "u03", ""], ["all"]),
        ("qvm-usb", ["list", "-"], every + ["--assignments", "--all", "--exclude"]), ("qvm-usb", ["--"], every),
        ("qvm-usb", ["list", "--all", "--exclude", "w"], ["work"]), ("qvm-usb", ["list", "--exclude=w"], ["--exclude=work"]),
        ("qvm-usb", ["attach", "-o", ""], ["max-time="]), ("qvm-usb", ["assign", "-vo", "f"], ["follow-port=yes"]),
        ("qvm-usb", ["assign", "-ofoo=bar", "w"], ["work"]), ("qvm-usb", ["audit", "--f"], ["--follow"]),
        ("qvm-usb", ["attach", "--w"], []), ("qvm-webcam", ["attach", "--w"], ["--with-mic"]), ("qvm-webcam", ["move", "--w"], []),
        ("qvm-device", ["webcam", "attach", "-"], every + ["--option", "--ro", "--with-mic"]),
        ("qvm-device", ["mic", "attach", "-"], every + ["--option", "--ro"]),
        ("qvm-webcam", ["attach", "-o", ""], ["max-time=", "size=", "fps=", *CONTROLS]), ("qvm-webcam", ["move", "--option=s"], ["--option=size=", "--option=saturation=", "--option=sharpness="]),
        ("qvm-webcam", ["assign", "-o", ""], ["max-time=", "follow-port=yes", "size=", "fps=", *CONTROLS]), ("qvm-mic", ["attach", "-o", "s"], []),
        ("qvm-webcam", ["attach", "work", ""], ["sys-usb:webcam-0123abcd"]), ("qvm-mic", ["attach", "work", ""], []),
        ("qvm-usb", ["attach", "--", "-"], []), ("qvm-usb", ["--frob=x"], []), ("qvm-usb", ["watch", "x", "y", "z", ""], []),
        ("qvm-usb", ["--socket", "/nonexistent", "attach", ""], []), ("qvm-usb", ["--socket=/nonexistent", "attach", ""], []),
    ]:
        found = complete(*line, path=server.path, program=program)
        assert sorted(found) == sorted(expected), (program, line, found)
    found = complete("--socket", server.path, "at", "wo", path="/nonexistent")
    assert found == ["work"], found


def test_bash(server):
    for breaks in [" \t\n\"'><=;|&(:", " \t\n\"'><;|&("]:  # as it is, and without the two that are in our words
        for line, expected in [
            ("qvm-usb att", ["attach"]), ("qvm-usb attach w", ["work"]),
            ("qvm-device usb attach work sys-usb:1", ["sys-usb:1-2", "sys-usb:1-2.4"]),
            ("qvm-usb info sys-usb2", ["sys-usb2:1-2"]), ("qvm-usb info sys-usb2:1-2:0781:55", [f"sys-usb2:1-2:{STICK}"]),
            ("qvm-usb list --exclude=per", ["--exclude=personal"]), ("qvm-usb assign -o follow", ["follow-port=yes"]),
            ("qvm-mic attach work ", []), ("qvm-webcam li", ["list"]), ("qvm-webcam attach --with", ["--with-mic"]),
            ("qvm-webcam attach -o si", ["size="]), ("qvm-device webcam assign -o f", ["follow-port=yes", "fps="]), ("qvm-device pol", ["policy"]),
            (f"qvm-usb --socket {ROOT}/README", [f"{ROOT}/README.md"]), (f"qvm-usb --socket={ROOT}/README", None),
        ]:
            found = in_bash(server, line, breaks)
            if expected is None:
                assert len(found) == 1 and found[0].endswith("README.md"), found
            else:
                assert sorted(found) == sorted(expected), (line, breaks, found)


def test_nobody_answers(server):  # silent, soon: no broker, one that hangs, one that drips
    assert complete("attach", "", path="/nonexistent") == [] == in_bash(server, "qvm-usb attach ", path="/nonexistent")
    assert complete("at", path="/nonexistent") == ["attach"]
    path = server.directory + "/mute.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        for words in [["attach", ""], ["attach", "work", ""], ["unassign", "work", ""]]:
            started = time.monotonic()
            assert complete(*words, path=path) == []
            taken = time.monotonic() - started
            assert 0.9 < taken < 5, taken
        while True:  # what is still queued
            listener.settimeout(0.2)
            try:
                listener.accept()[0].close()
            except TimeoutError:
                break

        def drip():  # the first answer comes, then nothing is ever whole
            listener.settimeout(20)
            with contextlib.suppress(OSError), listener.accept()[0] as first:
                while first.recv(4096):
                    pass
                first.sendall(b"0\0sys-usb state=Running\nwork state=Running\n")
            with contextlib.suppress(OSError), listener.accept()[0] as second:
                while True:
                    second.sendall(b"0")
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        started = time.monotonic()
        assert complete("attach", "work", "", path=path) == []
        assert time.monotonic() - started < 5


def test_hostile_names(server):  # nothing that a shell reads comes out, whatever the broker says
    evil = ["$(id)", "`id`", "a;b", "a b", "x'y", "\x1b[2J", "a\\b", "~root", "*", "\u202e", "!!", "{a,b}", "a#", "(x)", "|", "<", "&"]
    lines = {"List": "".join(f"{name} class=AppVM state=Running\n" for name in ["sys-usb", *evil] if " " not in name),
             "Available": "".join(
                 f"x device_id='1:2:{text}:u' port_id='{port}' devclass='usb' backend_domain='sys-usb'\n"
                 for text in [*evil, "good"] for port in [*evil, "1-1"] if "'" not in text + port)}
    lines["Snapshot"] = "".join(f"{kind} {line}\n" for kind, of in [("qube", "List"), ("available", "Available")]
                                for line in lines[of].split("\n"))
    path = server.directory + "/evil.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        request = b""
                        while data := connection.recv(4096):
                            request += data
                        method = request.split(b"+")[0].decode().rpartition(".")[2]
                        connection.sendall(b"0\0" + (lines.get(method) or "\n".join(evil)).encode())

        threading.Thread(target=answer, daemon=True).start()
        assert complete("attach", "", path=path) == ["sys-usb"]
        for words in [["info", ""], ["info", "sys-usb:"], ["info", "sys-usb:1-1:"]]:
            found = complete(*words, path=path)
            assert found and all(re.fullmatch(r"sys-usb:(1-1|_)(:1:2:(good|_):u)?", word) for word in found), found
        assert not set(complete("", path=path, program="qvm-device")) - set(FREE)


def test_scripts(server):  # each name is in each script; each shell that is here can read its own
    for script, shell in [("qvm-device.bash", "bash"), ("_qvm-device", "zsh"), ("qvm-device.fish", "fish")]:
        text = (SCRIPTS / script).read_text()
        assert all(f" {name}" in text for name in ["qvm-device", "qvm-usb", "qvm-mic", "qvm-speaker", "qvm-webcam"]), script
        if shutil.which(shell):
            subprocess.run([shell, "-n", SCRIPTS / script], check=True, timeout=30)
        else:
            print(f"# {shell} is not here: its script was not read")


sys.exit(main(globals()))
