# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in the domains: the host's end of rig-agent.c, where the frames are described.

One thread reads and sorts what comes; the callers wait on one condition. A Command is told by its frames, or that its domain
was lost; nothing else ends it.
"""
import re
import signal
import struct
import threading
import time

RUN_TIMEOUT = 60
SIGKILL = int(signal.SIGKILL)

STDIN_WINDOW = 512 * 1024
CHUNK = 32 * 1024
(EXEC, STDIN, SIGNAL, LINK, UNLINK) = range(1, 6)
(STDOUT, STDERR, ACK, EXIT, HELLO, UP, DOWN) = range(16, 23)
HEADER = struct.Struct("<IHBxI")


class RigError(Exception):
    pass


class RigTimeout(RigError):
    """A command did not end in time; .result has what it had said."""
    result = None


class DomainGone(RigError):
    """The domain went (or its agent) while a command ran in it."""


class CommandFailed(RigError):
    result = None


class Result:
    """rc: exit status, or minus the signal. out, err: text; out_bytes, err_bytes: the same, raw."""

    def __init__(self, rc, out, err):
        self.rc, self.out_bytes, self.err_bytes = rc, out, err

    @property
    def out(self):
        return self.out_bytes.decode(errors="surrogateescape")

    @property
    def err(self):
        return self.err_bytes.decode(errors="surrogateescape")

    def __repr__(self):
        return f"Result(rc={self.rc}, out={self.out!r}, err={self.err!r})"


class Command:
    """A command that runs in a domain; made by Domain.spawn()."""

    def __init__(self, hub, domain, domid, text, has_input):
        self._hub, self.domain, self.domid, self.text = hub, domain, domid, text
        self._out, self._err = bytearray(), bytearray()
        self._rc = None
        self._lost = None
        self._acked = self._sent = 0
        self._has_input = has_input
        self.id = hub.open(self)
        hub.send(domid, EXEC, self.id, struct.pack("<I", 1 if has_input else 0) + text.encode())

    # called by the hub, with its lock held
    def frame(self, kind, data):
        if kind == STDOUT:
            self._out += data
        elif kind == STDERR:
            self._err += data
        elif kind == ACK:
            self._acked += struct.unpack("<I", data)[0]
        elif kind == EXIT:
            self._rc = struct.unpack("<i", data)[0]

    def lost(self, why):
        if self._rc is None:
            self._lost = why

    @property
    def running(self):
        with self._hub.lock:
            return self._rc is None and self._lost is None

    @property
    def output(self):
        """Standard output so far, as text; output_bytes: raw; errors: standard error."""
        return self.output_bytes.decode(errors="surrogateescape")

    @property
    def output_bytes(self):
        with self._hub.lock:
            return bytes(self._out)

    @property
    def errors(self):
        with self._hub.lock:
            return self._err.decode(errors="surrogateescape")

    def result(self):
        with self._hub.lock:
            return Result(self._rc, bytes(self._out), bytes(self._err))

    def _wait(self, ready, deadline):
        with self._hub.changed:
            while not ready() and self._rc is None and self._lost is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._hub.changed.wait(left)
        return True

    def write(self, data, timeout=RUN_TIMEOUT):
        """Gives bytes to the command's standard input (spawn(..., stdin=True))."""
        deadline = time.monotonic() + timeout
        for at in range(0, len(data), CHUNK):
            chunk = data[at:at + CHUNK]
            if not self._wait(lambda: self._sent - self._acked < STDIN_WINDOW, deadline):
                raise self._timeout(f"does not read its input within {timeout} s")
            if self._lost:
                raise DomainGone(f"{self.domain}: {self._lost} while it ran: {self.text}")
            if self._rc is not None:
                return
            self._sent += len(chunk)
            self._hub.send(self.domid, STDIN, self.id, chunk)

    def close_stdin(self):
        self._hub.send(self.domid, STDIN, self.id, b"")

    def signal(self, number):
        self._hub.send(self.domid, SIGNAL, self.id, struct.pack("<I", number))

    def kill(self, number=SIGKILL, timeout=RUN_TIMEOUT):
        """Signals the command and all it started, and waits for its end."""
        self.signal(number)
        return self.wait(timeout)

    def wait_output(self, pattern, timeout=RUN_TIMEOUT):
        """Waits until its standard output matches a regular expression; returns the match."""
        expression = re.compile(pattern, re.M)
        found = []

        def ready():
            m = expression.search(self._out.decode(errors="surrogateescape"))
            if m:
                found.append(m)
            return m

        if not self._wait(ready, time.monotonic() + timeout):
            raise self._timeout(f"did not say {pattern!r} within {timeout} s")
        if not found:
            with self._hub.lock:
                ready()
        if not found:
            raise RigError(f"{self.domain}: ended without saying {pattern!r}: {self.text}\n{self.result()}")
        return found[0]

    def _timeout(self, what):
        e = RigTimeout(f"{self.domain}: {what}: {self.text}")
        e.result = self.result()
        return e

    def wait(self, timeout=RUN_TIMEOUT):
        """Waits for its end; returns its Result."""
        if not self._wait(lambda: False, time.monotonic() + timeout):
            raise self._timeout(f"not done within {timeout} s")
        self._hub.close(self)
        if self._lost:
            raise DomainGone(f"{self.domain}: {self._lost} while it ran: {self.text}")
        return self.result()


class Hub:
    """The connection to the agent in dom0, and through it to those in the guests."""

    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._send_lock = threading.Lock()
        self._commands = {}
        self._next = 1
        self._up = set()
        self.hello = False
        self.ended = None
        self._sock = None

    def attach(self, sock):
        self._sock = sock
        threading.Thread(target=self._reader, daemon=True).start()

    def open(self, command):
        with self.lock:
            self._next += 1
            self._commands[self._next] = command
            if self.ended:
                command.lost(self.ended)
            return self._next

    def close(self, command):
        with self.lock:
            self._commands.pop(command.id, None)

    def send(self, domid, kind, session, data=b""):
        try:
            with self._send_lock:
                self._sock.sendall(HEADER.pack(len(data), domid, kind, session) + data)
        except OSError as e:
            raise RigError(f"the connection to dom0 is gone: {e}") from None

    def link(self, domid):
        self.send(domid, LINK, 0)

    def unlink(self, domid):
        self.send(domid, UNLINK, 0)
        with self.lock:
            self._drop(domid, "the domain was destroyed")

    def wait_up(self, domid, deadline):
        with self.changed:
            while domid not in self._up and not self.ended:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(left)
        return not self.ended

    def is_up(self, domid):
        with self.lock:
            return domid in self._up

    def _drop(self, domid, why):
        self._up.discard(domid)
        for c in list(self._commands.values()):
            if c.domid == domid or domid is None:
                c.lost(why)
                self._commands.pop(c.id, None)
        self.changed.notify_all()

    def _frame(self, domid, kind, session, data):
        with self.lock:
            if kind == HELLO:
                if self.hello:
                    self._drop(0, "the agent in dom0 was started again")
                self.hello = True
            elif kind == UP:
                self._up.add(domid)
            elif kind == DOWN:
                self._drop(domid, "the domain or its agent ended")
            else:
                command = self._commands.get(session)
                if command:
                    command.frame(kind, data)
                    if kind == EXIT:
                        self._commands.pop(session, None)
            self.changed.notify_all()

    def _reader(self):
        buf = bytearray()
        try:
            while True:
                data = self._sock.recv(1 << 18)
                if not data:
                    break
                buf += data
                at = 0
                while len(buf) - at >= HEADER.size:
                    size, domid, kind, session = HEADER.unpack_from(buf, at)
                    if len(buf) - at < HEADER.size + size:
                        break
                    self._frame(domid, kind, session, bytes(buf[at + HEADER.size:at + HEADER.size + size]))
                    at += HEADER.size + size
                del buf[:at]
        except OSError:
            pass
        with self.lock:
            self.ended = "the machine ended"
            self._drop(None, self.ended)
