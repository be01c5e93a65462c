/* api.h - what the files of this folder share: the public header and the glue between them. */
#ifndef HK_API_API_H
#define HK_API_API_H

#include "base/attr.h"
#include "hakmem/hakmem.h"

/* Blocks that are cleared by hand; larger ones may be fresh from the kernel, which is asked for first. */
#define HK_CLEARED_MAX 8192u

#endif
