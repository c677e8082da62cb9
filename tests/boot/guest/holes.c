// SPDX-License-Identifier: GPL-2.0-only
/*
 * holes MIB [keep]: touch so much memory and give every second page of it back, so that
 * half of it is free, in no two pages that touch; with "keep" give nothing back. Says
 * "holes-ready" and stays until it is killed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t size = argc > 1 ? strtoul(argv[1], NULL, 0) << 20 : 0, page = 4096, i;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("holes");
		return 1;
	}
	madvise(p, size, MADV_NOHUGEPAGE);
	memset(p, 0x5a, size);
	for (i = page; argc < 3 && i < size; i += 2 * page)
		madvise(p + i, page, MADV_DONTNEED);
	puts("holes-ready");
	fflush(stdout);
	pause();
	return 0;
}
