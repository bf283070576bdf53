/* Stand-in; see README.md. */
#ifndef STAND_IN_POWER_DISTRIBUTION_H
#define STAND_IN_POWER_DISTRIBUTION_H

/* Thrust of all motors together at full scale [N]. */
float powerDistributionGetMaxThrust(void);

#endif
