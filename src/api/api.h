/* api.h - what the files of this folder share: the public header and the glue between them. */
#ifndef HK_API_API_H
#define HK_API_API_H

#include "base/attr.h"
#include "hakmem/hakmem.h"

#endif
