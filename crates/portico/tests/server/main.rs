//! The real binary, driven from outside: a module a theme.
//!
//! One program, so that what they share is compiled and linked once.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod administration;
mod backup;
mod blanks;
mod checks;
mod clock;
mod contacts;
mod contract;
mod data_directory;
mod database_trouble;
mod disk_trouble;
mod doctor;
mod early_answers;
mod first_hour;
mod forgetting;
mod full_disk;
mod hostile;
mod http_rules;
mod kill;
mod listen;
mod lost_log;
mod main_job;
mod moving;
mod nodes;
mod nodes_chaos;
mod operations;
mod order;
mod pages;
mod phone_numbers;
mod published;
mod published_library;
mod reload;
mod rotation;
mod screens;
mod secrets;
mod settings;
mod starvation;
mod stopping;
mod support;
mod tls;
mod tours;
mod vendor_trouble;
mod webhooks_api;
