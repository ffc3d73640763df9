//! The public surface: routes, authentication, validation, errors, the OpenAPI document.
//!
//! `routes` lists all of it. A request passes the [`door`]; a write goes on through [`intake`] to
//! its resource in [`resources`], where it is [`screening`] that checks its body; [`lists`] answers
//! what is read, and [`admin`] what is administered. Dependencies go one way (a test).
//!
//! Guarantee: a 200 on a write is given only after the store said that it is on stable storage. No
//! handler calls a vendor but those of `resources::appointments::availability` and of
//! `admin::integrations`, and none calls a receiver but those of `admin::webhooks`.

pub mod admin;
pub mod cache;
mod cursor;
pub mod document;
pub mod door;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod health;
pub mod intake;
pub mod key_uses;
pub mod limits;
pub mod lists;
pub mod metrics;
mod pages;
pub mod problems;
pub mod resources;
mod routes;
pub mod screening;
pub mod state;

pub use crate::routes::{document, router, worker_router};
