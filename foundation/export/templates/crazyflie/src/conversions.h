/* Between the Crazyflie firmware's units and frames and the policy's. Nothing here knows the network.
 *
 * Firmware: position [m] and velocity [m/s] in the world frame, attitude as a quaternion (x, y, z, w) from body to
 * world, gyroscope [deg/s] in the body frame, yaw setpoint [deg]; axes forward-left-up, world z up.
 * Policy: see policy.h. It flies to the origin of a frame whose x axis points along the yaw setpoint.
 */
#ifndef FOUNDATION_CONVERSIONS_H
#define FOUNDATION_CONVERSIONS_H

#include <math.h>
#include <stdbool.h>

#include "controller.h"
#include "vehicle.h"

#define FOUNDATION_RADIANS_PER_DEGREE 0.0174532925f
#define FOUNDATION_TURN 6.28318531f
#define FOUNDATION_LARGEST 1e6f
#define FOUNDATION_OBS_DIM 22

static inline float foundation_clamp(float value, float low, float high) {
  return value < low ? low : (value > high ? high : value);
}

/* Rows of the rotation matrix from body to world of a unit quaternion. */
static inline void foundation_rotation(const quaternion_t *q, float matrix[9]) {
  matrix[0] = 1.0f - 2.0f * (q->y * q->y + q->z * q->z);
  matrix[1] = 2.0f * (q->x * q->y - q->w * q->z);
  matrix[2] = 2.0f * (q->x * q->z + q->w * q->y);
  matrix[3] = 2.0f * (q->x * q->y + q->w * q->z);
  matrix[4] = 1.0f - 2.0f * (q->x * q->x + q->z * q->z);
  matrix[5] = 2.0f * (q->y * q->z - q->w * q->x);
  matrix[6] = 2.0f * (q->x * q->z - q->w * q->y);
  matrix[7] = 2.0f * (q->y * q->z + q->w * q->x);
  matrix[8] = 1.0f - 2.0f * (q->x * q->x + q->y * q->y);
}

/* Turn a world vector into the frame whose x axis has the heading of cosine c and sine s. */
static inline void foundation_to_heading(float c, float s, float x, float y, float out[2]) {
  out[0] = c * x + s * y;
  out[1] = c * y - s * x;
}

/* Heading of the body's x axis [rad]. */
static inline float foundation_heading(const quaternion_t *q) {
  return atan2f(2.0f * (q->w * q->z + q->x * q->y), 1.0f - 2.0f * (q->y * q->y + q->z * q->z));
}

/* Next heading [rad]: the wanted one, limited to the largest turn that the policy was trained on. A larger turn at
 * once makes it crash. */
static inline float foundation_next_heading(const quaternion_t *q, float wanted) {
  const float here = foundation_heading(q);
  float turn = wanted - here;
  turn -= FOUNDATION_TURN * floorf(turn / FOUNDATION_TURN + 0.5f);
  return here + foundation_clamp(turn, -FOUNDATION_HEADING_REACH, FOUNDATION_HEADING_REACH);
}

/* The 22 observations, in the frame of a heading [rad]. The distance to the target is limited per axis to that of the
 * training; a farther target is still reached. */
static inline void foundation_observe(
  const state_t *state, const Axis3f *gyro, const point_t *target, float heading, const float previous_action[4],
  float obs[FOUNDATION_OBS_DIM]
) {
  const float c = cosf(heading);
  const float s = sinf(heading);
  float rotation[9];
  float turned[2];

  foundation_to_heading(c, s, state->position.x - target->x, state->position.y - target->y, turned);
  obs[0] = foundation_clamp(turned[0], -FOUNDATION_REACH, FOUNDATION_REACH);
  obs[1] = foundation_clamp(turned[1], -FOUNDATION_REACH, FOUNDATION_REACH);
  obs[2] = foundation_clamp(state->position.z - target->z, -FOUNDATION_REACH, FOUNDATION_REACH);

  foundation_rotation(&state->attitudeQuaternion, rotation);
  for (int column = 0; column < 3; ++column) {
    foundation_to_heading(c, s, rotation[column], rotation[3 + column], turned);
    obs[3 + column] = turned[0];
    obs[6 + column] = turned[1];
    obs[9 + column] = rotation[6 + column];
  }

  foundation_to_heading(c, s, state->velocity.x, state->velocity.y, turned);
  obs[12] = turned[0];
  obs[13] = turned[1];
  obs[14] = state->velocity.z;
  obs[15] = gyro->x * FOUNDATION_RADIANS_PER_DEGREE;
  obs[16] = gyro->y * FOUNDATION_RADIANS_PER_DEGREE;
  obs[17] = gyro->z * FOUNDATION_RADIANS_PER_DEGREE;
  for (int motor = 0; motor < 4; ++motor) {
    obs[18 + motor] = previous_action[motor];
  }
}

/* Thrust [N] of one rotor for an action: the thrust curve at the commanded share of full speed. */
static inline float foundation_thrust(float action) {
  const float speed = 0.5f * (action + 1.0f);
  return FOUNDATION_THRUST_0 + speed * (FOUNDATION_THRUST_1 + speed * FOUNDATION_THRUST_2);
}

/* Thrust over the firmware's full thrust of one motor [N]. The firmware turns it into PWM, with compensation for the
 * battery's voltage if that is on. */
static inline float foundation_normalized_force(float action, float full_thrust) {
  return foundation_clamp(foundation_thrust(action) / full_thrust, 0.0f, 1.0f);
}

/* The action at which four rotors carry the weight of the nominal vehicle. */
static inline float foundation_hover_action(void) {
  return FOUNDATION_HOVER_ACTION;
}

/* Whether a value is finite; every comparison with NaN is false. */
static inline bool foundation_is_number(float value) {
  return fabsf(value) < FOUNDATION_LARGEST;
}

/* Whether the estimate is finite, is an attitude, and lies within the bounds that the policy was trained in: of the
 * velocity per axis of the frame of a heading [rad], in which the policy observes it, of the angular velocity per axis
 * of the body. */
static inline bool foundation_is_sane(const state_t *state, const Axis3f *gyro, float heading) {
  const float fastest = FOUNDATION_MAX_VELOCITY;
  const float turning = FOUNDATION_MAX_ANGULAR_VELOCITY;
  const quaternion_t *q = &state->attitudeQuaternion;
  const float norm = q->x * q->x + q->y * q->y + q->z * q->z + q->w * q->w;
  float speeds[3];
  const float rates[3] = {gyro->x, gyro->y, gyro->z};
  foundation_to_heading(cosf(heading), sinf(heading), state->velocity.x, state->velocity.y, speeds);
  speeds[2] = state->velocity.z;
  bool sane = foundation_is_number(state->position.x) && foundation_is_number(state->position.y)
    && foundation_is_number(state->position.z);
  sane = sane && norm > 0.9f && norm < 1.1f;
  for (int axis = 0; axis < 3; ++axis) {
    sane = sane && fabsf(speeds[axis]) <= fastest;
    sane = sane && fabsf(rates[axis]) * FOUNDATION_RADIANS_PER_DEGREE <= turning;
  }
  return sane;
}

#endif
