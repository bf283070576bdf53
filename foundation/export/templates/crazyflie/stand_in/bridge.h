/* What the checks call; see README.md. */
#ifndef STAND_IN_BRIDGE_H
#define STAND_IN_BRIDGE_H

int bridge_init(float thrust);
unsigned bridge_pid_resets(void);
void bridge_control(
  const float *flat, const float *gyro_deg, const float *target, float yaw_deg, int is_enabled, int has_position,
  int has_yaw, float *out
);
void bridge_observe(
  const float *flat, const float *gyro_deg, const float *target, float yaw_deg, const float *previous, float *obs
);
float bridge_next_heading(const float *flat, float wanted);
void bridge_action(float *remembered);
float bridge_normalized_force(float commanded, float full_thrust);
float bridge_hover_action(void);

#endif
