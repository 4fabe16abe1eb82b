# SPDX-License-Identifier: GPL-2.0-or-later
"""Cameras under Xen: vivid and a USB webcam in sys-usb, v4l2loopback in work, and programs that know nothing of us: ffmpeg, v4l2-ctl,
v4l2-compliance.
"""
import re
import signal
import time

import camera
import sound
import tools
from camera import JPEG, RAW, Vivid, Webcam, ctl, film, format_of, grab, psnr, virtual, wait_control, wait_lamp, wait_listed, webcam
from qubes import Qubes
from sound import start_server
from sound import virtual as virtual_mic

LISTED_VIVID = r"^sys-usb:(webcam-[0-9a-f]{8}) .*vivid"
LISTED_WEBCAM = r"^sys-usb:(webcam-[0-9a-f]{8}) .*Rig Webcam"
LISTED_MIC = r"^sys-usb:(mic-[0-9a-f]{8}) .*Microphone: .+ Stereo"
LABEL = "Rig Webcam: UVC Camera"  # as uvcvideo calls it
DARK_SECONDS = 2  # seconds within which the lamp must be off


def attach(qubes, target, name, *options):
    """Also to a qube whose agent has just started."""
    deadline = time.monotonic() + 30
    while (done := webcam(qubes, "attach", *options, target, name, check=False)).rc != 0:
        assert "no device agent" in done.err and time.monotonic() < deadline, f"{done} {qubes.logs()}"
        time.sleep(0.5)


def refused(done, words):
    assert done.rc == 1 and words in done.err, done


def in_use(qubes, name):
    return re.search(rf"{name} .* yes ", qubes.dom0.run("qvm-device status --once").out) is not None


def test_vivid(rig):
    """Raw pictures, to the bit; the lamp; what the broker says meanwhile; its controls."""
    qubes = Qubes.of(rig)
    device_qube, work = rig["sys-usb"], rig["work"]
    source = Vivid(device_qube)
    name = f"sys-usb:{wait_listed(qubes, LISTED_VIVID)}"
    ctl(device_qube, f"/dev/{source.node}", "--set-fmt-video=width=640,height=360,pixelformat=YUYV")
    known = {}
    for pixels in ("YUYV", "NV12", "YU12"):
        ctl(device_qube, f"/dev/{source.node}", f"--set-fmt-video=width=640,height=360,pixelformat={pixels}")
        known[pixels] = grab(device_qube, f"/dev/{source.node}", 1)[0]
    device_qube.run("dmesg -c >/dev/null")

    refused(webcam(qubes, "attach", "-o", "size=642x360", "work", name, check=False), "no such picture size")
    assert source.lamp() == []
    attach(qubes, "work", name, "-o", "size=640x360", "-o", "fps=30")
    refused(webcam(qubes, "attach", "personal", name, check=False), "in use by work")
    node = virtual(work, "vivid")
    pixels, *size = format_of(work, node)
    assert size == [640, 360], size
    time.sleep(1)
    assert source.lamp() == [], f"nobody looks, and the camera's lamp is on: {source.lamp()}"

    for see in (grab, film):
        begun = time.monotonic()
        pictures = see(work, node, 20)
        took = time.monotonic() - begun
        same = sum(picture == known[pixels] for picture in pictures)
        # the first may be the black one that is there until the camera's first
        assert len(pictures) == 20 and same >= 19 and same + sum(not any(p[0:64:2]) or p[0] == 16 for p in pictures[:1]) >= 20, \
            f"{see.__name__}: {same} of {len(pictures)}"
        dark = wait_lamp(source, "off", DARK_SECONDS)
        print(f"# {see.__name__}: {same} of {len(pictures)} pictures of 640x360 {pixels} as the camera has them, in {took:.1f} s; dark after {dark:.2f} s")
    assert source.lamp() == ["on", "off"] * 2, source.lamp()

    looker = work.spawn(f"exec {tools.PATH}/v4l2-ctl -d {node} --stream-mmap --stream-count=1000000 >/dev/null 2>&1")
    wait_lamp(source, "on", 10)
    deadline = time.monotonic() + 5
    while not in_use(qubes, name):
        assert time.monotonic() < deadline, qubes.dom0.run("qvm-device status --once").out
    webcam(qubes, "mute", "work", name)
    wait_lamp(source, "off", DARK_SECONDS)
    webcam(qubes, "unmute", "work", name)
    wait_lamp(source, "on", 5)
    looker.kill()
    wait_lamp(source, "off", DARK_SECONDS)
    webcam(qubes, "detach", "work", name)
    assert not work.run("ls /sys/devices/virtual/video4linux 2>/dev/null", check=False).out
    qubes.wait_clean("sys-usb", "work")

    node = f"/dev/{source.node}"
    ctl(device_qube, node, "--set-ctrl=brightness=99")
    attach(qubes, "work", name, "-o", "brightness=100", "-o", "power-line=60")
    wait_control(device_qube, node, "brightness", 255)
    assert "power-line is left as it is: the camera does not have it" in qubes.log("sys-usb"), qubes.logs()
    ctl(work, virtual(work, "vivid"), "--set-ctrl=brightness=5", check=False)  # the target has no say in it
    wait_control(device_qube, node, "brightness", 255)
    webcam(qubes, "detach", "work", name)
    wait_control(device_qube, node, "brightness", 99)
    qubes.wait_clean("sys-usb", "work")
    source.unplug()


def test_webcam(rig):
    """A USB webcam: JPEG that is decoded in its qube, raw pictures, its microphone with one command, and the whole never beside."""
    qubes = Qubes.of(rig)
    device_qube, work = rig["sys-usb"], rig["work"]
    for d in (device_qube, work):
        start_server(d)
    sound.detect(device_qube)
    source = Webcam(device_qube)
    name = f"sys-usb:{wait_listed(qubes, LISTED_WEBCAM)}"
    whole = qubes.device(qubes.wait_listed(serial="WEBCAM1"))
    print("".join(f"# {line}\n" for line in qubes.dom0.run("qvm-device list").out.splitlines() if "sys-usb" in line), end="")
    its_mic = f"sys-usb:{sound.wait_listed(qubes, LISTED_MIC)}"

    attach(qubes, "work", name, "--with-mic")
    assert virtual_mic(work)
    refused(qubes.usb("attach", "work", whole, check=False), "")
    node = virtual(work, LABEL)
    assert format_of(work, node) == ("YU12", *JPEG[1:3])
    assert source.lamp() == [], source.lamp()
    worst = min(psnr(picture, source.original) for picture in grab(work, node, 10)[1:])
    wait_lamp(source, "off", DARK_SECONDS)
    print(f"# JPEG of {JPEG[1]}x{JPEG[2]}, decoded in sys-usb: {worst:.1f} dB at worst")
    assert worst > 35, worst
    picture = f"{rig.dir}/webcam.png"
    camera.photograph(work, node, picture)
    qubes.dom0.run(f"qvm-mic detach work {its_mic}")
    webcam(qubes, "detach", "work", name)
    assert not virtual_mic(work)
    qubes.wait_clean("sys-usb", "work")

    attach(qubes, "work", name, "-o", f"size={RAW[1]}x{RAW[2]}")
    node = virtual(work, LABEL)
    assert format_of(work, node) == RAW[:3]
    for see in (grab, film):
        pictures = see(work, node, 40)
        places = [source.raw.index(picture) if picture in source.raw else None for picture in pictures]
        assert None not in places[1:], f"{see.__name__}: {places}"
        steps = [(b - a) % camera.PICTURES for a, b in zip(places[1:], places[2:])]
        print(f"# {see.__name__}: 40 pictures of {RAW[1]}x{RAW[2]}, left out: {sum(step - 1 for step in steps if step)}")
        assert 0 not in steps, f"{see.__name__} saw a picture twice: {places}"
        wait_lamp(source, "off", DARK_SECONDS)

    # what a program asks for, it does not get: the mode is the session's
    ctl(work, node, "--set-fmt-video=width=1920,height=1080,pixelformat=NV12", check=False)
    assert format_of(work, node) == RAW[:3]
    assert grab(work, node, 5)[-1] in source.raw
    wait_lamp(source, "off", DARK_SECONDS)
    webcam(qubes, "detach", "work", name)

    qubes.usb("attach", "work", whole)  # as a whole it is work's, with a driver there
    work.wait_usb(serial="WEBCAM1")
    assert "webcam-" not in webcam(qubes, "list").out
    qubes.usb("detach", "work", whole)
    source.unplug()
    qubes.wait_clean("sys-usb", "work")


def test_faults(rig):
    """Who looks stands still or dies; a proxy dies; the camera is pulled out."""
    qubes = Qubes.of(rig)
    device_qube, work = rig["sys-usb"], rig["work"]
    source = Webcam(device_qube)
    size = f"size={RAW[1]}x{RAW[2]}"
    name = f"sys-usb:{wait_listed(qubes, LISTED_WEBCAM)}"
    attach(qubes, "work", name, "-o", size)
    node = virtual(work, LABEL)

    tools.lend(rig, "work")
    looker = work.spawn(f"exec {tools.PATH}/v4l2-ctl -d {node} --stream-mmap --stream-count=60 --stream-to=/run/grabbed >/dev/null 2>&1")
    wait_lamp(source, "on", 10)
    time.sleep(1)
    looker.signal(signal.SIGSTOP)
    time.sleep(4)
    memory = device_qube.run("grep VmRSS /proc/$(pidof camera-proxy)/status").out
    looker.signal(signal.SIGCONT)
    assert looker.wait(60).rc == 0
    pictures = camera.split(work.get("/run/grabbed"), camera.frame_bytes("YUYV", *RAW[1:3]))
    assert len(pictures) == 60 and all(picture in source.raw for picture in pictures[1:])
    print(f"# who looks stood still for 4 s: 60 whole pictures; the exporter then: {memory.split(':')[1].strip()}")
    wait_lamp(source, "off", DARK_SECONDS)

    looker = work.spawn(f"exec {tools.PATH}/v4l2-ctl -d {node} --stream-mmap --stream-count=1000000 >/dev/null 2>&1")
    wait_lamp(source, "on", 10)
    looker.signal(signal.SIGKILL)
    print(f"# who looks was killed: dark after {wait_lamp(source, 'off', DARK_SECONDS):.2f} s")

    for victim in (work, device_qube):
        looker = work.spawn(f"exec {tools.PATH}/v4l2-ctl -d {node} --stream-mmap --stream-count=1000000 >/dev/null 2>&1")
        wait_lamp(source, "on", 10)
        victim.kill_program("camera-proxy")
        wait_lamp(source, "off", DARK_SECONDS)
        looker.kill()
        qubes.wait_clean("sys-usb", "work")
        attach(qubes, "work", name, "-o", size)
        node = virtual(work, LABEL)
        assert grab(work, node, 5)[-1] in source.raw
        wait_lamp(source, "off", DARK_SECONDS)

    looker = work.spawn(f"exec {tools.PATH}/v4l2-ctl -d {node} --stream-mmap --stream-count=1000000 >/dev/null 2>&1")
    wait_lamp(source, "on", 10)
    source.unplug()
    deadline = time.monotonic() + 10
    while "webcam-" in webcam(qubes, "list").out:
        assert time.monotonic() < deadline, qubes.logs()
    assert "the device was unplugged" in qubes.log("sys-usb"), qubes.logs()
    looker.kill()
    qubes.wait_clean("sys-usb", "work")


def failures(d, node):
    out = d.run(f"{tools.PATH}/v4l2-compliance -d {node} 2>&1", check=False, timeout=120).out
    return sorted(set(re.findall(r"test (.*): FAIL", out))), out


def test_compliance(rig):
    """Our virtual camera fails nothing of v4l2-compliance that v4l2loopback does not fail alone."""
    qubes = Qubes.of(rig)
    work = rig["work"]
    source = Vivid(rig["sys-usb"])
    name = f"sys-usb:{wait_listed(qubes, LISTED_VIVID)}"
    attach(qubes, "work", name, "-o", "size=640x360")
    tools.lend(rig, "work")
    ours, said = failures(work, virtual(work, "vivid"))
    webcam(qubes, "detach", "work", name)
    source.unplug()
    work.run(f"{tools.PATH}/v4l2loopback-ctl add -n alone -x 1 -b 4 /dev/video60")
    writer = work.spawn(f"exec {tools.PATH}/ffmpeg -loglevel error -re -f lavfi -i testsrc2=size=640x360:rate=30 -pix_fmt nv12 -f v4l2 /dev/video60")
    work.wait_for(f"{tools.PATH}/v4l2-ctl -d /dev/video60 --get-fmt-video | grep -q 640/360", timeout=30)
    alone, said_alone = failures(work, "/dev/video60")
    writer.kill()
    work.wait_for(f"{tools.PATH}/v4l2loopback-ctl delete /dev/video60")
    print(f"# v4l2-compliance: ours fails {ours or 'nothing'}; v4l2loopback alone, written to by ffmpeg: {alone or 'nothing'}")
    assert re.search(r"Total for .*: \d+", said) and re.search(r"Total for .*: \d+", said_alone), said + said_alone
    assert set(ours) <= set(alone), said
    qubes.wait_clean("sys-usb", "work")
