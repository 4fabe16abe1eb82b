# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of qvm-device and its other names in bash. The tool itself says what may come next, within a second.

_qvm_device()
{
	local words current breaks typed
	COMPREPLY=()
	# The words of the line as a shell sees them; COMP_WORDS is cut at ':' too.
	read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
	if [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]]; then words+=(""); fi
	if ((${#words[@]} < 2)); then return; fi
	current=${words[-1]}
	if [[ ${words[-2]} == --socket || $current == --socket=* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "${current#--socket=}")
		return
	fi
	mapfile -t COMPREPLY < <("${words[0]}" --complete "${words[@]:1}" 2>/dev/null)
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
	# Readline replaces only what stands after the last of these.
	breaks=${COMP_WORDBREAKS//[^:=]/}
	if [[ -n $breaks && $current == *["$breaks"]* ]]; then
		typed=${current%"${current##*["$breaks"]}"}
		COMPREPLY=("${COMPREPLY[@]#"$typed"}")
	fi
} && complete -F _qvm_device qvm-device qvm-usb qvm-mic qvm-speaker qvm-webcam
