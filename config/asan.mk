# asan: the allocator itself under AddressSanitizer. For libhakmem_core.a: the sanitizer has a malloc
# of its own, so nothing can be preloaded.
VARIANT_CFLAGS := -O1 -g3 -DHK_DEBUG -fno-omit-frame-pointer -fsanitize=address
VARIANT_LDFLAGS := -fsanitize=address
