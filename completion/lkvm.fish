# SPDX-License-Identifier: GPL-2.0-only
#
# Completion of lkvm's command line for fish: vendor_completions.d/lkvm.fish. lkvm itself says what may
# follow ("lkvm complete"); nothing here names an option.

function __lkvm_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l prefix (string match -r -- '^--[^=]*=' $current)

    for line in ($words[1] complete -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case :files
                for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' $current))
                    echo "$prefix$path"
                end
            case :dirs
                for path in (__fish_complete_directories (string replace -r -- '^--[^=]*=' '' $current))
                    echo "$prefix$path"
                end
            case '*'
                echo $line
        end
    end
end

complete -c lkvm -f -a '(__lkvm_complete)'
