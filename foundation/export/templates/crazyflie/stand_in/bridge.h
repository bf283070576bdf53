/* What the checks call; see README.md. */
#ifndef STAND_IN_BRIDGE_H
#define STAND_IN_BRIDGE_H

int bridge_init(float thrust);
void bridge_control(
  const float *flat, const float *gyro_deg, const float *target, float yaw_deg, int flies, unsigned step,
  float *forces
);
void bridge_observe(
  const float *flat, const float *gyro_deg, const float *target, float yaw_deg, const float *previous, float *obs
);
void bridge_action(float *remembered);
float bridge_normalized_force(float commanded, float full_thrust);
float bridge_hover_action(void);

#endif
