/* Calls the exported controller as the firmware does, from plain arrays; see README.md. */
#include "bridge.h"

/* Included as source, for access to the controller's static variables. */
#include "foundation_controller.c"

static float max_thrust;

float powerDistributionGetMaxThrust(void) {
  return max_thrust;
}

void vTaskDelay(unsigned ticks) {
  (void)ticks;
}

static unsigned pid_inits;
static unsigned pid_resets;

void controllerPidInit(void) {
  ++pid_inits;
}

bool controllerPidTest(void) {
  return pid_inits > 0;
}

/* The checks recognise PID by its control mode. */
void controllerPid(
  control_t *control, const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state,
  const stabilizerStep_t stabilizerStep
) {
  (void)sensors;
  (void)state;
  (void)stabilizerStep;
  /* The firmware's PID resets its integrals without thrust and position; the tests count this. */
  pid_resets += setpoint->thrust == 0.0f && setpoint->mode.z == modeDisable ? 1 : 0;
  control->controlMode = controlModeLegacy;
}

static state_t bridge_state(const float *flat) {
  state_t state = {0};
  state.position.x = flat[0];
  state.position.y = flat[1];
  state.position.z = flat[2];
  state.attitudeQuaternion.x = flat[3];
  state.attitudeQuaternion.y = flat[4];
  state.attitudeQuaternion.z = flat[5];
  state.attitudeQuaternion.w = flat[6];
  state.velocity.x = flat[7];
  state.velocity.y = flat[8];
  state.velocity.z = flat[9];
  return state;
}

int bridge_init(float thrust) {
  max_thrust = thrust;
  enable = 0;
  controllerOutOfTreeInit();
  return controllerOutOfTreeTest();
}

void bridge_control(
  const float *flat, const float *gyro_deg, const float *target, float yaw_deg, int is_enabled, int has_position,
  int has_yaw, float *out
) {
  static unsigned step;
  const state_t state = bridge_state(flat);
  sensorData_t sensors = {0};
  setpoint_t setpoint = {0};
  control_t control = {0};
  sensors.gyro.x = gyro_deg[0];
  sensors.gyro.y = gyro_deg[1];
  sensors.gyro.z = gyro_deg[2];
  setpoint.thrust = 1.0f;
  setpoint.position.x = target[0];
  setpoint.position.y = target[1];
  setpoint.position.z = target[2];
  setpoint.attitude.yaw = yaw_deg;
  setpoint.mode.x = setpoint.mode.y = setpoint.mode.z = has_position ? modeAbs : modeDisable;
  setpoint.mode.yaw = has_yaw ? modeAbs : modeDisable;
  enable = is_enabled ? 1 : 0;
  controllerOutOfTree(&control, &setpoint, &sensors, &state, step++);
  for (int motor = 0; motor < STABILIZER_NR_OF_MOTORS; ++motor) {
    out[motor] = control.controlMode == controlModeForce ? control.normalizedForces[motor] : -1.0f;
  }
}

int bridge_is_stopped(void) {
  return mode == STOPPED;
}

void bridge_action(float *last) {
  for (int motor = 0; motor < 4; ++motor) {
    last[motor] = action[motor];
  }
}
