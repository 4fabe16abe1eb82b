# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of qvm-device and qvm-usb. Names come from the broker and, for qubes, from qvm-ls where that is installed.

_qvm_device_places()
{
	"$1" "${@:2}" list 2>/dev/null | while read -r place _; do printf '%s\n' "$place"; done
}

_qvm_device_qubes()
{
	if type -P qvm-ls >/dev/null; then
		qvm-ls --raw-list 2>/dev/null
	else
		_qvm_device_places "$@" | while IFS=: read -r backend _; do printf '%s\n' "$backend"; done
	fi
}

_qvm_device()
{
	local cur prev words cword class=() command="" args=0 i
	local free="deny allow policy audit watch suspend resume"
	local commands="list attach detach move assign unassign info $free"

	if declare -F _init_completion >/dev/null; then
		_init_completion -n : || return
	else
		words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	fi
	case $prev in
	--socket) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	-o | --option) return ;;
	--exclude) COMPREPLY=($(compgen -W "$(_qvm_device_qubes "${words[0]}")" -- "$cur")); return ;;
	esac
	for ((i = 1; i < cword; i++)); do
		case ${words[i]} in
		--socket | -o | --option | --exclude) ((i++)) ;;
		-*) ;;
		*)
			if [[ ${words[0]##*/} == qvm-device && ${#class[@]} -eq 0 && " $free " != *" ${words[i]} "* ]]; then
				class=("${words[i]}")
			elif [[ -z $command ]]; then
				command=${words[i]}
			else
				((args++))
			fi
			;;
		esac
	done
	if [[ -n $command && ${words[0]##*/} == qvm-device && ${#class[@]} -eq 0 ]]; then
		class=(usb) # what a command without a class means
	fi
	if [[ $cur == -* ]]; then
		local options="--help --version --verbose --quiet --socket --list-device-classes"
		case $command in
		list | ls | l) options+=" --json --assignments --all --exclude" ;;
		attach | at | a | move | mv | m) options+=" --option --ro" ;;
		assign | s) options+=" --option --ro --ask --required --port --device" ;;
		unassign | u) options+=" --port --device" ;;
		audit) options+=" --json --follow --verify" ;;
		watch) options+=" --answer" ;;
		esac
		COMPREPLY=($(compgen -W "$options" -- "$cur"))
	elif [[ ${words[0]##*/} == qvm-device && ${#class[@]} -eq 0 ]]; then
		COMPREPLY=($(compgen -W "$("${words[0]}" --list-device-classes 2>/dev/null) $free" -- "$cur"))
	elif [[ -z $command ]]; then
		COMPREPLY=($(compgen -W "$commands" -- "$cur"))
	else
		case $command:$args in
		list:* | ls:* | l:* | attach:0 | at:0 | a:0 | detach:0 | dt:0 | d:0 | move:0 | mv:0 | m:0 | \
			assign:0 | s:0 | unassign:0 | u:0 | deny:0 | allow:0 | policy:1)
			COMPREPLY=($(compgen -W "$(_qvm_device_qubes "${words[0]}" "${class[@]}")" -- "$cur"))
			;;
		policy:0) COMPREPLY=($(compgen -W "check explain" -- "$cur")) ;;
		attach:1 | at:1 | a:1 | detach:1 | dt:1 | d:1 | info:0 | i:0 | move:1 | mv:1 | m:1 | \
			assign:1 | s:1 | unassign:1 | u:1 | policy:2)
			COMPREPLY=($(compgen -W "$(_qvm_device_places "${words[0]}" "${class[@]}")" -- "$cur"))
			declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
			;;
		esac
	fi
	return 0
} && complete -F _qvm_device qvm-device qvm-usb
