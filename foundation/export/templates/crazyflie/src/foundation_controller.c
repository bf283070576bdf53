/* The policy as an out-of-tree controller of the Crazyflie firmware.
 *
 * The firmware's own PID controller flies until the parameter foundation.enable is 1, whenever the setpoint is not a
 * position, as when the supervisor levels the vehicle out because the link is lost, and close to the ground, where the
 * policy was not trained: while the target, or at the start the vehicle, is below FOUNDATION_LEAST_HEIGHT. With the
 * parameter set, the policy flies all other position setpoints. The stabilizer calls at 1000 Hz; the policy steps
 * at FOUNDATION_RATE_HZ and its motor commands are held in between. A state, a setpoint or an action that is not sane
 * stops the motors until the parameter is set back to 0.
 */
#include <stdbool.h>
#include <stdint.h>

#include "app.h"
#include "controller.h"
#include "controller_pid.h"
#include "log.h"
#include "param.h"
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

/* Lowest height at which the policy takes over, and of its targets [m]; the world's z is 0 on the ground. */
#ifndef FOUNDATION_LEAST_HEIGHT
#define FOUNDATION_LEAST_HEIGHT 0.3f
#endif
/* Least share of the trained thrust that the motors must reach. */
#define LEAST_THRUST 0.85f
#define CALLS_PER_STEP (RATE_MAIN_LOOP / FOUNDATION_RATE_HZ)

typedef enum { IDLE = 0, FLYING = 1, STOPPED = 2, TOO_WEAK = 3 } mode_of_policy_t;

static policy_state_t policy;
static float action[4];
static float forces[4];
/* Heading of the setpoint, kept when a setpoint has none, and of the frame that the policy flies in [rad]. */
static float held_heading;
static float heading;
static uint32_t calls;
static uint8_t enable = 0;
static uint8_t mode = IDLE;

static float full_thrust(void) {
  return powerDistributionGetMaxThrust() / 4.0f;
}

static bool is_strong_enough(void) {
  return full_thrust() >= LEAST_THRUST * foundation_thrust(1.0f);
}

static bool is_position(const setpoint_t *setpoint) {
  return setpoint->mode.x == modeAbs && setpoint->mode.y == modeAbs && setpoint->mode.z == modeAbs;
}

/* A height that is NaN counts as high enough while the policy flies, which then stops the motors. */
static bool is_high_enough(const setpoint_t *setpoint, const state_t *state) {
  return mode == FLYING
    ? !(setpoint->position.z < FOUNDATION_LEAST_HEIGHT)
    : setpoint->position.z >= FOUNDATION_LEAST_HEIGHT && state->position.z >= FOUNDATION_LEAST_HEIGHT;
}

static bool is_sane(const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state) {
  return foundation_is_sane(state, &sensors->gyro, heading) && foundation_is_number(setpoint->position.x)
    && foundation_is_number(setpoint->position.y) && foundation_is_number(setpoint->position.z)
    && (setpoint->mode.yaw != modeAbs || foundation_is_number(setpoint->attitude.yaw));
}

static void begin(const state_t *state) {
  policy_reset(&policy);
  calls = 0;
  held_heading = foundation_heading(&state->attitudeQuaternion);
  for (int motor = 0; motor < 4; ++motor) {
    action[motor] = foundation_hover_action();
  }
  mode = FLYING;
}

static void stop(void) {
  for (int motor = 0; motor < 4; ++motor) {
    forces[motor] = 0.0f;
  }
  mode = STOPPED;
  DEBUG_PRINT("Not sane: motors stopped, set foundation.enable to 0\n");
}

static void choose_frame(const setpoint_t *setpoint, const state_t *state) {
  if (setpoint->mode.yaw == modeAbs) {
    held_heading = setpoint->attitude.yaw * FOUNDATION_RADIANS_PER_DEGREE;
  }
  heading = foundation_next_heading(&state->attitudeQuaternion, held_heading);
}

static void step(const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state) {
  float obs[FOUNDATION_OBS_DIM];
  foundation_observe(state, &sensors->gyro, &setpoint->position, heading, action, obs);
  policy_step(&policy, obs, action);
  for (int motor = 0; motor < 4; ++motor) {
    if (!foundation_is_number(action[motor])) {
      stop();
      return;
    }
    action[motor] = foundation_clamp(action[motor], -1.0f, 1.0f);
    forces[motor] = foundation_normalized_force(action[motor], full_thrust());
  }
}

static void fly(const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state) {
  if (mode == IDLE) {
    begin(state);
  }
  const bool steps = calls++ % CALLS_PER_STEP == 0;
  if (mode == FLYING && steps) {
    choose_frame(setpoint, state);
  }
  if (mode == FLYING && !is_sane(setpoint, sensors, state)) {
    stop();
  }
  if (mode == FLYING && steps) {
    step(setpoint, sensors, state);
  }
}

/* PID was not called during the flight: a setpoint without thrust resets its integrals. */
static void hand_back(control_t *control, const sensorData_t *sensors, const state_t *state) {
  static const setpoint_t nothing;
  *control = (control_t){0};
  controllerPid(control, &nothing, sensors, state, 0);
  mode = IDLE;
}

void controllerOutOfTreeInit(void) {
  mode = IDLE;
  controllerPidInit();
}

bool controllerOutOfTreeTest(void) {
  if (!is_strong_enough()) {
    DEBUG_PRINT("Motors are too weak for this policy: check the propellers in app-config\n");
    return false;
  }
  return controllerPidTest();
}

void controllerOutOfTree(
  control_t *control, const setpoint_t *setpoint, const sensorData_t *sensors, const state_t *state,
  const stabilizerStep_t stabilizerStep
) {
  const bool left = mode == FLYING && !(enable && is_position(setpoint) && is_high_enough(setpoint, state));
  if (left || (mode == STOPPED && !enable)) {
    hand_back(control, sensors, state);
  } else if (mode == TOO_WEAK && !enable) {
    mode = IDLE;
  }
  if (enable && mode == IDLE && !is_strong_enough()) {
    mode = TOO_WEAK;
    DEBUG_PRINT("Motors are too weak for this policy: PID goes on\n");
  }
  const bool begins = enable && mode == IDLE && is_position(setpoint) && is_high_enough(setpoint, state);
  if (mode != FLYING && mode != STOPPED && !begins) {
    controllerPid(control, setpoint, sensors, state, stabilizerStep);
    return;
  }
  fly(setpoint, sensors, state);
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

PARAM_GROUP_START(foundation)
/* 1 lets the policy fly position setpoints. */
PARAM_ADD(PARAM_UINT8, enable, &enable)
PARAM_GROUP_STOP(foundation)

LOG_GROUP_START(foundation)
/* 0 PID flies, 1 the policy flies, 2 motors stopped, 3 motors too weak and PID flies. */
LOG_ADD(LOG_UINT8, mode, &mode)
LOG_GROUP_STOP(foundation)
