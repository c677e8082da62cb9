# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Completion of lkvm's command line for bash: /usr/share/bash-completion/completions/lkvm, or
# "source" it. lkvm itself says what may follow ("lkvm complete"); nothing here names an option.

_lkvm()
{
	local words=() word prefix line paths=

	# bash takes words apart at "="; together they are what was typed.
	for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
		if [ ${#words[@]} -gt 0 ] && { [ "$word" = = ] ||
			[[ ${words[-1]} = --*= ]]; }; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
	done
	word=${words[-1]-}
	prefix=
	[[ $word != --*=* ]] || prefix=${word%%=*}=
	COMPREPLY=()
	while IFS=$'\t' read -r line _; do
		case $line in
		:*) paths=${line#:} ;;
		*) COMPREPLY+=("${line#"$prefix"}") ;;
		esac
	done < <("${COMP_WORDS[0]}" complete -- "${words[@]}" 2>/dev/null)
	word=${word#"$prefix"}
	case $paths in
	files) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$word") ;;
	dirs) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$word") ;;
	esac
	[ -z "$paths" ] || compopt -o filenames 2>/dev/null
}

complete -F _lkvm lkvm
