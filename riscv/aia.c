// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's AIA (include/lkvm/riscv/aia.h): RISC-V Advanced Interrupt Architecture
 * 1.0, as Linux' KVM has it: one APLIC domain that sends messages, and an IMSIC for
 * each hart, whose interrupt files live in software or in the hardware's guest files.
 *
 * What KVM wants: the device is created when all vCPUs exist and before one has run;
 * the number of sources is at most that of identities; every IMSIC's page lies at base
 * + hart * 4096, the base aligned to all of them; there is one group of them, and no room
 * between for guest files of a guest's own. The vCPU's index is used for addresses and its id
 * for state: here both are the hart number.
 *
 * Wired interrupts go through KVM_IRQ_LINE only. (An irqfd on an APLIC pin would stay
 * high for ever: KVM's fast path never lowers it.) The line's level must be told when
 * it falls too, because Linux re-triggers level sources by what KVM remembers of it.
 *
 * No state but what the header shows; any thread may send. What is saved: see
 * riscv/aia_state.c.
 */
#include "lkvm/riscv/aia.h"

#include <errno.h>
#include <string.h>

/* Linux include/uapi/linux/kvm.h, since 6.5. */
#define DEV_TYPE_RISCV_AIA 11

/* Linux arch/riscv/include/uapi/asm/kvm.h: KVM_DEV_RISCV_AIA_*. */
#define CONFIG_MODE 0
#define CONFIG_IDS 1
#define CONFIG_SRCS 2
#define CONFIG_HART_BITS 5
#define ADDR_APLIC 0
#define ADDR_IMSIC(index) (1 + (uint64_t)(index))
#define CTRL_INIT 0
#define MODE_EMUL 0
#define MODE_HWACCEL 1

/* Attribute of an interrupt file's first enable register; with it the vCPU's id << 12. */
#define IMSIC_EIE0(hart) ((uint64_t)(hart) << 12 | 0xc0)

/* What any file has, and of that what lies in the lower half of the first register. */
#define LOWER_HALF 31

/* Identity 0 is none, so a file holds 64 n - 1. */
#define MIN_IDS 63

int aia_offered(const struct kvm *kvm, struct error *err)
{
	struct kvm_create_device test = {.type = DEV_TYPE_RISCV_AIA,
					 .flags = KVM_CREATE_DEVICE_TEST};
	int ret;

	if (!kvm_check(kvm, KVM_CAP_IRQCHIP))
		return fail(err, "KVM offers no AIA: the host's harts have no Ssaia");
	ret = kvm_vm_ioctl(kvm, KVM_CREATE_DEVICE, (unsigned long)&test);
	if (ret < 0)
		return fail_errno(err, -ret, "KVM knows no AIA device");
	return 0;
}

static int attr_ioctl(const struct aia *aia, unsigned long request, uint32_t group, uint64_t attr,
		      void *value)
{
	struct kvm_device_attr a = {
		.group = group, .attr = attr, .addr = (uint64_t)(uintptr_t)value};

	return kvm_fd_ioctl(aia->kvm, aia->fd, request, (unsigned long)&a);
}

int aia_get(const struct aia *aia, uint32_t group, uint64_t attr, void *value)
{
	return attr_ioctl(aia, KVM_GET_DEVICE_ATTR, group, attr, value);
}

int aia_set(const struct aia *aia, uint32_t group, uint64_t attr, const void *value)
{
	return attr_ioctl(aia, KVM_SET_DEVICE_ATTR, group, attr, (void *)(uintptr_t)value);
}

static int set_config(const struct aia *aia, uint64_t attr, uint32_t value, const char *what,
		      struct error *err)
{
	int ret = aia_set(aia, AIA_GROUP_CONFIG, attr, &value);

	return ret < 0 ? fail_errno(err, -ret, "setting %s to %u", what, value) : 0;
}

static int get_config(const struct aia *aia, uint64_t attr, uint32_t *value, const char *what,
		      struct error *err)
{
	int ret = aia_get(aia, AIA_GROUP_CONFIG, attr, value);

	return ret < 0 ? fail_errno(err, -ret, "asking for %s", what) : 0;
}

static int set_address(const struct aia *aia, uint64_t attr, gpa_t value, const char *what,
		       struct error *err)
{
	int ret = aia_set(aia, AIA_GROUP_ADDR, attr, &value);

	return ret < 0 ? fail_errno(err, -ret, "placing %s at 0x%llx", what,
				    (unsigned long long)value)
		       : 0;
}

static uint32_t bits_for(unsigned int harts)
{
	uint32_t bits = 0;

	while (UINT32_C(1) << bits < harts)
		bits++;
	return bits;
}

static int create(struct aia *aia, struct error *err)
{
	struct kvm_create_device device = {.type = DEV_TYPE_RISCV_AIA};
	int ret = kvm_vm_ioctl(aia->kvm, KVM_CREATE_DEVICE, (unsigned long)&device);

	if (ret < 0)
		return fail_errno(err, -ret, "creating the device");
	aia->fd = (int)device.fd;
	return 0;
}

static int configure(struct aia *aia, const struct aia_request *req, struct error *err)
{
	unsigned int i;

	if (req->mode != AIA_AUTO &&
	    set_config(aia, CONFIG_MODE, req->mode == AIA_EMUL ? MODE_EMUL : MODE_HWACCEL,
		       req->mode == AIA_EMUL ? "the mode (emul)" : "the mode (hwaccel)", err))
		return -1;
	if (get_config(aia, CONFIG_MODE, &aia->mode, "the mode", err) ||
	    get_config(aia, CONFIG_IDS, &aia->ids, "the number of identities", err))
		return -1;
	if (req->ids < aia->ids) {
		if (set_config(aia, CONFIG_IDS, req->ids, "the number of identities", err))
			return -1;
		aia->ids = req->ids;
	}
	if (aia->ids < MIN_IDS || aia->ids < req->sources)
		return fail(err, "%u identities for %u sources", aia->ids, req->sources);
	aia->sources = req->sources;
	aia->hart_bits = bits_for(req->harts);
	if (set_config(aia, CONFIG_SRCS, aia->sources, "the number of sources", err) ||
	    set_config(aia, CONFIG_HART_BITS, aia->hart_bits, "the hart bits", err) ||
	    set_address(aia, ADDR_APLIC, req->aplic, "the APLIC", err))
		return -1;
	for (i = 0; i < req->harts; i++)
		if (set_address(aia, ADDR_IMSIC(i), req->imsic + (gpa_t)i * AIA_IMSIC_WINDOW,
				"an IMSIC", err))
			return -1;
	return 0;
}

/*
 * A file that KVM keeps in software may be unable to enable the identities in the upper
 * half of a register (Linux, 7.2 for one, changes 32 bits of 64 there): interrupts by them
 * never come, without a word. A guest takes identities from 1 on, so with more than 31
 * interrupts on a hart it is stuck. What KVM does is found out by writing one: before
 * anything has run every file is in software, also where the mode forbids that later. Such
 * a KVM reads 32 bits too, and extends the sign: bit 31 is not among those tried.
 */
static int check_files(struct aia *aia, struct error *err)
{
	const uint64_t upper = UINT64_MAX << 32, none = 0;
	uint64_t got = 0;
	int ret;

	aia->usable = aia->ids;
	if (sizeof(long) != sizeof(upper))
		return 0;
	ret = aia_set(aia, AIA_GROUP_IMSIC, IMSIC_EIE0(0), &upper);
	if (ret >= 0)
		ret = aia_get(aia, AIA_GROUP_IMSIC, IMSIC_EIE0(0), &got);
	if (ret >= 0)
		ret = aia_set(aia, AIA_GROUP_IMSIC, IMSIC_EIE0(0), &none);
	if (ret < 0)
		return fail_errno(err, -ret, "trying its interrupt files");
	aia->halves = got != upper;
	if (aia->halves && aia->mode != MODE_HWACCEL)
		aia->usable = LOWER_HALF;
	return 0;
}

static int start(struct aia *aia, struct error *err)
{
	int ret = aia_set(aia, AIA_GROUP_CTRL, CTRL_INIT, NULL);

	return ret < 0 ? fail_errno(err, -ret, "starting it") : 0;
}

int aia_setup(struct aia *aia, const struct kvm *kvm, const struct aia_request *req,
	      struct error *err)
{
	*aia = (struct aia){.kvm = kvm, .fd = -1};
	if (create(aia, err))
		return -1;
	if (!configure(aia, req, err) && !start(aia, err) && !check_files(aia, err))
		return 0;
	aia_close(aia);
	return -1;
}

void aia_close(struct aia *aia)
{
	if (aia->kvm && aia->fd >= 0)
		aia->kvm->sys.ops->close(aia->kvm->sys.opaque, aia->fd);
	aia->fd = -1;
}

int aia_set_line(const struct aia *aia, uint32_t source, bool level)
{
	struct kvm_irq_level line = {.irq = source, .level = level};
	int ret = kvm_vm_ioctl(aia->kvm, KVM_IRQ_LINE, (unsigned long)&line);

	return ret < 0 ? ret : 0;
}

int aia_send(const struct aia *aia, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {.address_lo = (uint32_t)address,
			      .address_hi = (uint32_t)(address >> 32),
			      .data = data};
	int ret = kvm_vm_ioctl(aia->kvm, KVM_SIGNAL_MSI, (unsigned long)&msi);

	return ret < 0 ? ret : 0;
}

bool aia_all_in_hardware(const struct aia *aia)
{
	return aia->mode == MODE_HWACCEL;
}

const char *aia_mode_name(uint32_t mode)
{
	static const char *const names[] = {"emul", "hwaccel", "auto"};

	return mode < ARRAY_SIZE(names) ? names[mode] : "unknown";
}
