/* Stand-in; see README.md. */
#ifndef STAND_IN_PARAM_H
#define STAND_IN_PARAM_H

#define PARAM_UINT8 0
#define PARAM_GROUP_START(name)
#define PARAM_ADD(type, name, address)
#define PARAM_GROUP_STOP(name)

#endif
