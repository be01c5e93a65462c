# release: what is installed.
VARIANT_CFLAGS := -O2 -g
