# SPDX-License-Identifier: GPL-2.0-only
#
# table.awk: a table of samples, and the same as JSON, one figure a line.
#
# Input, tab-separated: first what is aimed at (see `aims`), then the samples:
#
#	about	KEY	TEXT
#	GROUP	WHO	ROW	UNIT	VALUE
#
# A figure is the median; +- is half the distance between the quartiles, in per cent of it. Where
# that is over 2, or where there is but one sample, the figure is marked with a question mark. A ratio
# is lkvm's median by the other's.

BEGIN { FS = "\t" }

function sort(v, n, i, j, t) {
	for (i = 2; i <= n; i++) {
		t = v[i]
		for (j = i - 1; j > 0 && v[j] > t; j--)
			v[j + 1] = v[j]
		v[j + 1] = t
	}
}

# Of sorted v[1..n], between its neighbours where it is none of them: what a new sample is below with
# probability q, so that the quartiles of two or three are the least and the greatest.
function quantile(v, n, q, at, low) {
	at = (n + 1) * q
	low = int(at)
	if (low < 1)
		return v[1]
	return low >= n ? v[n] : v[low] + (at - low) * (v[low + 1] - v[low])
}

# 1234567 as 1,234,567; small ones with what tells them apart.
function pretty(x, s, out) {
	if (x < 0)
		return "-" pretty(-x)
	if (x < 100 && x != int(x))
		return sprintf("%.2f", x)
	s = sprintf("%.0f", x)
	while (length(s) > 3) {
		out = "," substr(s, length(s) - 2) out
		s = substr(s, 1, length(s) - 3)
	}
	return s out
}

function quoted(s) {
	gsub(/["\\]/, "\\\\&", s)
	return "\"" s "\""
}

# Median and spread of a figure, from its samples.
function settle(key, n, v, i, parts) {
	n = split(values[key], parts, " ")
	for (i = 1; i <= n; i++)
		v[i] = parts[i] + 0
	sort(v, n)
	median[key] = quantile(v, n, .5)
	spread[key] = (quantile(v, n, .75) - quantile(v, n, .25)) / 2
	percent[key] = median[key] ? spread[key] * 100 / median[key] : 0
	if (percent[key] < 0)
		percent[key] = -percent[key]
	doubtful[key] = n < 2 || percent[key] > 2
}

function cell(key) {
	if (!(key in median))
		return sprintf("%16s %6s", "-", "")
	return sprintf("%15s%s %6s", pretty(median[key]), doubtful[key] ? "?" : " ",
		n_samples[key] < 2 ? "" : sprintf("+-%.1f", percent[key]))
}

# The aim of a row: what it is, and whether it is met.
function verdict(row, a, have, key, ok) {
	if (!(row in aim_value))
		return ""
	key = row SUBSEP "lkvm"
	if (!(key in median))
		return ""
	have = median[key]
	if (aim_of[row] != "-") {
		if (!((row SUBSEP aim_of[row]) in median) || !median[row, aim_of[row]])
			return ""
		have /= median[row, aim_of[row]]
	}
	ok = have <= aim_value[row]
	return sprintf("  aim: %s%s %s", aim_of[row] == "-" ? "" : "by " aim_of[row] " ", aim_value[row],
		ok ? "met" : "MISSED")
}

FILENAME == ARGV[1] {
	if (/^[^#]/ && NF == 4) {
		aim_of[$1 SUBSEP $2] = $3
		aim_value[$1 SUBSEP $2] = $4
	}
	next
}

$1 == "about" {
	if (!($2 in about))
		keys[++n_keys] = $2
	about[$2] = $3
	next
}

NF == 5 {
	row = $1 SUBSEP $3
	if (!(row in unit)) {
		rows[++n_rows] = row
		unit[row] = $4
		group[row] = $1
		name[row] = $3
	}
	key = row SUBSEP $2
	if (!(key in values)) {
		figures[++n_figures] = key
		row_of[key] = row
		who_of[key] = $2
	}
	values[key] = values[key] " " $5
	n_samples[key]++
	if (!(($1, $2) in seen)) {
		seen[$1, $2] = 1
		whos[$1] = whos[$1] " " $2
	}
}

END {
	for (i = 1; i <= n_figures; i++)
		settle(figures[i])
	printf "{" >json
	for (i = 1; i <= n_keys; i++) {
		printf "\n%s: %s,", quoted(keys[i]), quoted(about[keys[i]]) >json
		printf "%s: %s\n", keys[i], about[keys[i]]
	}
	printf "\n\"figures\": [" >json
	for (i = 1; i <= n_figures; i++) {
		key = figures[i]
		row = row_of[key]
		list = values[key]
		gsub(/^ /, "", list)
		gsub(/ /, ", ", list)
		printf "%s\n{\"group\": %s, \"row\": %s, \"unit\": %s, \"who\": %s, \"median\": %.6g, \"spread\": %.6g, \"doubtful\": %s, \"samples\": [%s]}",
			(i > 1 ? "," : ""), quoted(group[row]), quoted(name[row]), quoted(unit[row]), quoted(who_of[key]),
			median[key], spread[key], doubtful[key] ? "true" : "false", list >json
	}
	printf "\n]\n}\n" >json

	for (i = 1; i <= n_rows; i++) {
		row = rows[i]
		if (group[row] != last) {
			last = group[row]
			n_whos = split(whos[last], who, " ")
			printf "\n%-44s %-12s", last, ""
			for (j = 1; j <= n_whos; j++)
				printf "%15s  %6s", who[j], ""
			for (j = 1; j <= n_whos; j++)
				if (who[j] != "lkvm")
					printf " %10s", "lkvm:" who[j]
			printf "\n"
		}
		printf "%-44s %-12s", name[row], unit[row]
		for (j = 1; j <= n_whos; j++)
			printf "%s", cell(row SUBSEP who[j])
		for (j = 1; j <= n_whos; j++) {
			if (who[j] == "lkvm")
				continue
			if (((row, "lkvm") in median) && ((row, who[j]) in median) && median[row, who[j]])
				printf " %10.3f", median[row, "lkvm"] / median[row, who[j]]
			else
				printf " %10s", ""
		}
		print verdict(row)
	}
	print "\n? can't be trusted: one sample, or a spread of more than 2 per cent"
}
