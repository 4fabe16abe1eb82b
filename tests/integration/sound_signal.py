# SPDX-License-Identifier: GPL-2.0-or-later
"""The sound that tests play: speech, that of alsa-utils, and a sweep. 48,000 Hz, two channels of 16 bits."""
import array
import math
import random
import wave

RATE = 48000
SPEECH = [f"/usr/share/sounds/alsa/{name}.wav" for name in ("Front_Left", "Rear_Right", "Front_Center", "Side_Left")]
LOW, HIGH = 60, 14000  # of the sweep, in Hz
SWEEP, NOISE = 9000, 500  # amplitudes


def speech():
    """Some seconds of it."""
    samples = array.array("h")
    for path in SPEECH:
        with wave.open(path) as file:
            assert file.getparams()[:3] == (1, 2, RATE), path
            samples.frombytes(file.readframes(file.getnframes()))
    return samples


def sweep(n):
    """From low to high and back, so that the end fits the beginning."""
    phase, samples = 0.0, array.array("h")
    for i in range(n):
        octaves = math.log2(HIGH / LOW) * (1 - abs(2 * i / n - 1))
        phase += 2 * math.pi * LOW * 2 ** octaves / RATE
        samples.append(int(SWEEP * math.sin(phase)))
    return samples


def signal():
    """Speech, then a sweep; at the right the other way round. Each with a microphone's noise, by which also the pauses differ."""
    words = speech()
    tones = sweep(len(words))
    chance, out, hiss = random.Random(1), array.array("h"), [0.0, 0.0]
    for both in zip(words + tones, tones + words):
        for channel, sample in enumerate(both):
            hiss[channel] = hiss[channel] / 2 + chance.uniform(-NOISE, NOISE) / 2
            out.append(int(sample * 0.7 + hiss[channel]))
    return out.tobytes()
