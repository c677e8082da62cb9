// SPDX-License-Identifier: GPL-2.0-only
/*
 * The seam to KVM (include/lkvm/kvm.h): thin wrappers over one table of system
 * calls. No policy lives here, so nothing here needs a test host of its own:
 * whoever decides something on top of it is tested against a scripted one.
 *
 * Thread and lock: none here; KVM locks. Nothing here is saved.
 */
#include "lkvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux arch/riscv/include/uapi/asm/kvm.h: "set" is all ones, all else unsets. */
#define INTERRUPT_SET 0xffffffffu
#define INTERRUPT_UNSET 0xfffffffeu

static int sys_open(void *opaque)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	(void)opaque;
	return fd < 0 ? -errno : fd;
}

static int sys_ioctl(void *opaque, int fd, unsigned long request, unsigned long arg)
{
	int ret = ioctl(fd, request, arg);

	(void)opaque;
	return ret < 0 ? -errno : ret;
}

static void *sys_map(void *opaque, int fd, size_t size, off_t offset)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	(void)opaque;
	return p == MAP_FAILED ? NULL : p;
}

static void sys_unmap(void *opaque, void *addr, size_t size)
{
	(void)opaque;
	munmap(addr, size);
}

static long sys_read(void *opaque, int fd, void *buf, size_t len, uint64_t offset)
{
	long n = pread_all(fd, buf, len, offset);

	(void)opaque;
	return n < 0 ? -errno : n;
}

static void sys_close(void *opaque, int fd)
{
	(void)opaque;
	close(fd);
}

const struct kvm_sys_ops kvm_sys_linux = {
	.open = sys_open,
	.ioctl = sys_ioctl,
	.map = sys_map,
	.unmap = sys_unmap,
	.read = sys_read,
	.close = sys_close,
};

static int do_ioctl(const struct kvm *kvm, int fd, unsigned long request, unsigned long arg)
{
	return kvm->sys.ops->ioctl(kvm->sys.opaque, fd, request, arg);
}

static int refuse_open(int errnum, struct error *err)
{
	switch (errnum) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return fail(err, "/dev/kvm is missing: this host has no KVM, because its processor "
				 "lacks the H extension or the kvm module is not loaded (try "
				 "modprobe kvm)");
	case EACCES:
	case EPERM:
		return fail(err, "/dev/kvm is forbidden to this user: join its group, usually by "
				 "\"sudo usermod -aG kvm $USER\" and a new login");
	default:
		return fail_errno(err, errnum, "cannot open /dev/kvm");
	}
}

int kvm_open(struct kvm *kvm, struct kvm_sys sys, struct error *err)
{
	int ret;

	memset(kvm, 0, sizeof(*kvm));
	kvm->sys = sys;
	kvm->vm_fd = -1;
	kvm->fd = sys.ops->open(sys.opaque);
	if (kvm->fd < 0)
		return refuse_open(-kvm->fd, err);
	ret = do_ioctl(kvm, kvm->fd, KVM_GET_API_VERSION, 0);
	if (ret != KVM_API_VERSION) {
		if (ret < 0)
			fail_errno(err, -ret, "/dev/kvm does not answer as KVM does");
		else
			fail(err, "/dev/kvm speaks API version %d, lkvm needs %d", ret,
			     KVM_API_VERSION);
		goto out;
	}
	ret = do_ioctl(kvm, kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < (int)sizeof(struct kvm_run)) {
		fail(err, "KVM gives %d bytes for a vCPU's shared area, too few", ret);
		goto out;
	}
	kvm->run_size = (size_t)ret;
	return 0;
out:
	kvm_close(kvm);
	return -1;
}

void kvm_close(struct kvm *kvm)
{
	kvm_vm_destroy(kvm);
	if (kvm->fd >= 0)
		kvm->sys.ops->close(kvm->sys.opaque, kvm->fd);
	kvm->fd = -1;
}

int kvm_vm_create(struct kvm *kvm)
{
	int ret;

	/* KVM may be interrupted while it sets up; it then says so and wants a retry. */
	do
		ret = do_ioctl(kvm, kvm->fd, KVM_CREATE_VM, 0);
	while (ret == -EINTR);
	if (ret < 0)
		return ret;
	kvm->vm_fd = ret;
	return 0;
}

void kvm_vm_destroy(struct kvm *kvm)
{
	if (kvm->vm_fd >= 0)
		kvm->sys.ops->close(kvm->sys.opaque, kvm->vm_fd);
	kvm->vm_fd = -1;
}

int kvm_fd_ioctl(const struct kvm *kvm, int fd, unsigned long request, unsigned long arg)
{
	return do_ioctl(kvm, fd, request, arg);
}

long kvm_fd_read(const struct kvm *kvm, int fd, void *buf, size_t len, uint64_t offset)
{
	/* A scripted host may have nothing to read. */
	if (!kvm->sys.ops->read)
		return -ENOTTY;
	return kvm->sys.ops->read(kvm->sys.opaque, fd, buf, len, offset);
}

int kvm_vm_ioctl(const struct kvm *kvm, unsigned long request, unsigned long arg)
{
	return do_ioctl(kvm, kvm->vm_fd, request, arg);
}

int kvm_check(const struct kvm *kvm, unsigned int cap)
{
	int ret = kvm_vm_ioctl(kvm, KVM_CHECK_EXTENSION, cap);

	return ret < 0 ? 0 : ret;
}

int kvm_enable_cap(const struct kvm *kvm, unsigned int cap, uint64_t arg)
{
	struct kvm_enable_cap enable = {.cap = cap, .args = {arg}};

	return kvm_vm_ioctl(kvm, KVM_ENABLE_CAP, (unsigned long)&enable);
}

int kvm_set_memory(const struct kvm *kvm, uint32_t slot, gpa_t gpa, uint64_t size, void *hva,
		   uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return kvm_vm_ioctl(kvm, KVM_SET_USER_MEMORY_REGION, (unsigned long)&region);
}

int kvm_vcpu_create(const struct kvm *kvm, unsigned int id, struct kvm_vcpu *vcpu)
{
	int fd = kvm_vm_ioctl(kvm, KVM_CREATE_VCPU, id);
	void *run;

	vcpu->fd = -1;
	vcpu->run = NULL;
	vcpu->kvm = kvm;
	if (fd < 0)
		return fd;
	run = kvm->sys.ops->map(kvm->sys.opaque, fd, kvm->run_size, 0);
	if (!run) {
		kvm->sys.ops->close(kvm->sys.opaque, fd);
		return -ENOMEM;
	}
	vcpu->fd = fd;
	vcpu->run = run;
	return 0;
}

void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	const struct kvm *kvm = vcpu->kvm;

	if (vcpu->run)
		kvm->sys.ops->unmap(kvm->sys.opaque, vcpu->run, kvm->run_size);
	if (vcpu->fd >= 0)
		kvm->sys.ops->close(kvm->sys.opaque, vcpu->fd);
	vcpu->run = NULL;
	vcpu->fd = -1;
}

int kvm_vcpu_ioctl(const struct kvm_vcpu *vcpu, unsigned long request, unsigned long arg)
{
	return do_ioctl(vcpu->kvm, vcpu->fd, request, arg);
}

int kvm_vcpu_run(const struct kvm_vcpu *vcpu)
{
	return kvm_vcpu_ioctl(vcpu, KVM_RUN, 0);
}

int kvm_get_reg(const struct kvm_vcpu *vcpu, uint64_t id, void *value)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};

	return kvm_vcpu_ioctl(vcpu, KVM_GET_ONE_REG, (unsigned long)&reg);
}

int kvm_set_reg(const struct kvm_vcpu *vcpu, uint64_t id, const void *value)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};

	return kvm_vcpu_ioctl(vcpu, KVM_SET_ONE_REG, (unsigned long)&reg);
}

long kvm_get_reg_list(const struct kvm_vcpu *vcpu, uint64_t **ids)
{
	struct kvm_reg_list head = {.n = 0}, *list;
	int ret = kvm_vcpu_ioctl(vcpu, KVM_GET_REG_LIST, (unsigned long)&head);
	uint64_t n = head.n;

	*ids = NULL;
	if (ret != -E2BIG)
		return ret < 0 ? ret : 0;
	/* A kernel that asked for millions would be mad; do not follow it. */
	if (n > 65536)
		return -E2BIG;
	list = malloc(sizeof(*list) + n * sizeof(uint64_t));
	if (!list)
		return -ENOMEM;
	list->n = n;
	ret = kvm_vcpu_ioctl(vcpu, KVM_GET_REG_LIST, (unsigned long)list);
	if (ret < 0 || list->n > n) {
		free(list);
		return ret < 0 ? ret : -E2BIG;
	}
	n = list->n;
	*ids = malloc((n ? n : 1) * sizeof(uint64_t));
	if (!*ids) {
		free(list);
		return -ENOMEM;
	}
	memcpy(*ids, list->reg, n * sizeof(uint64_t));
	free(list);
	return (long)n;
}

int kvm_guest_debug(const struct kvm_vcpu *vcpu, bool on)
{
	struct kvm_guest_debug debug = {.control = on ? KVM_GUESTDBG_ENABLE : 0};

	return kvm_vcpu_ioctl(vcpu, KVM_SET_GUEST_DEBUG, (unsigned long)&debug);
}

int kvm_get_mp_state(const struct kvm_vcpu *vcpu, uint32_t *state)
{
	struct kvm_mp_state mp = {0};
	int ret = kvm_vcpu_ioctl(vcpu, KVM_GET_MP_STATE, (unsigned long)&mp);

	*state = mp.mp_state;
	return ret;
}

int kvm_set_mp_state(const struct kvm_vcpu *vcpu, uint32_t state)
{
	struct kvm_mp_state mp = {.mp_state = state};

	return kvm_vcpu_ioctl(vcpu, KVM_SET_MP_STATE, (unsigned long)&mp);
}

int kvm_interrupt(const struct kvm_vcpu *vcpu, bool level)
{
	struct kvm_interrupt irq = {.irq = level ? INTERRUPT_SET : INTERRUPT_UNSET};

	return kvm_vcpu_ioctl(vcpu, KVM_INTERRUPT, (unsigned long)&irq);
}

int kvm_set_routing(const struct kvm *kvm, const struct kvm_irq_routing *table)
{
	int ret = kvm_vm_ioctl(kvm, KVM_SET_GSI_ROUTING, (unsigned long)table);

	return ret < 0 ? ret : 0;
}

int kvm_irqfd(const struct kvm *kvm, uint32_t gsi, int fd, bool on)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)fd, .gsi = gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN};
	int ret = kvm_vm_ioctl(kvm, KVM_IRQFD, (unsigned long)&irqfd);

	return ret < 0 ? ret : 0;
}

int kvm_ioeventfd(const struct kvm *kvm, const struct kvm_doorbell *bell, bool on)
{
	struct kvm_ioeventfd ioeventfd = {
		.datamatch = bell->value,
		.addr = bell->gpa,
		.len = bell->size,
		.fd = bell->fd,
		.flags = (bell->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};
	int ret = kvm_vm_ioctl(kvm, KVM_IOEVENTFD, (unsigned long)&ioeventfd);

	return ret < 0 ? ret : 0;
}
