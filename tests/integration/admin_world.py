# SPDX-License-Identifier: GPL-2.0-or-later
"""The program admin-server (the real API server and core; qubes, agents and audit log are played) and the tool, for tests.

Needs BIN (where the programs are). A test is a function test_NAME(server) of the module that calls main(globals()).
"""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import traceback

BIN = pathlib.Path(os.environ.get("BIN", "build/gcc/bin")).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]


def hexed(text):
    return (text.encode() if isinstance(text, str) else text).hex() or "-"


class Server:
    """The program admin-server with the qubes and devices that most tests use."""

    def __init__(self, directory):
        self.directory = directory
        self.path = f"{directory}/run/admin.sock"
        self.log = open(f"{directory}/log", "w+b")
        self.process = subprocess.Popen([BIN / "admin-server", self.path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout.readline() == "ready\n"
        for number, name in enumerate(["sys-usb", "work", "personal", "sys-usb2"], 1):
            self.do(f"qube {name} {number}")
        self.device("sys-usb", 0, "1-2", "0781", "5581", "AB12", "SanDisk", "Ultra Fit", ["080650"])
        self.device("sys-usb", 1, "1-2.4", "046d", "c31c", "", "", "", ["030101", "030000"])
        self.device("sys-usb2", 0, "1-2", "0781", "5581", "AB12", "SanDisk", "Ultra Fit", ["080650"])

    def do(self, command, answer="ok"):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().strip()
        assert said == answer, f"{command}: {said}"

    def device(self, qube, slot, port, vendor, product, serial, manufacturer, name, codes):
        self.do(" ".join([f"device {qube} {slot} {port} {vendor} {product}", hexed(serial), hexed(manufacturer),
                          hexed(name), *codes]))

    def part(self, qube, slot, device_class, port, parent, vendor, product, serial, name):
        self.do(f"part {qube} {slot} {device_class} {port} {parent or '-'} {vendor} {product} {hexed(serial)} {hexed(name)}")

    def stop(self):
        self.process.stdin.close()
        status = self.process.wait(10)
        self.log.seek(0)
        said = self.log.read()
        self.log.close()
        self.process.stdout.close()
        assert status == 0, f"admin-server ended with {status}: {said[-2000:]}"
        return said


def run(*words, path, program="qvm-usb", status=0, **more):
    """Runs the tool by the name `program`; returns (stdout, stderr)."""
    environment = {"QDB_SOCKET": str(path), "QDB_USB_IDS": "/nonexistent", "PATH": "/usr/bin:/bin"}
    environment |= more.pop("environment", {})
    done = subprocess.run([program, *words], executable=BIN / "qvm-device", env=environment, capture_output=True,
                          timeout=more.pop("timeout", 20), **more)
    assert done.returncode == status, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
    assert not re.search(rb"[^\x20-\x7e\n]", done.stdout + done.stderr), f"{words}: {done.stdout} {done.stderr}"
    return done.stdout.decode(), done.stderr.decode()


def call(path, request, timeout=20):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))  # waits for its turn in the server's backlog, which one that does not wait cannot
        client.settimeout(timeout)
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        reply = b""
        while True:
            data = client.recv(65536)
            if not data:
                return reply
            reply += data


def main(names):
    tests = [(name, function) for name, function in sorted(names.items()) if name.startswith("test_")]
    if sys.argv[1:]:
        tests = [test for test in tests if test[0] in sys.argv[1:]]
    print(f"1..{len(tests)}")
    failed = 0
    for number, (name, function) in enumerate(tests, 1):
        directory = tempfile.mkdtemp(prefix="qdb-")
        server = Server(directory)
        try:
            function(server)
            if server.process.poll() is None:
                server.stop()
            print(f"ok {number} - {name}", flush=True)
        except Exception:  # each test reports for itself
            failed += 1
            print(f"not ok {number} - {name}")
            print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
            server.process.kill()
            server.process.wait()
        shutil.rmtree(directory)
    return 1 if failed else 0
