/* Stand-in; see README.md. */
#ifndef STAND_IN_FREERTOS_H
#define STAND_IN_FREERTOS_H

#define M2T(milliseconds) (milliseconds)

#endif
