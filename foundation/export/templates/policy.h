/* A policy as one C99 header: no allocation, float32, constant weights, little stack.
 *
 * Made by foundation $version from $source.
 * Do not edit it; export the checkpoint again.
 *
 *   network          $structure
 *   weights          $num_weights ($weight_bytes bytes, constant)
 *   multiplications  $num_multiplies a step
 *   state            $state_bytes bytes a vehicle, intermediate results included
 *   from <math.h>    $maths
 *
 * Observations, $num_obs: position error (3) [m], rotation matrix body to world, row-major (9), linear velocity,
 * world (3) [m/s], angular velocity, body (3) [rad/s], previous action (4). Axes forward-left-up, world z up. This is
 * the group "student" of the environment; a policy of other observations takes them in its own order.
 * Actions, $num_actions: rotor speeds, -1 standing still, 1 full speed; clip them to [-1, 1]. Rotors: front-right,
 * back-right, back-left, front-left. Step at $rate Hz.
 *
 * Call policy_reset at the start of every flight. Include this header in one source file: its
 * functions and weights are static.
 */
#ifndef FOUNDATION_POLICY_H
#define FOUNDATION_POLICY_H
$include
#define POLICY_OBS_DIM $num_obs
#define POLICY_ACTION_DIM $num_actions
$definitions
/* State of one vehicle: values kept between steps, and scratch memory, which would be large for the stack of a small
 * processor. */
typedef struct {
$state
} policy_state_t;

/* Reset the state. */
static inline void policy_reset(policy_state_t *state) {
$reset
}

$weights
$functions
/* Compute the actions for one step's observations. */
static inline void policy_step(
    policy_state_t *state, const float obs[POLICY_OBS_DIM], float actions[POLICY_ACTION_DIM]
) {
$step
}

#endif
