/* Stand-in; see README.md. */
#ifndef STAND_IN_LOG_H
#define STAND_IN_LOG_H

#define LOG_UINT8 0
#define LOG_GROUP_START(name)
#define LOG_ADD(type, name, address)
#define LOG_GROUP_STOP(name)

#endif
