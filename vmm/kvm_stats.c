// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's binary statistics (include/lkvm/kvm_stats.h): Linux Documentation/virt/kvm/api.rst,
 * "KVM_GET_STATS_FD". A file with a header, descriptors and data, each where the header
 * says; a descriptor has a fixed part and a name of the size that the header gives.
 *
 * The kernel is trusted, a mistake of ours is not: what does not fit the bounds below
 * is refused.
 *
 * No state, no lock. Nothing is saved.
 */
#include "lkvm/kvm_stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 256
#define DESC_MAX 4096

/* Fill @buf from the file, or -EPROTO where it ends before. */
static int read_at(const struct kvm *kvm, int fd, void *buf, size_t len, uint64_t offset)
{
	long n = kvm_fd_read(kvm, fd, buf, len, offset);

	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -EPROTO;
}

static int figure(const struct kvm *kvm, int fd, const struct kvm_stats_header *head,
		  const char *desc, void (*each)(void *opaque, const char *name, uint64_t value),
		  void *opaque)
{
	struct kvm_stats_desc d;
	uint64_t value;
	int ret;

	memcpy(&d, desc, sizeof(d));
	if (d.size != 1)
		return 0;
	ret = read_at(kvm, fd, &value, sizeof(value), (uint64_t)head->data_offset + d.offset);
	if (!ret)
		each(opaque, desc + sizeof(d), value);
	return ret;
}

static int figures(const struct kvm *kvm, int fd,
		   void (*each)(void *opaque, const char *name, uint64_t value), void *opaque)
{
	struct kvm_stats_header head;
	size_t one, i;
	char *descs;
	int ret;

	ret = read_at(kvm, fd, &head, sizeof(head), 0);
	if (ret)
		return ret;
	if (!head.name_size || head.name_size > NAME_MAX_BYTES || head.num_desc > DESC_MAX)
		return -EPROTO;
	one = sizeof(struct kvm_stats_desc) + head.name_size;
	descs = calloc(head.num_desc + 1, one);
	if (!descs)
		return -ENOMEM;
	ret = read_at(kvm, fd, descs, head.num_desc * one, head.desc_offset);
	for (i = 0; !ret && i < head.num_desc; i++) {
		descs[(i + 1) * one - 1] = '\0';
		ret = figure(kvm, fd, &head, descs + i * one, each, opaque);
	}
	free(descs);
	return ret;
}

int kvm_stats(const struct kvm *kvm, const struct kvm_vcpu *vcpu,
	      void (*each)(void *opaque, const char *name, uint64_t value), void *opaque)
{
	int fd = vcpu ? kvm_vcpu_ioctl(vcpu, KVM_GET_STATS_FD, 0)
		      : kvm_vm_ioctl(kvm, KVM_GET_STATS_FD, 0);
	int ret;

	if (fd < 0)
		return fd;
	ret = figures(kvm, fd, each, opaque);
	kvm->sys.ops->close(kvm->sys.opaque, fd);
	return ret;
}
