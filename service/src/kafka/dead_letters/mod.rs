//! Records that could not be handled: set aside by the services, looked at and replayed by people.

mod content;
mod fields;
mod letter;
mod plan;
mod reader;
mod replay;
mod scan;
mod writer;

pub use letter::{DeadLetter, Place};
pub use plan::{Destination, Obstacle};
pub use reader::{DeadLetterError, DeadLetterReader, Reading};
pub use replay::{ReplayError, Replayer};
pub use writer::DeadLetters;
