//! What users read: pure functions from facts to text, in each of their languages.

pub mod alerts;
mod phrases;
pub mod reasons;
pub mod rich;
pub mod words;
