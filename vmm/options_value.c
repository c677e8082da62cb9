// SPDX-License-Identifier: GPL-2.0-only
/*
 * The values of options: the number and size syntax that all commands share, and the
 * setters that tables have in common.
 *
 * Pure functions of their arguments; no state, any thread.
 */
#include "lkvm/options.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Numbers. */

/*
 * Read digits at *@text and move it behind them.
 * Return: 0; -1 where there are none; 1 where they do not fit 64 bits.
 */
static int read_digits(const char **text, uint64_t *value)
{
	const char *p = *text;
	unsigned int base = 10;
	uint64_t v = 0;
	int result = -1;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	for (; (unsigned int)hex_digit(*p) < base; p++) {
		if (result < 0)
			result = 0;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)hex_digit(*p), &v))
			result = 1;
	}
	*text = p;
	*value = v;
	return result;
}

static bool is_negative(const char *text)
{
	const char *p = text + 1;
	uint64_t v;

	return *text == '-' && read_digits(&p, &v) >= 0;
}

int parse_uint(const char *text, uint64_t max, uint64_t *value, struct error *err)
{
	const char *p = text;
	uint64_t v;
	int result = read_digits(&p, &v);

	if (result < 0 || *p) {
		if (is_negative(text))
			return fail(err, "below 0");
		return fail(err, "not a whole number");
	}
	if (result > 0 || v > max)
		return fail(err, "above the limit of %llu", (unsigned long long)max);
	*value = v;
	return 0;
}

/* The bytes that a suffix stands for, moving *@text behind it; 0: no such suffix. */
static uint64_t read_suffix(const char **text, uint64_t unit)
{
	static const char letters[] = "kmgt";
	const char *p = *text;
	const char *letter;

	if (!*p)
		return unit ? unit : 1;
	if ((*p == 'B' || *p == 'b') && !p[1]) {
		*text = p + 1;
		return 1;
	}
	letter = strchr(letters, lower(*p));
	if (!letter)
		return 0;
	p++;
	if (lower(p[0]) == 'i' && lower(p[1]) == 'b')
		p += 2;
	else if (lower(p[0]) == 'b')
		p++;
	*text = p;
	return UINT64_C(1) << (10 * (letter - letters + 1));
}

int parse_size(const char *text, uint64_t unit, uint64_t *bytes, struct error *err)
{
	const char *p = text;
	uint64_t v, factor;
	int result = read_digits(&p, &v);

	factor = result < 0 ? 0 : read_suffix(&p, unit);
	if (!factor || *p) {
		if (is_negative(text))
			return fail(err, "below 0");
		return fail(err, "not a size such as 512M or 2G");
	}
	if (result > 0 || __builtin_mul_overflow(v, factor, &v))
		return fail(err, "more bytes than 64 bits can count");
	*bytes = v;
	return 0;
}

/* Setters. */

int option_set_flag(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	(void)value;
	(void)err;
	*(bool *)((char *)target + opt->offset) = on;
	return 0;
}

int option_set_string(void *target, const struct option_spec *opt, const char *value, bool on,
		      struct error *err)
{
	const char **field = (const char **)((char *)target + opt->offset);

	(void)on;
	if (*field)
		return fail(err, "given twice, the first time as %.100s", *field);
	*field = value;
	return 0;
}

int option_set_file(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	(void)target;
	(void)opt;
	(void)value;
	(void)on;
	(void)err;
	return 0; /* options_parse() has read it */
}

int option_refuse(void *target, const struct option_spec *opt, const char *value, bool on,
		  struct error *err)
{
	(void)target;
	(void)value;
	(void)on;
	return fail(err, "%s", opt->help);
}

int option_set_uint(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	uint64_t v = 0;

	(void)on;
	if (parse_uint(value, UINT_MAX, &v, err))
		return -1;
	*(unsigned int *)((char *)target + opt->offset) = (unsigned int)v;
	return 0;
}

int option_set_word(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	char all[160] = "";
	size_t len = 0;
	unsigned int i;

	(void)on;
	for (i = 0; opt->words[i]; i++) {
		if (!strcmp(opt->words[i], value)) {
			*(unsigned int *)((char *)target + opt->offset) = i;
			return 0;
		}
		if (len < sizeof(all))
			len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i ? ", " : "",
						opt->words[i]);
	}
	return fail(err, "must be one of %s", all);
}
