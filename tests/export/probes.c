/* Calls single functions of the controller, and counts how often PID is reset. */
#include "bridge.c"

unsigned probe_pid_resets(void) {
  return pid_resets;
}

void probe_observe(
  const float *flat, const float *gyro_deg, const float *target, float yaw_deg, const float *previous, float *obs
) {
  const state_t state = bridge_state(flat);
  const Axis3f gyro = {gyro_deg[0], gyro_deg[1], gyro_deg[2]};
  point_t point = {0};
  point.x = target[0];
  point.y = target[1];
  point.z = target[2];
  foundation_observe(&state, &gyro, &point, yaw_deg * FOUNDATION_RADIANS_PER_DEGREE, previous, obs);
}

float probe_next_heading(const float *flat, float wanted) {
  const state_t state = bridge_state(flat);
  return foundation_next_heading(&state.attitudeQuaternion, wanted);
}

float probe_normalized_force(float commanded, float full_thrust) {
  return foundation_normalized_force(commanded, full_thrust);
}

float probe_hover_action(void) {
  return foundation_hover_action();
}
