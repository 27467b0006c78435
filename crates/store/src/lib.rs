//! The engines that keep what the platform decides.
