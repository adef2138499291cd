//! The program as people and scripts meet it: its output, its exit codes, and `up --demo` as a whole.

mod client;
mod dead_letters;
mod demo;
mod feed;
mod program;
mod provider;
mod reach;
mod stub;
mod terminal;
mod up;
