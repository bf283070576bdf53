/* Stand-in; see README.md. */
#ifndef STAND_IN_DEBUG_H
#define STAND_IN_DEBUG_H

#define DEBUG_PRINT(...) ((void)DEBUG_MODULE)

#endif
