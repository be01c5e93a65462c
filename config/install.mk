# install.mk - install, uninstall and Debian packages; included by the Makefile, and works alone:
#     make -f config/install.mk install BUILD=build PREFIX=/usr/local
# What goes where is said once, in config/install.sh; the packages are cut out of the same tree.

BUILD ?= build
CC ?= cc
LIB ?= $(BUILD)/libhakmem.so

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
DOCDIR ?= $(DATADIR)/doc/hakmem
UNITDIR ?= $(PREFIX)/lib/systemd/system

# HK_TOOL: the hakmem command, empty where it can't be built (tool/tool.mk). Without it the library is
# installed alone.
# URING_LIB: likewise, empty without liburing (src/uring/uring.mk).
HK_INSTALL_FILES := $(LIB) $(BUILD)/libhakmem.a $(BUILD)/libhakmem_core.a $(HK_TOOL) $(URING_LIB)
HK_INSTALL_ENV = BUILD='$(BUILD)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' BINDIR='$(BINDIR)' \
	LIBDIR='$(LIBDIR)' UNITDIR='$(UNITDIR)' INCLUDEDIR='$(INCLUDEDIR)' DATADIR='$(DATADIR)' MANDIR='$(MANDIR)' DOCDIR='$(DOCDIR)'

.PHONY: install uninstall deb check-install check-deb

install: $(HK_INSTALL_FILES)
	@$(HK_INSTALL_ENV) config/install.sh install

# Needs nothing built: a list beside the profiles says what install put there.
uninstall:
	@$(HK_INSTALL_ENV) config/install.sh uninstall

deb: $(HK_INSTALL_FILES)
	@BUILD='$(BUILD)' CC='$(CC)' config/deb/build.sh

check-install: $(HK_INSTALL_FILES)
	@BUILD='$(BUILD)' CC='$(CC)' tests/package/install_test.sh

check-deb: $(HK_INSTALL_FILES)
	@BUILD='$(BUILD)' CC='$(CC)' tests/package/deb_test.sh
