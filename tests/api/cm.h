/* cm.h - cmocka with what it wants included before it. */
#ifndef HK_TEST_CM_H
#define HK_TEST_CM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#endif
