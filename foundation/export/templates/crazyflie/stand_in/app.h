/* Stand-in; see README.md. */
#ifndef STAND_IN_APP_H
#define STAND_IN_APP_H

void appMain(void);

#endif
