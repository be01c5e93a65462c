/* unit_tsan.c - for the tsan build alone: ThreadSanitizer knows no memory between 0.5 and 85 TiB,
 * where the region stands, so its first part is put at some 64 GiB; what it reserves later follows
 * of itself. Linked with --wrap=hk_os_reserve. */
#include "os/os.h"

#define USUAL (32ul << 40)
#define HERE (64ul << 30)
#define SPAN (128ul << 30)

int __real_hk_os_reserve(uintptr_t where, size_t bytes, uintptr_t *out);
int __wrap_hk_os_reserve(uintptr_t where, size_t bytes, uintptr_t *out);

int __wrap_hk_os_reserve(uintptr_t where, size_t bytes, uintptr_t *out)
{
	if (where >= USUAL)
		where = HERE + where % SPAN / (1ul << 30) * (1ul << 30);
	if (where && where + bytes > HERE + 2 * SPAN)
		return -12; /* ENOMEM: a smaller part is tried */
	return __real_hk_os_reserve(where, bytes, out);
}
