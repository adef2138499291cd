//! quote-recorder
