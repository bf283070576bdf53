/* Stand-in; see README.md. */
#ifndef STAND_IN_TASK_H
#define STAND_IN_TASK_H

void vTaskDelay(unsigned ticks);

#endif
