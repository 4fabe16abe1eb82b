# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads an audit log without the broker's code, for tests; the format is in broker/io/audit.h."""
import hashlib
import json
import re

NAME = re.compile(r"audit-(\d{20})\.log")


class Wrong(Exception):
    pass


def require(fact, text):
    if not fact:
        raise Wrong(text)


def read_log(directory):
    """The records in order; every rule of the format is checked here once more, independently."""
    files = sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))
    if (directory / "audit.log").exists():
        files.append(directory / "audit.log")
    records, digest = [], "0" * 64
    for path in files:
        text = path.read_bytes()
        require(text.endswith(b"\n") or not text, f"{path.name} ends in half a line")
        for number, line in enumerate(text.split(b"\n")[:-1]):
            where = f"{path.name}:{number + 1}"
            require(re.fullmatch(rb"[\x20-\x7e]{1,4094}", line), f"{where} is not a line of printable ASCII")
            record = json.loads(line)
            require(record["seq"] == len(records) + 1, f"{where} has number {record['seq']}, due is {len(records) + 1}")
            require(record["prev"] == digest, f"{where} does not chain")
            require(list(record)[-1] == "prev", f"{where}: prev is not last")
            name = NAME.fullmatch(path.name)
            require(number or not name or int(name[1]) == record["seq"], f"{where} is not what the file's name says")
            digest = hashlib.sha256(line).hexdigest()
            records.append(record)
    return records
