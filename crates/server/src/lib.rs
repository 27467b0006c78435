//! HTTP over the platform: API, relay, key vault, time and randomness of the real world.
