# debug: assertions, no optimisation to speak of.
VARIANT_CFLAGS := -O1 -g3 -DHK_DEBUG -fno-omit-frame-pointer
