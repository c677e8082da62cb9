#compdef lkvm
# SPDX-License-Identifier: GPL-2.0-only
#
# Completion of lkvm's command line for zsh: install it as _lkvm in a folder of $fpath. lkvm itself
# says what may follow ("lkvm complete"); nothing here names an option.

_lkvm() {
	local line paths= candidate
	local -a candidates descriptions

	for line in "${(@f)$("$words[1]" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		if [[ $line = :* ]]; then
			paths=${line#:}
			continue
		fi
		candidate=${line%%$'\t'*}
		candidates+=("$candidate")
		descriptions+=("$candidate  ${line#*$'\t'}")
	done
	(( ! $#candidates )) || compadd -l -d descriptions -a candidates
	# The value of --option=VALUE is a path of its own.
	[[ -z $paths || $PREFIX != --*=* ]] || compset -P '*='
	case $paths in
	files) _files ;;
	dirs) _files -/ ;;
	esac
}

_lkvm "$@"
