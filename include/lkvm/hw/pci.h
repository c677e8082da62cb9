/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCI: a host bridge with one bus (ECAM), and the functions on it. Pure models: no
 * system call.
 *
 *   pci_host_create -> { pci_function_init, pci_add_bar, pci_add_capability ...
 *   pci_attach } -> the guest runs -> pci_detach -> the host's destroy
 *
 * A function is embedded in the device that implements it; it is bytes of
 * configuration space of which some can be written, BARs, and an interrupt pin. The
 * host finds the function for a configuration access, and for an access to one of its
 * windows the BAR that lies there.
 *
 * Locks, in this order: configuration (one for the host) -> map (one for the host, read
 * by accesses to BARs) -> the device's own -> lines (one for the host) -> interrupt
 * chip. Callbacks for configuration run with the first held, those for BARs with the
 * map's.
 */
#ifndef LKVM_HW_PCI_H
#define LKVM_HW_PCI_H

#include "lkvm/bus.h"
#include "lkvm/device.h"
#include "lkvm/irq.h"
#include "lkvm/log.h"
#include "lkvm/xfer.h"

/* One bus: 32 slots of 8 functions with 4 KiB each. */
#define PCI_ECAM_WINDOW MIB
#define PCI_SLOTS 32u
#define PCI_FUNCTIONS 8u
#define PCI_MAX_FUNCTIONS (PCI_SLOTS * PCI_FUNCTIONS)

/* Slot 0 is the host bridge itself. */
#define PCI_MAX_DEVICES ((PCI_SLOTS - 1) * PCI_FUNCTIONS)

#define PCI_BARS 6
#define PCI_PINS 4
#define PCI_WINDOWS 2

/* Configuration space of a conventional function: PCI 3.0, section 6.1. */
#define PCI_CONFIG_SIZE 256
#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 0x0002
#define PCI_COMMAND_MASTER 0x0004
#define PCI_COMMAND_INTX_DISABLE 0x0400
#define PCI_STATUS 0x06
#define PCI_STATUS_INTERRUPT 0x0008
#define PCI_STATUS_CAP_LIST 0x0010
#define PCI_REVISION_ID 0x08
#define PCI_CLASS 0x09 /* three bytes */
#define PCI_HEADER_TYPE 0x0e
#define PCI_HEADER_MULTI_FUNCTION 0x80
#define PCI_BAR0 0x10
#define PCI_BAR_64 0x04
#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID 0x2e
#define PCI_CAPABILITIES 0x34
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_INTERRUPT_PIN 0x3d
#define PCI_HEADER_SIZE 0x40

#define PCI_CAP_ID_VENDOR 0x09
#define PCI_CAP_ID_MSIX 0x11

struct pci_host;
struct pci_function;

/**
 * struct pci_function_ops - what a function does; NULL where it has no such thing
 * @bar_read, @bar_write: @size (1, 2, 4 or 8) bytes at @offset in BAR @bar, of any
 *        alignment, inside it. vCPU threads, several at once.
 * @config_read: @size bytes at @reg are about to be read from pci_function.config:
 *               bring them up to date
 * @config_written: @size bytes at @reg were written. Command and BARs have had their
 *                  effect.
 * @moved: BAR @bar answers at @gpa from now on, or (@here false) nowhere. No access is
 *         under way. With the map's lock held: no call that takes it.
 */
struct pci_function_ops {
	uint64_t (*bar_read)(struct pci_function *fn, unsigned int bar, uint64_t offset,
			     unsigned int size);
	void (*bar_write)(struct pci_function *fn, unsigned int bar, uint64_t offset,
			  uint64_t value, unsigned int size);
	void (*config_read)(struct pci_function *fn, unsigned int reg, unsigned int size);
	void (*config_written)(struct pci_function *fn, unsigned int reg, unsigned int size);
	void (*moved)(struct pci_function *fn, unsigned int bar, bool here, gpa_t gpa);
};

/**
 * struct pci_id - who a function says it is
 * @class: base class, subclass, interface: 24 bits
 */
struct pci_id {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class;
	uint8_t revision;
};

/**
 * struct pci_bar - memory that a function has; private but @size
 * @size: a power of two; 0: there is none
 * @wide: 64 bits, in this register and the next
 * @here, @at: where it answers, as its owner was told; @will, @next: where it shall
 */
struct pci_bar {
	uint64_t size;
	bool wide, here, will;
	gpa_t at, next;
};

/**
 * struct pci_function - embedded in a device
 * @name: the device's, for messages
 * @devfn: 8 * slot + function, once attached
 * @config: configuration space; written by its owner only before pci_attach(), or in
 *          @ops->config_read
 * @writable: which bits of it the guest can write
 */
struct pci_function {
	const struct pci_function_ops *ops;
	const char *name;
	unsigned int devfn;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];
	/* private */
	struct pci_host *host;
	uint8_t power_on[PCI_CONFIG_SIZE];
	struct pci_bar bars[PCI_BARS];
	unsigned int last_cap, next_cap;
	bool intx, intx_disabled, wired; /* lines lock */
};

/* --- a function ---------------------------------------------------------------- */

/**
 * pci_function_init() - a function without BARs and capabilities
 * @name, @ops: stay the caller's
 */
void pci_function_init(struct pci_function *fn, const struct pci_function_ops *ops,
		       const char *name, const struct pci_id *id);

/**
 * pci_add_bar() - memory of @size bytes (a power of two, at least 16)
 * @wide: a 64-bit BAR; takes register @index and the next one
 *
 * Before pci_attach().
 */
void pci_add_bar(struct pci_function *fn, unsigned int index, uint64_t size, bool wide);

/**
 * pci_add_capability() - room for a capability of @size bytes, its two header bytes
 * included
 *
 * Before pci_attach(). Return: where it is, or 0 where there is no room.
 */
unsigned int pci_add_capability(struct pci_function *fn, uint8_t id, unsigned int size);

/**
 * pci_get() / pci_put() - @size (1 to 4) bytes of configuration space, as a number
 */
uint32_t pci_get(const struct pci_function *fn, unsigned int reg, unsigned int size);
void pci_put(struct pci_function *fn, unsigned int reg, uint32_t value, unsigned int size);

/**
 * pci_touches() - do @size bytes at @reg and @len bytes at @at have one in common?
 */
static inline bool pci_touches(unsigned int reg, unsigned int size, unsigned int at,
			       unsigned int len)
{
	return reg < at + len && at < reg + size;
}

/**
 * pci_command() - the command register (configuration lock, or the guest stands still)
 */
static inline uint16_t pci_command(const struct pci_function *fn)
{
	return (uint16_t)pci_get(fn, PCI_COMMAND, 2);
}

/**
 * pci_attach() - put the function on the bus
 *
 * The place follows from how many came before: the next slot, and when all have a
 * function the next function of each. The pin goes with the function's number.
 *
 * Return: 0, or -ENOSPC.
 */
int pci_attach(struct pci_host *host, struct pci_function *fn);

/**
 * pci_detach() - and take it off again; nothing where it was never attached
 */
void pci_detach(struct pci_function *fn);

/**
 * pci_intx() - the function's interrupt pin is now @level (any thread)
 *
 * Whether that reaches the line depends on the command register.
 */
void pci_intx(struct pci_function *fn, bool level);

/**
 * pci_function_reset() - configuration space as at power-on: no decoding, no BARs
 *
 * The pin stays: it follows the device.
 */
void pci_function_reset(struct pci_function *fn);

/**
 * pci_function_transfer() - the configuration space, as part of its device's walk
 * @config: a scratch copy of PCI_CONFIG_SIZE bytes, for pci_function_load()
 *
 * A state of a function with other read-only bits is refused.
 */
void pci_function_transfer(struct pci_function *fn, struct xfer *x, uint8_t *config);

/**
 * pci_function_load() - commit what pci_function_transfer() read
 * @intx: the pin's level; no line is touched: the host's resume does that
 */
void pci_function_load(struct pci_function *fn, const uint8_t *config, bool intx);

/* --- the host -------------------------------------------------------------------- */

/**
 * struct pci_host_config - a host bridge
 * @name: stays the caller's
 * @windows: where BARs may lie; size 0: no such window. The machine puts each on its
 *           bus (pci_window_ops, pci_host_window()).
 * @lines: INTA to INTD of slot 0, level triggered; the others are swizzled
 * @log: may be NULL
 */
struct pci_host_config {
	const char *name;
	struct {
		gpa_t base;
		uint64_t size;
	} windows[PCI_WINDOWS];
	struct irq_line lines[PCI_PINS];
	struct log *log;
};

/**
 * pci_host_create() - a bus with nothing but the bridge on it; NULL: no memory
 */
struct pci_host *pci_host_create(const struct pci_host_config *config);

/**
 * pci_host_device() - for the machine's table, above all devices with functions
 */
struct device *pci_host_device(struct pci_host *host);

/**
 * pci_ecam_ops - for a struct mmio_region of PCI_ECAM_WINDOW bytes whose dev is the
 * host
 */
extern const struct mmio_ops pci_ecam_ops;

/**
 * pci_window_ops - for a struct mmio_region that is window @index of the host, whose
 * dev is pci_host_window()
 */
extern const struct mmio_ops pci_window_ops;
void *pci_host_window(struct pci_host *host, unsigned int index);

/**
 * pci_line() - which of the four lines pin @pin (1: INTA) of slot @slot drives
 */
static inline unsigned int pci_line(unsigned int slot, unsigned int pin)
{
	return (slot + pin - 1) % PCI_PINS;
}

/**
 * pci_bar_at() - where BAR @bar of @fn answers now; false: nowhere (any thread)
 */
bool pci_bar_at(struct pci_function *fn, unsigned int bar, gpa_t *gpa);

/* --- between hw/pci.c and hw/pci_host.c --------------------------------------------- */

/* A configuration access inside one function: @reg + @size within PCI_CONFIG_SIZE. */
uint32_t pci_config_read(struct pci_function *fn, unsigned int reg, unsigned int size);
void pci_config_write(struct pci_function *fn, unsigned int reg, uint32_t value, unsigned int size);

/* The address in BAR @bar; false: it does not decode. */
bool pci_bar_decodes(const struct pci_function *fn, unsigned int bar, gpa_t *gpa);

void pci_host_lock(struct pci_host *host);
void pci_host_unlock(struct pci_host *host);
/* BARs or decoding changed. */
void pci_host_remap(struct pci_host *host);
/* Interrupt Disable is now @disabled; what the pin's state bit says. */
void pci_host_disable_intx(struct pci_function *fn, bool disabled);
bool pci_host_intx_state(struct pci_function *fn);
/* After a load: the pin and its gate, without telling anybody. */
void pci_host_load_intx(struct pci_function *fn, bool intx, bool disabled);

#endif /* LKVM_HW_PCI_H */
