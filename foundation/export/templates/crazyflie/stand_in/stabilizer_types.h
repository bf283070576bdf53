/* Stand-in; see README.md. */
#ifndef STAND_IN_STABILIZER_TYPES_H
#define STAND_IN_STABILIZER_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#define STABILIZER_NR_OF_MOTORS 4

#define RATE_1000_HZ 1000
#define RATE_500_HZ 500
#define RATE_250_HZ 250
#define RATE_100_HZ 100
#define RATE_50_HZ 50
#define RATE_25_HZ 25
#define RATE_MAIN_LOOP RATE_1000_HZ
#define RATE_DO_EXECUTE(rate, step) (((step) % (RATE_MAIN_LOOP / (rate))) == 0)

typedef uint32_t stabilizerStep_t;

/* The firmware's axes can also be indexed. */
typedef struct {
  float x, y, z;
} Axis3f;

typedef struct {
  uint32_t timestamp;
  float roll, pitch, yaw; /* [deg], pitch inverted */
} attitude_t;

typedef struct {
  uint32_t timestamp;
  float x, y, z;
} vec3_t;

typedef vec3_t point_t;    /* [m] */
typedef vec3_t velocity_t; /* [m/s] */
typedef vec3_t acc_t;      /* [g] */

typedef struct {
  uint32_t timestamp;
  float x, y, z, w;
} quaternion_t;

typedef struct {
  Axis3f acc;  /* [g] */
  Axis3f gyro; /* [deg/s] */
} sensorData_t;

typedef struct {
  attitude_t attitude;
  quaternion_t attitudeQuaternion;
  point_t position;
  velocity_t velocity;
  acc_t acc;
} state_t;

typedef enum { modeDisable = 0, modeAbs, modeVelocity } stab_mode_t;

typedef struct {
  attitude_t attitude;     /* [deg] */
  attitude_t attitudeRate; /* [deg/s] */
  float thrust;
  point_t position;
  velocity_t velocity;
  struct {
    stab_mode_t x, y, z, roll, pitch, yaw, quat;
  } mode;
} setpoint_t;

typedef enum { controlModeLegacy = 0, controlModeForceTorque = 1, controlModeForce = 2 } control_mode_t;

/* In the firmware a union with the other modes. */
typedef struct {
  float normalizedForces[STABILIZER_NR_OF_MOTORS]; /* 0 to 1 */
  control_mode_t controlMode;
} control_t;

#endif
