//! The test harness: fake APIs, a running gateway, and calls.

pub mod api;

pub mod collector;

pub mod faulty_api;

pub mod frames;

pub mod gateway;

pub mod raw;

pub mod attack;

pub mod status;

pub mod tls;

pub mod certificates;

pub mod tls_client;

pub mod tls_gateway;
