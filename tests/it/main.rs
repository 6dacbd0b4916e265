//! The black-box suite: every law of the design and every capability, over real sockets and pipes.
//!
//! One file for each law or capability; a test is named after what it holds the library to. What needs HTTP is left out without that feature.

#![cfg(unix)]
#![cfg_attr(
    not(all(feature = "http", feature = "tiny-http", feature = "ctrlc")),
    allow(dead_code, unused_imports)
)]

mod harness;

mod law_01_slow_readers;
mod law_02_full_means_no;
mod law_03_capacity;
mod law_04_one_answer;
mod law_05_state;
mod law_06_cheap_methods;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod law_07_duration;
mod law_07_liveness;
#[cfg(all(feature = "http", feature = "ctrlc"))]
mod law_07_processes;
mod law_08_panics;
mod law_09_limits;
mod law_09_malformed;
#[cfg(all(feature = "http", feature = "ctrlc"))]
mod law_09_suspended;
#[cfg(all(feature = "http", feature = "tiny-http", feature = "ctrlc"))]
mod law_10_stderr;
mod law_10_stdout;
mod law_11_process;
mod law_12_drain;
mod law_12_dropping;
#[cfg(all(target_os = "linux", feature = "http"))]
mod law_13_memory;
mod law_13_questions;
#[cfg(all(feature = "http", target_os = "linux"))]
mod law_13_trees;
mod law_14_arguments;
mod law_14_generous;
#[cfg(all(feature = "http", feature = "ctrlc"))]
mod signals;

mod access_log;
mod asking;
mod asking_rounds;
mod asking_sessions;
mod batches;
mod changes;
mod circles;
mod command;
#[cfg(all(feature = "http", feature = "ctrlc"))]
mod command_ends;
mod compile_errors;
mod completion;
mod configuration;
#[cfg(feature = "durable")]
mod desk_durable;
mod desk_jobs;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod desk_jobs_http;
mod desk_stores;
mod desk_workspaces;
mod dialogues;
mod dynamic_tools;
mod eras;
#[cfg(all(feature = "http", feature = "ctrlc"))]
mod examples;
mod inline_tools;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod legacy_sessions;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod legacy_streams;
mod model_apis;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod modern_headers;
mod pagination;
mod param_headers;
mod pools;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod pools_everything;
mod pools_locks;
mod pools_random;
mod prompts;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod reach;
mod request_facts;
mod resources;
#[cfg(feature = "http")]
mod resting;
mod results;
mod schemas;
#[cfg(feature = "cli")]
mod scripts;
#[cfg(feature = "cli")]
mod scripts_check;
#[cfg(all(unix, feature = "cli"))]
mod scripts_doctor;
#[cfg(all(unix, feature = "cli"))]
mod scripts_edges;
#[cfg(feature = "cli")]
mod scripts_example;
#[cfg(all(unix, feature = "cli"))]
mod scripts_jobs;
#[cfg(feature = "cli")]
mod scripts_journey;
#[cfg(feature = "cli")]
mod scripts_runs;
#[cfg(feature = "cli")]
mod scripts_safety;
#[cfg(feature = "cli")]
mod scripts_terminal;
#[cfg(all(feature = "http", unix))]
mod short_way;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod streams;
mod test_client;
mod tidy;
#[cfg(feature = "validate")]
mod validation;
#[cfg(any(feature = "http", feature = "tiny-http"))]
mod web_care;
