"""A foundation policy: one small recurrent student for almost any quadrotor, distilled from an expert for each."""
