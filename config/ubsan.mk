# ubsan: undefined behaviour; traps rather than needing a runtime, so it can be preloaded.
VARIANT_CFLAGS := -O1 -g3 -DHK_DEBUG -fno-omit-frame-pointer -fsanitize=undefined -fsanitize-undefined-trap-on-error
