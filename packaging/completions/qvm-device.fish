# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of qvm-device and its other names in fish. The tool itself says what may come next, within a second.

function __qvm_device_complete
    set -l words (commandline -opc)
    command $words[1] --complete $words[2..-1] (commandline -ct) 2>/dev/null
end

for name in qvm-device qvm-usb qvm-mic qvm-speaker qvm-webcam
    complete -c $name -f -a '(__qvm_device_complete)'
    complete -c $name -l socket -r -F
end
