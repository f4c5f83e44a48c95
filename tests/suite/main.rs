//! The tests of the whole: real servers, the real process, and the shape of
//! the source. One binary, so that what is slow to start is started once.

mod ad;
mod cedar;
mod check;
mod cloud;
mod end_to_end;
mod faults;
mod fingerprint;
mod harness;
mod ldap;
mod ldap_odd;
mod openapi;
mod pomerium;
mod population;
mod property;
mod soak;
mod systemd;
mod tidy;
