//! The secure element: command dispatch, secure channel, key store, lifecycle, payment applet.

#![no_std]
