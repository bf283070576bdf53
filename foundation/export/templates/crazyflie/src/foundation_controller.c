/* The policy as an out-of-tree controller of the Crazyflie firmware.
 *
 * The stabilizer calls controllerOutOfTree at 1000 Hz; the policy steps at FOUNDATION_RATE_HZ and its motor commands
 * are held in between. Position setpoints are flown to; anything else stops the motors and makes the policy forget.
 * A state that is not sane stops the motors until a setpoint that is not a position has been seen.
 */
#include <stdbool.h>
#include <stdint.h>

#include "app.h"
#include "controller.h"
#include "power_distribution.h"
#include "FreeRTOS.h"
#include "task.h"

#include "conversions.h"
#include "policy.h"

#define DEBUG_MODULE "FOUNDATION"
#include "debug.h"

#if POLICY_OBS_DIM != FOUNDATION_OBS_DIM || POLICY_ACTION_DIM != 4
#error "policy.h does not take 22 observations to 4 actions"
#endif

/* Least share of the trained thrust that the motors must reach. */
#define LEAST_THRUST 0.85f

static policy_state_t policy;
static float action[4];
static float forces[4];
static bool stopped;

static void begin(void) {
  policy_reset(&policy);
  for (int motor = 0; motor < 4; ++motor) {
    action[motor] = foundation_hover_action();
    forces[motor] = 0.0f;
  }
}

static float full_thrust(void) {
  return powerDistributionGetMaxThrust() / 4.0f;
}

static void step(const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state) {
  float obs[FOUNDATION_OBS_DIM];
  const float yaw = setpoint->mode.yaw == modeAbs ? setpoint->attitude.yaw : 0.0f;
  foundation_observe(state, &sensors->gyro, &setpoint->position, yaw, action, obs);
  policy_step(&policy, obs, action);
  for (int motor = 0; motor < 4; ++motor) {
    action[motor] = foundation_clamp(action[motor], -1.0f, 1.0f);
    forces[motor] = foundation_normalized_force(action[motor], full_thrust());
  }
}

void controllerOutOfTreeInit(void) {
  stopped = false;
  begin();
}

bool controllerOutOfTreeTest(void) {
  if (full_thrust() < LEAST_THRUST * foundation_thrust(1.0f)) {
    DEBUG_PRINT("Motors are too weak for this policy: check the propellers' setting of the firmware\n");
    return false;
  }
  return true;
}

void controllerOutOfTree(
  control_t *control, const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state,
  const stabilizerStep_t stabilizerStep
) {
  const bool flies =
    setpoint->mode.x == modeAbs && setpoint->mode.y == modeAbs && setpoint->mode.z == modeAbs;
  if (!flies) {
    stopped = false;
    begin();
  } else if (!stopped && !foundation_is_sane(state, &sensors->gyro)) {
    stopped = true;
    begin();
    DEBUG_PRINT("Bad state: motors stopped\n");
  } else if (!stopped && RATE_DO_EXECUTE(FOUNDATION_RATE_HZ, stabilizerStep)) {
    step(setpoint, sensors, state);
  }
  control->controlMode = controlModeForce;
  for (int motor = 0; motor < 4; ++motor) {
    control->normalizedForces[motor] = forces[motor];
  }
}

/* The firmware starts every app with this; the controller needs no task of its own. */
void appMain(void) {
  while (true) {
    vTaskDelay(M2T(1000));
  }
}
