//! Tables and random schedules for the fleet.
