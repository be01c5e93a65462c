# tsan: data races inside the allocator. For libhakmem_core.a, as asan.mk.
VARIANT_CFLAGS := -O1 -g3 -DHK_DEBUG -fno-omit-frame-pointer -fsanitize=thread
VARIANT_LDFLAGS := -fsanitize=thread
