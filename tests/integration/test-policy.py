#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The policy against a second evaluator, which was written from device-broker.policy(5) alone. Prints TAP.

Both read the same generated sets, good and bad, and must agree on the first fault's file and line, and on each query's
verdict, rule and options. Then each kind of fault at each line of a good set. Hostile cases: PO04, PO06, PO07, PO13.

Needs BIN (where policy-eval is). SEED=n repeats a run; ROUNDS=n makes it longer.
"""
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

BIN = pathlib.Path(os.environ.get("BIN", "build/gcc/bin")).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("SEED", "20261125"))
ROUNDS = int(os.environ.get("ROUNDS", "1000"))

# ---- the second evaluator ------------------------------------------------------------------------------------------

TYPES = ["AppVM", "DispVM", "StandaloneVM", "TemplateVM"]
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,30}")
TAG = re.compile(r"[A-Za-z0-9_-]{1,63}")
FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,62}")
PORT = re.compile(r"[0-9]+-[0-9]+(\.[0-9]+)*|mic|(mic|speaker|webcam)-[0-9a-f]{8}")
MODEL = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
WHOLE = re.compile(r"([0-9a-f]{4}:[0-9a-f]{4}):(.*):(\*|\?\*{6}|(?:[ums][0-9a-f]{6}){1,32})")
PATTERN = re.compile(r"u[0-9a-f*]{6}")
LETTERS = {"usb": "u", "mic": "m", "webcam": "u", "speaker": "s"}  # with which an interface's code begins
HIDDEN = [(0, 8), (10, 0x1f), (0x7f, 0x9f), (0x200b, 0x200f), (0x2028, 0x202e), (0x2060, 0x2069), (0xfeff, 0xfeff),
          (0xe0000, 0xe007f)]


class Broken(Exception):
    def __init__(self, file, line):
        super().__init__(f"{file}:{line}")
        self.at = (file, line)


def need(condition):
    if not condition:
        raise ValueError


def whole(pattern, text):
    return pattern.fullmatch(text)


class Reference:
    def __init__(self, files):
        self.files, self.rules, self.qubes, self.seen = files, [], {}, set()
        of_the_set = sorted(n for n in files if n.endswith(b".policy") and not n.startswith(b"."))
        if not of_the_set:
            raise Broken("", 0)
        for name in of_the_set:
            if not whole(FILE, name.decode("latin-1")):
                raise Broken(name.decode("latin-1"), 0)
            self.read(name.decode(), 0)

    def read(self, name, depth):
        text = self.files[name.encode()]
        self.seen.add(name)
        if not text:
            raise Broken(name, 0)
        lines = text.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for number, line in enumerate(lines, 1):
            try:
                self.line(line, name, number, depth)
            except ValueError:
                raise Broken(name, number) from None

    def line(self, line, name, number, depth):
        need(len(line) <= 4096)
        text = line.decode()  # UnicodeDecodeError is a ValueError
        need(not any(first <= ord(c) <= last for c in text for first, last in HIDDEN))
        text = text.strip(" \t")
        if text.startswith("#") or not text:
            return
        need(text.isascii())
        words = re.split("[ \t]+", text)
        if words[0] == "!qube":
            self.qube(words[1:])
        elif words[0] == "!include":
            need(len(words) == 2 and whole(FILE, words[1]) and not words[1].endswith(".policy"))
            need(words[1].encode() in self.files and words[1] not in self.seen and depth < 8)
            self.read(words[1], depth + 1)
        else:
            need(not text.startswith("!"))
            self.rules.append((name, number, *self.rule(words)))

    def qube(self, words):
        need(words and whole(NAME, words[0]) and words[0] != "dom0" and words[0] not in self.qubes)
        types = [w[5:] for w in words[1:] if w.startswith("type=")]
        tags = [w[4:] for w in words[1:] if w.startswith("tag=")]
        need(len(types) == 1 and types[0] in TYPES and len(tags) == len(set(tags)))
        need(all(whole(TAG, t) for t in tags) and len(types) + len(tags) == len(words) - 1)
        self.qubes[words[0]] = (types[0], set(tags))

    def rule(self, words):
        need(len(words) >= 5)
        device_class, device, source, target, action = words[:5]
        need(device_class in ("usb", "mic", "webcam", "speaker", "*") and action in ("allow", "ask", "deny"))
        need(device == "*" or (whole(PORT, device) and len(device) < 32) or whole(MODEL, device) or
             (whole(PATTERN, device) and device_class in ("usb", "webcam", "*")) or self.serial(device))
        for qube in (source, target):
            need(qube in ("*", "@anyvm", "@adminvm", "@dispvm") or whole(NAME, qube) or
                 (qube.startswith("@tag:") and whole(TAG, qube[5:])) or
                 (qube.startswith("@type:") and qube[6:] in TYPES))
        options = {"notify": "yes" if action == "deny" else "no", "max-time": 0, "default_target": "-", "parts": "keep"}
        given = set()
        for word in words[5:]:
            key, equal, value = word.partition("=")
            need(equal and key in options and key not in given)
            given.add(key)
            if key == "notify":
                need(value in ("yes", "no"))
            elif key == "max-time":
                need(action != "deny" and re.fullmatch("[1-9][0-9]{0,6}[smh]", value))
                value = int(value[:-1]) * {"s": 1, "m": 60, "h": 3600}[value[-1]]
                need(value <= 168 * 3600)
            elif key == "parts":
                need(action != "deny" and value in ("end", "keep"))
            else:
                need(action == "ask" and whole(NAME, value) and value != "dom0")
            options[key] = value
        return device_class, device, source, target, action, options

    @staticmethod
    def serial(device):
        """(model, serial or None, interfaces) of a whole id; None: it is none."""
        match = whole(WHOLE, device)
        if not match:
            return None
        model, written, interfaces = match.groups()
        if written == "*":
            return model, None, interfaces
        serial = re.sub("%([0-9a-f]{2})", lambda m: chr(int(m.group(1), 16)), written)
        if "%" in re.sub("%([0-9a-f]{2})", "", written) or len(serial) > 126:
            return None
        return (model, serial, interfaces) if all(" " <= c <= "~" for c in serial) else None

    def matches_device(self, device, action, query):
        strict = action == "allow"
        codes = [LETTERS.get(query["class"], "?") + code for code in query["interfaces"]]
        model = "%04x:%04x" % (query["vendor"], query["product"])
        if device == "*":
            return True
        if whole(PATTERN, device):
            if query["class"] not in ("usb", "webcam"):
                return False
            if not codes:
                return not strict
            fits = [all(a in ("*", b) for a, b in zip(device, code)) for code in codes]
            return all(fits) if strict else any(fits)
        if whole(PORT, device):
            return device == query["port"]
        if whole(MODEL, device):
            return device == model
        of_model, serial, interfaces = self.serial(device)
        mine = query["serial"]
        if not strict and serial is not None:
            serial, mine = (re.sub("[^A-Za-z0-9.]", "_", s) for s in (serial, mine))
        return (of_model == model and serial in (None, mine) and
                (interfaces in ("*", "".join(codes) or "?******") or (not strict and not codes)))

    def matches_qube(self, word, name, is_dom0):
        kind, tags = (None, set()) if is_dom0 else self.qubes.get(name, (None, set()))
        if word == "*":
            return True
        if word in ("@adminvm", "dom0"):
            return is_dom0
        if word == "@anyvm":
            return not is_dom0
        if word == "@dispvm":
            return kind == "DispVM"
        if word.startswith("@type:"):
            return kind == word[6:]
        if word.startswith("@tag:"):
            return word[5:] in tags
        return word == name and not is_dom0

    def decide(self, query):
        for file, line, device_class, device, source, target, action, options in self.rules:
            if (device_class in ("*", query["class"]) and self.matches_device(device, action, query) and
                    self.matches_qube(source, query["source"], query["source_dom0"]) and
                    self.matches_qube(target, query["target"], query["target_dom0"])):
                return (f"{action} {file}:{line} {options['max-time']} {options['notify']} {options['default_target']} "
                        f"{options['parts']}")
        return DENIED


DENIED = "deny -:0 0 yes - keep"

# ---- the broker's own ----------------------------------------------------------------------------------------------


class Evaluator:
    def __init__(self, directory):
        self.directory = directory
        self.process = subprocess.Popen([BIN / "policy-eval", directory], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.present = set()

    def ask(self, lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()
        return [self.process.stdout.readline().rstrip("\n") for _ in lines]

    def write(self, files):
        for name in self.present - set(files):
            os.unlink(os.path.join(os.fsencode(self.directory), name))
        for name, text in files.items():
            with open(os.path.join(os.fsencode(self.directory), name), "wb") as out:
                out.write(text)
        self.present = set(files)

    def judge(self, files, queries):
        """The fault as (file, line), or None; and the verdicts."""
        self.write(files)
        answer, *verdicts = self.ask(["load", *map(query_line, queries)])
        return self.fault(answer), verdicts

    @staticmethod
    def fault(answer):
        if answer.startswith("good "):
            return None
        if answer.startswith("broken no file *.policy"):
            return "", 0
        match = re.fullmatch(r"broken ([^:/]*)(?::(\d+))?: .+", answer)
        assert match, f"policy-eval said {answer!r}"
        return match.group(1), int(match.group(2) or 0)

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0, "policy-eval failed"
        self.process.stdout.close()


def query_line(query):
    return " ".join(["query", query["class"], query["port"] or "-", "%04x" % query["vendor"], "%04x" % query["product"],
                     query["serial"].encode().hex() or "-", ",".join(query["interfaces"]) or "-", query["source"],
                     "01"[query["source_dom0"]], query["target"], "01"[query["target_dom0"]]])


# ---- sets and queries ----------------------------------------------------------------------------------------------

NAMES = ["work", "personal", "sys-usb", "disp1", "vault", "x", "a.b_c-d", "abcdefghijabcdefghijabcdefghij1"]
TAGS = ["office", "net", "work", "-", "t" * 63]
PORTS = ["mic", "webcam-0123abcd", "1-2", "1-2.4", "3-1", "10-1.1.1"]
MODELS = [(0x0781, 0x5581), (0x046d, 0xc31c), (0, 0), (0xffff, 0xffff)]
SERIALS = ["", "AB12", "A B", "A_B", "A-B", "*", "a:b", "%", "x" * 126, "AB12.", "#"]
CODES = ["080650", "030101", "030102", "030000", "ffffff", "0e0100"]


def pick_query(rng):
    vendor, product = rng.choice(MODELS)
    return {"class": rng.choice(["usb"] * 5 + ["mic", "webcam", "webcam", "speaker", "block"]), "port": rng.choice(PORTS + [""]),
            "vendor": vendor, "product": product, "serial": rng.choice(SERIALS),
            "interfaces": [rng.choice(CODES) for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3, 32]))],
            "source": rng.choice(NAMES), "source_dom0": rng.random() < 0.1,
            "target": rng.choice(NAMES + ["dom0"]), "target_dom0": rng.random() < 0.1}


def pick_pattern(rng):
    return "u" + "".join(c if rng.random() < 0.5 else "*" for c in rng.choice(CODES))


def pick_device(rng):
    model = "%04x:%04x" % rng.choice(MODELS)
    serial = "".join("%%%02x" % ord(c) if c in " %" or rng.random() < 0.1 else c for c in rng.choice(SERIALS))
    serial = rng.choice(["*", serial, serial, serial if serial != "*" else "%2a"])
    interfaces = rng.choice(["*", "*", "?******", "".join(rng.choice("uuums") + rng.choice(CODES) for _ in range(rng.choice([1, 2, 32])))])
    return rng.choice(["*", "*", rng.choice(PORTS), model, f"{model}:{serial}:{interfaces}", pick_pattern(rng),
                       pick_pattern(rng)])


def pick_selector(rng):
    return rng.choice(["*", "@anyvm", "@anyvm", "@adminvm", "@dispvm", "dom0", rng.choice(NAMES), rng.choice(NAMES),
                       "@tag:" + rng.choice(TAGS), "@type:" + rng.choice(TYPES)])


def pick_rule(rng):
    action = rng.choice(["allow", "ask", "deny"])
    device = pick_device(rng)
    device_class = rng.choice(["usb", "usb", "*", "webcam"] if device.startswith("u") else ["usb", "usb", "*", "mic", "webcam", "speaker"])
    options = []
    if rng.random() < 0.3:
        options.append("notify=" + rng.choice(["yes", "no"]))
    if action != "deny" and rng.random() < 0.3:
        options.append("max-time=" + rng.choice(["1s", "90s", "30m", "168h", "604800s"]))
    if action == "ask" and rng.random() < 0.3:
        options.append("default_target=" + rng.choice(NAMES))
    if action != "deny" and rng.random() < 0.2:
        options.append("parts=" + rng.choice(["end", "keep"]))
    rng.shuffle(options)
    words = [device_class, device, pick_selector(rng), pick_selector(rng), action, *options]
    gap = lambda: rng.choice([" ", " ", "  ", "\t", " \t "])
    text = "".join(word + gap() for word in words)
    return (rng.choice(["", "", " ", "\t"]) + (text if rng.random() < 0.2 else text.rstrip(" \t"))).encode()


def pick_set(rng):
    """Names and lines of a set without a fault."""
    names = rng.sample([b"10-a.policy", b"9.policy", b"B.policy", b"b.policy", b"a-b_c.policy"], rng.randint(1, 4))
    files = {name: [pick_rule(rng) for _ in range(rng.randint(0, 12))] for name in names}
    for included in rng.sample([b"inc", b"inc.d", b"policy"], rng.randint(0, 3)):
        outer = rng.choice(list(files))
        files[included] = [pick_rule(rng) for _ in range(rng.randint(0, 4))]
        files[outer].insert(rng.randint(0, len(files[outer])), b"!include " + included)
    for name in NAMES:
        if rng.random() < 0.5:
            tags = [b"tag=" + t.encode() for t in rng.sample(TAGS, rng.randint(0, 3))]
            words = [b"type=" + rng.choice(TYPES).encode(), *tags]
            rng.shuffle(words)
            lines = files[rng.choice(list(files))]
            lines.insert(rng.randint(0, len(lines)), b"!qube " + name.encode() + b" " + b" ".join(words))
    for lines in files.values():
        for _ in range(rng.randint(0 if lines else 1, 3)):
            comment = rng.choice([b"", b" ", b"#", b"# text \xc3\xbc \xe2\x82\xac", b"\t# usb * * * nonsense"])
            lines.insert(rng.randint(0, len(lines)), comment or b"#")
    files[b"README"] = [b"not policy \xff"]
    return {name: rng.choice([b"\n", b"\n", b""]).join([b"\n".join(lines), b""]) or b"\n" for name, lines in files.items()}


SNIPPETS = [b"\r", b"\0", b"\x1b", b"\xff", b"\xc3", b"\xe2\x80\xae", b" ", b"\t", b"\n", b"#", b"!", b"*", b"@", b":", b"%",
            b"=", b",", b"usb ", b" allow", b"@anyvm", b"!include inc\n", b"!qube work type=AppVM\n", b"\nusb * * * allow\n",
            b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc2\x85", b"x" * 4090, b"max-time=1h", b"u03**01", b"0781:5581"]


def damage(rng, files):
    name = rng.choice(sorted(files))
    text = files[name]
    at = rng.randint(0, len(text))
    end = min(len(text), at + rng.choice([0, 0, 0, 1, 1, 5, 40]))
    put = rng.choice([b"", bytes([rng.randrange(256)]), rng.choice(SNIPPETS), rng.choice(SNIPPETS)])
    files[name] = text[:at] + put + text[end:]
    if rng.random() < 0.03:
        files[rng.choice([b"a b.policy", b".x.policy", b"y" * 60 + b".policy", b"x.policy"])] = rng.choice([b"", b"#\n"])


# ---- tests ---------------------------------------------------------------------------------------------------------


def compare(evaluator, files, queries, what):
    """Both on one set; returns the fault (None: good) and the verdicts on which they agree."""
    try:
        reference, fault = Reference(files), None
    except Broken as broken:
        reference, fault = None, broken.at
    said, verdicts = evaluator.judge(files, queries)
    if fault is not None and len(fault[0]) > 63:
        fault = (fault[0][:63], fault[1])
    shown = "\n".join(f"--- {n!r}\n{t!r}" for n, t in files.items())
    assert said == fault, f"{what}: the broker says {said}, the reference {fault}\n{shown}"
    for query, verdict in zip(queries, verdicts):
        expected = reference.decide(query) if reference else DENIED
        assert verdict == expected, f"{what}: {query}\nthe broker says {verdict}, the reference {expected}\n{shown}"
    return fault, verdicts


def test_good_sets(evaluator):
    rng = random.Random(SEED)
    decided = set()
    for number in range(ROUNDS):
        files = pick_set(rng)
        queries = [pick_query(rng) for _ in range(12)]
        fault, verdicts = compare(evaluator, files, queries, f"set {number}")
        assert fault is None, f"set {number}: {fault} in {files}"
        decided.update(verdict.split(" ")[0] for verdict in verdicts)
    assert decided == {"allow", "ask", "deny"}
    return f"{ROUNDS} sets, {12 * ROUNDS} queries"


def test_damaged_sets(evaluator):
    rng = random.Random(SEED + 1)
    n_broken = 0
    for number in range(2 * ROUNDS):
        files = pick_set(rng)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            damage(rng, files)
        queries = [pick_query(rng) for _ in range(3)]
        n_broken += compare(evaluator, files, queries, f"set {number}")[0] is not None
    assert ROUNDS / 2 < n_broken < 2 * ROUNDS, n_broken
    return f"{2 * ROUNDS} sets, {n_broken} of them broken"


GOOD = {
    b"10-first.policy": b"# the qubes\n!qube work type=AppVM tag=office\n\nusb 0781:5581 sys-usb work allow max-time=2h\n"
                        b"!include common\nusb u03**** @anyvm @anyvm ask\n",
    b"common": b"!qube vault type=StandaloneVM\n* * @anyvm vault deny notify=yes\n# end of common\n",
    b"90-last.policy": b"* * @anyvm @anyvm allow\n\n* * * * deny",
}
FAULTS = [line.encode("latin-1") for line in [
    "usb", "usb *", "usb * *", "usb * * *", "usb * * * allow deny", "usb * * * allow # why", "USB * * * allow",
    "disk * * * allow", "usb * * * ALLOW", "usb * * * permit", "usb * @any * allow", "usb * @AnyVM * allow",
    "usb * @tag: * allow", "usb * @type:vm * allow", "usb * $anyvm * allow", "usb * 1work * allow", "usb ** * * allow",
    "usb 0781:558 * * allow", "usb 0781:558G * * allow", "usb 0781:ABCD * * allow", "usb 0781:5581:a * * allow",
    "usb 0781:5581:a:u08**** * * allow", "usb 0781:5581:%2:* * * allow", "usb u03**0 * * ask", "mic u03**01 * * ask",
    "usb 1-2,1-3 * * allow", "usb 1.2 * * allow", "usb * * * allow read-only=yes", "usb * * * deny read-only=no",
    "usb * * * allow max-time=0s", "usb * * * allow max-time=169h", "usb * * * allow max-time=1h max-time=1h",
    "usb * * * deny max-time=1h", "usb * * * allow default_target=work", "usb * * * ask default_target=dom0",
    "usb * * * deny notify=maybe", "usb * * * allow parts=yes", "usb * * * deny parts=end",
    "usb * * * ask parts=end parts=keep", "usb * * * deny notify", "usb * * * allow target=work", "usb * * * deny =",
    "!", "!qube", "!qube other", "!qube other tag=a", "!qube other type=AppVM tag=a tag=a", "!qube dom0 type=AppVM",
    "!qube other type=appvm", "!include", "!include nothing", "!include ../common", "!include /etc/passwd",
    "!include 90-last.policy", "!include-dir common", "!compat-4.0", "# \r", "usb * * * allow\r", "\x00", "# \x1b[2J",
    "# \xff", "# \xc3", "# \xe2\x80\xae", "\xef\xbb\xbf", "usb\xc2\xa0* * * allow", "#" * 4097, " " * 4097, "nonsense",
]]


def test_each_fault_at_each_line(evaluator):
    rng = random.Random(SEED + 2)
    queries = [pick_query(rng) for _ in range(4)]
    assert compare(evaluator, GOOD, queries, "the good set")[0] is None
    n = 0
    for name, text in GOOD.items():
        lines = text.split(b"\n")
        for at in range(len(lines) + (lines[-1] != b"")):
            for fault in FAULTS:
                bad = dict(GOOD)
                bad[name] = b"\n".join(lines[:at] + [fault] + lines[at:])
                said, verdicts = evaluator.judge(bad, queries)
                assert said == (name.decode(), at + 1), f"{fault!r} as line {at + 1} of {name}: the broker says {said}"
                assert verdicts == [DENIED] * 4
                n += 1
    return f"{n} sets: {len(FAULTS)} faults at each line"


def test_cut_sets(evaluator):
    """A file of a set that is cut off at each byte, as by a full disk."""
    rng = random.Random(SEED + 3)
    queries = [pick_query(rng) for _ in range(2)]
    n = 0
    for name, text in GOOD.items():
        for length in range(len(text)):
            compare(evaluator, {**GOOD, name: text[:length]}, queries, f"{name} cut at {length}")
            n += 1
        without = dict(GOOD)
        del without[name]
        compare(evaluator, without, queries, f"without {name}")
    return f"{n} sets"


def test_default_set(evaluator):
    """What is installed: input devices ask, all else from qube to qube, never dom0; and the page's own example."""
    files = {path.name.encode(): path.read_bytes() for path in (ROOT / "packaging/policy.d").iterdir()}
    stick = {"class": "usb", "port": "1-1", "vendor": 1, "product": 2, "serial": "", "interfaces": ["080650"],
             "source": "sys-usb", "source_dom0": False, "target": "work", "target_dom0": False}
    for change, action in [({}, "allow"), ({"interfaces": ["030101"]}, "ask"), ({"interfaces": ["030102"]}, "ask"),
                           ({"interfaces": ["030000"]}, "ask"), ({"interfaces": ["080650", "030101"]}, "ask"),
                           ({"interfaces": []}, "ask"), ({"class": "mic", "interfaces": []}, "allow"),
                           ({"target": "dom0", "target_dom0": True}, "deny"), ({"source_dom0": True}, "deny"),
                           ({"class": "mic", "port": "mic", "interfaces": [], "source_dom0": True}, "allow"),
                           ({"class": "mic", "port": "mic-0123abcd", "interfaces": [], "source_dom0": True}, "deny")]:
        fault, verdicts = compare(evaluator, files, [{**stick, **change}], "the default set")
        assert fault is None and verdicts[0].startswith(action + " "), f"{change}: {fault} {verdicts}"
    page = (ROOT / "man/device-broker.policy.5").read_text()
    example = re.search(r"^\.Bd -literal\n(.*?)^\.Ed", page, re.M | re.S).group(1)
    rng = random.Random(SEED + 4)
    queries = [pick_query(rng) for _ in range(50)]
    assert compare(evaluator, {b"x.policy": example.encode()}, queries, "the page")[0] is None


def main():
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    failed = 0
    print(f"# SEED={SEED} ROUNDS={ROUNDS}")
    for number, test in enumerate(tests, 1):
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        directory = tempfile.mkdtemp(dir=base)
        evaluator = Evaluator(directory)
        try:
            what = test(evaluator)
            evaluator.stop()
            print(f"ok {number} - {test.__name__}" + (f": {what}" if what else ""))
        except Exception:  # pylint: disable=broad-except
            failed += 1
            evaluator.process.kill()
            print(f"not ok {number} - {test.__name__}")
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()[-30:]), end="")
        finally:
            shutil.rmtree(directory)
        sys.stdout.flush()
    print(f"1..{len(tests)}")
    return bool(failed)


sys.exit(main())
