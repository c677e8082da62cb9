// SPDX-License-Identifier: GPL-2.0-only
/*
 * kallsyms-elf: an ELF file with nothing but the symbols of a Linux kernel, for a debugger.
 *
 * Theory of operation: Debian's kernels come without vmlinux, but a running one tells its
 * symbols: /proc/kallsyms, or the same lines in System.map. This reads such lines,
 *
 *	ffffffff80a00b1c T start_kernel
 *
 * from standard input and writes the file to standard output: one section without contents
 * (NOBITS) over all addresses, one symbol a line. Symbols of modules and of per-CPU data are
 * left out. Status 1: no symbols, or no room.
 */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EM_OF_RISCV 243
/* Compressed instructions, floating point in registers (RISC-V ELF psABI) */
#define EF_OF_KERNELS 5
/* All of the kernel's own addresses are above. */
#define LOWEST (UINT64_C(1) << 63)
#define NAMES_MAX (64 << 20)
#define SYMBOLS_MAX (1 << 20)

enum { SECTION_NONE, SECTION_KERNEL, SECTION_SYMTAB, SECTION_STRTAB, SECTION_NAMES, NR_SECTIONS };

static const char section_names[] = "\0.text\0.symtab\0.strtab\0.shstrtab";

static struct {
	Elf64_Sym *symbols;
	char *names;
	size_t nr, names_len;
	uint64_t first, last;
} all = {.nr = 1, .names_len = 1, .first = UINT64_MAX};

static void add(uint64_t address, char type, const char *name)
{
	int kind = strchr("tTwW", type) ? STT_FUNC : STT_OBJECT;
	int bind = type >= 'a' ? STB_LOCAL : STB_GLOBAL;
	size_t len = strlen(name) + 1;

	if (all.nr == SYMBOLS_MAX || all.names_len + len > NAMES_MAX) {
		fprintf(stderr, "kallsyms-elf: too many symbols\n");
		exit(1);
	}
	all.symbols[all.nr++] = (Elf64_Sym){.st_name = (Elf64_Word)all.names_len,
					    .st_info = (unsigned char)ELF64_ST_INFO(bind, kind),
					    .st_shndx = SECTION_KERNEL,
					    .st_value = address};
	memcpy(all.names + all.names_len, name, len);
	all.names_len += len;
	if (address < all.first)
		all.first = address;
	if (address > all.last)
		all.last = address;
}

static void read_all_lines(void)
{
	char line[1024], name[512], more[2], type;
	unsigned long long address;

	while (fgets(line, sizeof(line), stdin))
		if (sscanf(line, "%llx %c %511s %1s", &address, &type, name, more) == 3 &&
		    address >= LOWEST)
			add(address, type, name);
}

/* Local symbols come first (System V ABI, "Symbol Table"). */
static int by_binding(const void *a, const void *b)
{
	const Elf64_Sym *x = a, *y = b;

	return ELF64_ST_BIND(x->st_info) - ELF64_ST_BIND(y->st_info);
}

static size_t first_global(void)
{
	size_t i;

	for (i = 1; i < all.nr && ELF64_ST_BIND(all.symbols[i].st_info) == STB_LOCAL; i++)
		;
	return i;
}

static int write_file(void)
{
	Elf64_Off at = sizeof(Elf64_Ehdr) + NR_SECTIONS * sizeof(Elf64_Shdr);
	size_t symbols_len = all.nr * sizeof(*all.symbols);
	Elf64_Ehdr head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				       EV_CURRENT},
			   .e_type = ET_EXEC,
			   .e_machine = EM_OF_RISCV,
			   .e_version = EV_CURRENT,
			   .e_shoff = sizeof(head),
			   .e_flags = EF_OF_KERNELS,
			   .e_ehsize = sizeof(head),
			   .e_shentsize = sizeof(Elf64_Shdr),
			   .e_shnum = NR_SECTIONS,
			   .e_shstrndx = SECTION_NAMES};
	Elf64_Shdr sections[NR_SECTIONS] = {
		[SECTION_KERNEL] = {.sh_name = 1,
				    .sh_type = SHT_NOBITS,
				    .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
				    .sh_addr = all.first,
				    .sh_offset = at,
				    .sh_size = all.last - all.first + 4096},
		[SECTION_SYMTAB] = {.sh_name = 7,
				    .sh_type = SHT_SYMTAB,
				    .sh_offset = at,
				    .sh_size = symbols_len,
				    .sh_link = SECTION_STRTAB,
				    .sh_info = (Elf64_Word)first_global(),
				    .sh_entsize = sizeof(Elf64_Sym)},
		[SECTION_STRTAB] = {.sh_name = 15,
				    .sh_type = SHT_STRTAB,
				    .sh_offset = at + symbols_len,
				    .sh_size = all.names_len},
		[SECTION_NAMES] = {.sh_name = 23,
				   .sh_type = SHT_STRTAB,
				   .sh_offset = at + symbols_len + all.names_len,
				   .sh_size = sizeof(section_names)},
	};

	fwrite(&head, sizeof(head), 1, stdout);
	fwrite(sections, sizeof(sections), 1, stdout);
	fwrite(all.symbols, 1, symbols_len, stdout);
	fwrite(all.names, 1, all.names_len, stdout);
	fwrite(section_names, 1, sizeof(section_names), stdout);
	return fflush(stdout) || ferror(stdout);
}

int main(void)
{
	all.symbols = calloc(SYMBOLS_MAX, sizeof(*all.symbols));
	all.names = calloc(1, NAMES_MAX);
	if (!all.symbols || !all.names) {
		fprintf(stderr, "kallsyms-elf: no memory\n");
		return 1;
	}
	read_all_lines();
	if (all.nr == 1) {
		fprintf(stderr, "kallsyms-elf: no symbols of a kernel\n");
		return 1;
	}
	qsort(all.symbols + 1, all.nr - 1, sizeof(*all.symbols), by_binding);
	return write_file();
}
