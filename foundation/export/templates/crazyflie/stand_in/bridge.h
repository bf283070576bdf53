/* What the checks call; see README.md. */
#ifndef STAND_IN_BRIDGE_H
#define STAND_IN_BRIDGE_H

int bridge_init(float thrust);
void bridge_control(
  const float *flat, const float *gyro_deg, const float *target, float yaw_deg, int is_enabled, int has_position,
  int has_yaw, float *out
);
int bridge_is_stopped(void);
void bridge_action(float *last);

#endif
