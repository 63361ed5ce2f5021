//! A stand-in for the REST API that behaves as documented, quirks included, for teams that build and
//! test without an account.
//!
//! It has two traders: `robert.zak`, whose secret question has the answer `Peterson`, and `jane.doe`
//! (`hello@autoshares.com`), who has no secret question. Codes are "mailed" to the log and to
//! `GET /sandbox/mailbox/{user}`. Step 3 is served at the paths of all releases.
//!
//! The first field of a step can name a fault, such as the user `fault:html-502`: see [`faults`].

mod accounts;
mod api;
mod faults;

pub(crate) use self::api::serve;
