/* Numbers of the vehicle and the task that the policy was trained on. Made by foundation $version from $source. */
#ifndef FOUNDATION_VEHICLE_H
#define FOUNDATION_VEHICLE_H

/* Steps of the policy per second [Hz]. */
#define FOUNDATION_RATE_HZ RATE_${rate}_HZ
/* Thrust of one rotor [N] over its speed u in [0, 1]: THRUST_0 + THRUST_1 u + THRUST_2 u^2. */
#define FOUNDATION_THRUST_0 ($thrust_0)
#define FOUNDATION_THRUST_1 ($thrust_1)
#define FOUNDATION_THRUST_2 ($thrust_2)
/* Action at which the nominal vehicle hovers. */
#define FOUNDATION_HOVER_ACTION ($hover_action)
/* Largest distance to the target per axis that training starts from [m]; the compiler's command may set another. */
#ifndef FOUNDATION_REACH
#define FOUNDATION_REACH $reach
#endif
/* Largest turn towards another heading at once [rad]. */
#ifndef FOUNDATION_HEADING_REACH
#define FOUNDATION_HEADING_REACH $heading_reach
#endif
/* Bounds at which training gives up: of the velocity per axis of the policy's frame [m/s], of the angular velocity
 * per axis of the body [rad/s]. */
#define FOUNDATION_MAX_VELOCITY $max_velocity
#define FOUNDATION_MAX_ANGULAR_VELOCITY $max_angular_velocity

#endif
